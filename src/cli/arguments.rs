//! The command line as it is written: commands, their options, and what `--help` says of them.

mod keys;
mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use self::keys::{KeyArguments, KeysCommand};
pub(super) use self::trust::TrustCommand;
use crate::app::dev::DevHardware;
use crate::http::admin::sessions::SessionFilter;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed for another reason than those below
  2  the command line is wrong
  3  the configuration is wrong
  4  the hardware or the keeper cannot be used now
  5  the store cannot be used
  6  an address or socket cannot be listened at
  7  what was asked for is not allowed
  8  the PIN, a key or the keeper was refused; another try cannot help";

/// Mints short-lived tokens while its keys stay in hardware.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the token endpoint; starts the keeper too, unless it runs by itself
    Serve(ConfigFile),
    /// Hold the hardware for a mint; run by `serve`, or by itself under a user of its own
    Keeper {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        device: DeviceName,
        /// The mint is at the other end of standard input
        #[arg(long, hide = true)]
        standard_input: bool,
        /// This keeper takes the place of another, whose PIN was right
        #[arg(long, hide = true)]
        pin_worked: bool,
        /// The level of the log, in the place of the configuration's
        #[arg(long, hide = true)]
        log_level: Option<String>,
    },
    /// Set up and serve a whole development mint in one folder, on hardware in software
    Dev {
        /// The folder that everything is kept in
        #[arg(long, value_name = "DIR", default_value = ".mintkeep")]
        state: PathBuf,
        /// Where to listen [default: that of the run before, or 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// The device: a PKCS#11 token or a TPM, both in software [default: that of the run before, or softhsm]
        #[arg(long, value_enum)]
        hardware: Option<HardwareArgument>,
        /// Speak HTTPS, with a certificate of its own making [default: as in the run before]
        #[arg(long)]
        tls: bool,
    },
    /// Check configuration, hardware, keys and store; make a signature and verify it
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// The keys in the hardware
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The clients
    #[command(subcommand)]
    Client(ClientCommand),
    /// What operators grant
    #[command(subcommand)]
    Grant(GrantCommand),
    /// The store
    #[command(subcommand)]
    Store(StoreCommand),
    /// The refresh tokens that are out, each with all that came from it
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// The trust policies: which tokens of other issuers are taken
    #[command(subcommand)]
    Trust(TrustCommand),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(super) enum HardwareArgument {
    /// SoftHSM2
    SoftHsm,
    /// swtpm
    Tpm,
}

impl From<HardwareArgument> for DevHardware {
    fn from(argument: HardwareArgument) -> Self {
        match argument {
            HardwareArgument::SoftHsm => Self::SoftHsm,
            HardwareArgument::Tpm => Self::Tpm,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy the store, as it is at one moment, while the mint may be using it
    Backup {
        /// A new file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Move the schema of the store to this release's; makes it where there is none
    Migrate {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Copy all sessions and revocations to another store, and compare the two; end the mints first
    Copy {
        /// The store to copy, such as sqlite:/var/lib/mintkeep/mintkeep.db
        #[arg(long, value_name = "URL")]
        from: String,
        /// The store to copy to, such as postgres://mintkeep@db.example.com/mintkeep
        #[arg(long, value_name = "URL")]
        to: String,
        /// The file that has the database's password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// List sessions: all, or those that match everything that is given
    List {
        #[command(flatten)]
        filter: SessionArguments,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Revoke the sessions that match everything that is given, and all access tokens that came from them
    Revoke {
        #[command(flatten)]
        filter: SessionArguments,
        /// Revoke every session there is
        #[arg(long, conflicts_with_all = ["family", "client", "subject", "issued_before"])]
        all: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Args, Debug)]
pub(super) struct SessionArguments {
    /// The session of this family: `sid` in its access tokens
    // One in 64 begins with a hyphen.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) family: Option<String>,
    /// The sessions of this client
    #[arg(long, value_name = "ID")]
    pub(super) client: Option<String>,
    /// The sessions that speak for this subject
    #[arg(long)]
    pub(super) subject: Option<String>,
    /// The sessions that began before this time, such as 2026-11-23T22:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) issued_before: Option<String>,
}

impl SessionArguments {
    pub(super) fn into_filter(self, all: bool) -> SessionFilter {
        let Self { family, client, subject, issued_before } = self;
        SessionFilter { family, client_id: client, subject, issued_before, all }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Make a client secret of 256 bits, and the line for the configuration that holds its hash only
    Secret {
        #[command(flatten)]
        format: Format,
    },
    /// Sign a client assertion with a key file, for trying things out; print the JWT and nothing else
    ///
    /// It is good for 60 seconds and for one use. A client in production signs with a key in its own keeping.
    Assertion {
        #[command(flatten)]
        key: KeyFile,
        /// The client that authenticates by it
        #[arg(long, value_name = "ID")]
        client: String,
        /// The issuer identifier of the mint
        #[arg(long, value_name = "URL")]
        issuer: String,
    },
    /// List the clients that registered themselves
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Remove a client that registered itself, and revoke all that was granted to it
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    /// Issue the first refresh token of a workload: what takes the place of its API key
    Issue {
        #[command(flatten)]
        config: ConfigFile,
        /// The registered client
        #[arg(long, value_name = "ID")]
        client: String,
        /// Who its tokens speak for
        #[arg(long)]
        subject: String,
        /// The scope, its values separated by spaces [default: all of the client's]
        #[arg(long)]
        scope: Option<String>,
        #[command(flatten)]
        format: Format,
    },
}

/// The software key of a client, or of a local issuer.
#[derive(Args, Debug)]
pub(super) struct KeyFile {
    /// The private key, P-256 in PEM (PKCS#8), in a file that only its owner can read
    #[arg(long = "key", value_name = "FILE")]
    pub(super) path: PathBuf,
    /// Its `kid` [default: its thumbprint (RFC 7638)]
    // One in 64 begins with a hyphen.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) kid: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "MINTKEEP_CONFIG",
        default_value = "/etc/mintkeep/mintkeep.toml"
    )]
    pub(super) path: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct DeviceName {
    /// The device, NAME of [hardware.NAME], where there are several
    #[arg(long = "device", value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Format {
    /// Write JSON, for scripts
    #[arg(long)]
    pub(super) json: bool,
}
