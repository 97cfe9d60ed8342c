//! What a development mint prints: how to use it.

use std::io::Write as _;
use std::path::Path;

use super::record::Record;
use super::{SERVICE, WORKLOAD};
use crate::config::Config;

pub(super) fn print(config: &Config, record: &Record, record_path: &Path) {
    let endpoint = record.token_endpoint();
    let token = record.refresh_token(WORKLOAD).unwrap_or_default();
    let secret = record.client_secret(SERVICE).unwrap_or_default();
    let curl = record.ca_file().map_or("curl".to_owned(), |file| format!("curl --cacert \"{file}\""));
    let usage = format!(
        "A workload trades its refresh token for an access token of five minutes, and for its next refresh token:

    {curl} -X POST {endpoint} \\
         -H \"Content-Type: application/x-www-form-urlencoded\" \\
         -d \"grant_type=refresh_token\" \\
         -d \"refresh_token={token}\" \\
         -d \"client_id={WORKLOAD}\"

A service that authenticates asks for itself:

    {curl} -X POST {endpoint} -u \"{SERVICE}:{secret}\" -d \"grant_type=client_credentials\"

The keys that verify them:

    {curl} {jwks}

All of this is in {record} for scripts. Ctrl-C ends both processes.
mintkeep is ready: {issuer}\n",
        jwks = record.jwks_uri(),
        record = record_path.display(),
        issuer = config.issuer.as_str(),
    );
    // Where nobody reads it, the record has it all.
    let _ = std::io::stdout().lock().write_all(usage.as_bytes());
}
