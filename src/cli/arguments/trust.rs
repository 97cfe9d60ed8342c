//! `mintkeep trust`: its commands and their options.

use std::path::PathBuf;

use clap::Subcommand;

use super::{ConfigFile, Format};

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
    /// List the trust policies in order, and where the keys of their issuers are
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}
