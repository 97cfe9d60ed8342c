//! `mintkeep trust`: its commands and their options.

use std::path::PathBuf;

use clap::Subcommand;

use super::{ConfigFile, Format, KeyFile};
use crate::app::development_key::WantedClaim;
use crate::oauth::trust::claim::ClaimName;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrustCommand {
    /// Tell for each trust policy whether it matches a token, and which one would be used
    Test {
        /// The file that has the token, a JWT; "-" reads it from standard input
        #[arg(long, value_name = "FILE")]
        token: PathBuf,
        /// As if this client presented it [default: whichever client the policy is for]
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Sign a token with a key file as a local issuer would, for trying policies out; print the JWT and nothing else
    ///
    /// It is good for five minutes. Its `sub` is "workload", unless a claim says otherwise.
    Token {
        #[command(flatten)]
        key: KeyFile,
        /// Its `iss`
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// Its `aud`
        #[arg(long, value_name = "URL")]
        audience: String,
        /// A claim that is a string, named as in a policy: /kubernetes.io/namespace=prod is one inside another
        #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = text_claim)]
        claims: Vec<WantedClaim>,
        /// A claim of any type, such as exp=1 or groups=["a","b"]
        #[arg(long = "json-claim", value_name = "NAME=JSON", value_parser = json_claim)]
        json_claims: Vec<WantedClaim>,
    },
    /// List the trust policies in order, and where the keys of their issuers are
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

fn text_claim(text: &str) -> Result<WantedClaim, &'static str> {
    claim(text, |value| Ok(value.into()))
}

fn json_claim(text: &str) -> Result<WantedClaim, &'static str> {
    claim(text, |value| serde_json::from_str(value).map_err(|_| "expected NAME=JSON, such as exp=1"))
}

fn claim(
    text: &str,
    read: impl FnOnce(&str) -> Result<serde_json::Value, &'static str>,
) -> Result<WantedClaim, &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok(WantedClaim { name: ClaimName::parse(name)?, value: read(value)? })
}
