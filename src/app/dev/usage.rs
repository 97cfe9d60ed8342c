//! What a development mint prints: how to use it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::frontends::PROFILE;
use super::record::{FrontendRecord, Record, TrustRecord};
use super::workloads::ROBOT;
use super::{SERVICE, WORKLOAD};
use crate::oauth::authentication::ASSERTION_TYPE;
use crate::oauth::client::GrantType;

pub(super) fn print(record: &Record, record_path: &Path) {
    let endpoint = record.token_endpoint();
    let token = record.refresh_token(WORKLOAD).unwrap_or_default();
    let secret = record.client_secret(SERVICE).unwrap_or_default();
    let issuer = record.issuer();
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

A robot does so too, by a key of its own in place of a secret:

    {curl} -X POST {endpoint} \\
         -d \"grant_type=client_credentials\" \\
         -d \"client_assertion_type={ASSERTION_TYPE}\" \\
         --data-urlencode \"client_assertion=$({assertion})\"

A job brings the token of its platform, which a trust policy takes (the platform is made up; its key is here):

    {curl} -X POST {endpoint} \\
         -d \"grant_type={jwt_bearer}\" \\
         --data-urlencode \"assertion=$({platform_token})\"

{frontends}The keys that verify what they get:

    {curl} {jwks}

All of this is in {record} for scripts. Ctrl-C ends both processes.
mintkeep is ready: {issuer}\n",
        assertion = assertion(record),
        jwt_bearer = GrantType::JwtBearer.as_str(),
        platform_token = record.trust().map(platform_token).unwrap_or_default(),
        frontends = record.frontends().map(|record| frontends(record, issuer)).unwrap_or_default(),
        jwks = record.jwks_uri(),
        record = record_path.display(),
    );
    // Where nobody reads it, the record has it all.
    let _ = std::io::stdout().lock().write_all(usage.as_bytes());
}

/// The command that signs as the robot would.
fn assertion(record: &Record) -> String {
    format!(
        "\"{}\" client assertion --key \"{}\" --client {ROBOT} --issuer {}",
        program().display(),
        record.private_key_file(ROBOT).unwrap_or_default(),
        record.issuer()
    )
}

/// The command that signs as the platform would.
fn platform_token(trust: &TrustRecord) -> String {
    let claims = trust.claims.iter().map(|(name, value)| match value {
        Value::String(text) => format!(" --claim \"{name}={text}\""),
        other => format!(" --json-claim '{name}={other}'"),
    });
    format!(
        "\"{}\" trust token --key \"{}\" --issuer {} --audience {}{}",
        program().display(),
        trust.key_file,
        trust.issuer,
        trust.audience,
        claims.collect::<String>()
    )
}

/// What front-ends can do. Their listener is one of this machine, and speaks plain HTTP.
fn frontends(record: &FrontendRecord, issuer: &str) -> String {
    format!(
        "A login page (examples/frontend is one) reads at {admin} who wants people logged in, and says who did; people
begin at {issuer}/oauth/authorize. A system that signs tokens of its own has that done here, by claims:

    curl -X POST {admin}/admin/v1/sign \\
         -H \"Authorization: Bearer {token}\" -H \"Content-Type: application/json\" \\
         -d '{{\"profile\":\"{profile}\",\"claims\":{{\"sub\":\"ada\",\"aud\":\"https://api.example.com\"}}}}'

or as it would by Vault's transit engine (VAULT_ADDR is {transit}, the key {key}):

    curl -X POST {transit}/v1/transit/sign/{key} \\
         -H \"X-Vault-Token: {transit_token}\" \\
         -d '{{\"input\":\"aGVsbG8=\",\"marshaling_algorithm\":\"jws\"}}'

",
        admin = record.admin_url,
        token = record.frontend_token,
        profile = PROFILE,
        transit = record.transit_url,
        transit_token = record.transit_token,
        key = record.transit_key,
    )
}

/// This program, which need not be on the path.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "mintkeep".into())
}
