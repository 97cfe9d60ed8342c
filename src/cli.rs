//! The command line.

mod output;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret as _;

use crate::app::dev::{self, DevOptions};
use crate::app::keeper_process::{self, Meeting};
use crate::app::mint::Mint;
use crate::app::services::back_up_store;
use crate::app::{Failure, Kind, check, grant, keys, sessions};
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::hardware::PinTrust;
use crate::http::admin::GrantRequest;
use crate::http::admin::sessions::SessionFilter;
use crate::oauth::secret::{self, SecretHash};
use crate::telemetry::{self, LogFormat};

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
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the token endpoint; starts the keeper too, unless it runs by itself
    Serve(ConfigFile),
    /// Hold the hardware for a mint; run by `serve`, or by itself under a user of its own
    Keeper {
        #[command(flatten)]
        config: ConfigFile,
        /// The mint is at the other end of standard input
        #[arg(long, hide = true)]
        standard_input: bool,
        /// This keeper takes the place of another, whose PIN was right
        #[arg(long, hide = true)]
        pin_worked: bool,
    },
    /// Set up and serve a whole development mint on SoftHSM2 in one folder
    Dev {
        /// The folder that everything is kept in
        #[arg(long, value_name = "DIR", default_value = ".mintkeep")]
        state: PathBuf,
        /// Where to listen [default: that of the run before, or 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
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
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Copy the store, as it is at one moment, while the mint may be using it
    Backup {
        /// A new file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
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
struct SessionArguments {
    /// The session of this family: `sid` in its access tokens
    // One in 64 begins with a hyphen.
    #[arg(long, allow_hyphen_values = true)]
    family: Option<String>,
    /// The sessions of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// The sessions that speak for this subject
    #[arg(long)]
    subject: Option<String>,
    /// The sessions that began before this time, such as 2026-11-23T22:00:00Z
    #[arg(long, value_name = "TIME")]
    issued_before: Option<String>,
}

impl SessionArguments {
    fn into_filter(self, all: bool) -> SessionFilter {
        let Self { family, client, subject, issued_before } = self;
        SessionFilter { family, client_id: client, subject, issued_before, all }
    }
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Generate the keys that the device lacks, such that they can never leave it
    Init {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// List the keys and check them
    List {
        /// Try the PIN though the token remembers a wrong one: it was corrected
        #[arg(long)]
        pin_corrected: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Make a client secret of 256 bits, and the line for the configuration that holds its hash only
    Secret {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum GrantCommand {
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

#[derive(Args, Debug)]
struct ConfigFile {
    /// The configuration file
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "MINTKEEP_CONFIG",
        default_value = "/etc/mintkeep/mintkeep.toml"
    )]
    path: PathBuf,
}

#[derive(Args, Clone, Copy, Debug)]
struct Format {
    /// Write JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("mintkeep: {failure}");
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(config_file) => {
            let config = load(&config_file)?;
            block_on(async {
                let mint = Mint::start(&config_file.path, &config).await?;
                let listen = mint.public_address()?;
                tracing::info!(issuer = config.issuer.as_str(), %listen, "mintkeep is ready");
                mint.run().await;
                Ok(())
            })?;
        }
        Command::Keeper { config, standard_input: true, pin_worked } => {
            let config = load(&config)?;
            // The mint was told, and says it once.
            if let Err(failure) = keeper_process::run(&config, Meeting::StandardInput { trust: trust(pin_worked) }) {
                tracing::debug!(%failure, "the keeper ended");
                return Ok(ExitCode::from(failure.kind.exit_code()));
            }
        }
        Command::Keeper { config, standard_input: false, .. } => keeper_process::run(&load(&config)?, Meeting::Socket)?,
        Command::Dev { state, listen } => {
            telemetry::log_to_stderr(LogFormat::Text, "info");
            block_on(dev::run(DevOptions { state, listen }))?;
        }
        Command::Check { config, format } => {
            telemetry::log_to_stderr(LogFormat::Text, "warn");
            let findings = block_on(async { Ok(check::check(&config.path).await) })?;
            output::findings(&findings, format.json)?;
            return Ok(ExitCode::from(check::exit_code(&findings)));
        }
        Command::Keys(KeysCommand::Init { config, format }) => {
            output::keys(&keys::init(&load(&config)?)?, format.json)?
        }
        Command::Keys(KeysCommand::List { pin_corrected, config, format }) => {
            output::keys(&keys::list(&load(&config)?, trust(pin_corrected))?, format.json)?
        }
        Command::Client(ClientCommand::Secret { format }) => {
            let secret = secret::generate(&SystemEntropy::new());
            output::secret(&secret, &SecretHash::of(secret.expose_secret()), format.json)?;
        }
        Command::Grant(GrantCommand::Issue { config: config_file, client, subject, scope, format }) => {
            let config = load(&config_file)?;
            let request = GrantRequest { client_id: client, subject, scope };
            let grant = block_on(grant::issue(&config_file.path, &config, &request))?;
            output::grant(&grant, format.json)?;
        }
        Command::Store(StoreCommand::Backup { to, config }) => back_up_store(&load(&config)?.store, &to)?,
        Command::Sessions(SessionsCommand::List { filter, config, format }) => {
            let config = load(&config)?;
            let filter = filter.into_filter(false);
            output::sessions(&block_on(sessions::list(&config, filter))?, format.json)?;
        }
        Command::Sessions(SessionsCommand::Revoke { filter, all, config, format }) => {
            let config = load(&config)?;
            output::revoked(&block_on(sessions::revoke(&config, filter.into_filter(all)))?, format.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn trust(is_vouched_for: bool) -> PinTrust {
    if is_vouched_for { PinTrust::Vouched } else { PinTrust::Unproven }
}

fn load(file: &ConfigFile) -> Result<Config, Failure> {
    let config = Config::load(&file.path)?;
    telemetry::log_to_stderr(config.log.format, &config.log.level);
    Ok(config)
}

fn block_on<Value>(work: impl Future<Output = Result<Value, Failure>>) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, format!("cannot start the runtime: {error}")))?;
    runtime.block_on(work)
}
