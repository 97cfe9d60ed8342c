//! The command line.

mod arguments;
mod output;

use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use secrecy::ExposeSecret as _;

use self::arguments::{
    Cli, ClientCommand, Command, ConfigFile, Format, GrantCommand, KeyArguments, KeyFile, KeysCommand, SessionsCommand,
    StoreCommand, TrustCommand,
};
use crate::app::attestation::{self, Wanted};
use crate::app::dev::{self, DevOptions};
use crate::app::development_key::DevelopmentKey;
use crate::app::keeper_process::{self, Meeting};
use crate::app::mint::Mint;
use crate::app::{Failure, Kind, check, clients, grant, keys, sessions, store, trust};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, StoreLocation};
use crate::entropy::SystemEntropy;
use crate::hardware::{PinTrust, Provenance};
use crate::http::admin::GrantRequest;
use crate::http::admin::keys::KeyOrder;
use crate::oauth::secret::{self, SecretHash};
use crate::secret_source::SecretSource;
use crate::telemetry::{self, LogFormat};

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
            let config = load_service(&config_file, None)?;
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            block_on(async {
                let mint = Mint::start(&config_file.path, &config).await?;
                let listen = mint.public_address()?;
                tracing::info!(issuer = config.issuer.as_str(), %listen, "mintkeep is ready");
                mint.run().await;
                Ok(())
            })?;
        }
        Command::Keeper { config, device, standard_input: true, pin_worked, log_level } => {
            let config = load_service(&config, log_level)?;
            // The mint was told, and says it once.
            if let Err(failure) = keeper_process::run(
                &config,
                device.name.as_deref(),
                Meeting::StandardInput { trust: pin_trust(pin_worked, PinTrust::WorkedBefore) },
            ) {
                tracing::debug!(%failure, "the keeper ended");
                return Ok(ExitCode::from(failure.kind.exit_code()));
            }
        }
        Command::Keeper { config, device, standard_input: false, .. } => {
            keeper_process::run(&load_service(&config, None)?, device.name.as_deref(), Meeting::Socket)?
        }
        Command::Dev { state, listen, hardware, tls } => {
            telemetry::log_to_stderr(LogFormat::Text, "info");
            block_on(dev::run(DevOptions { state, listen, hardware: hardware.map(Into::into), tls }))?;
        }
        Command::Check { config, format } => {
            telemetry::log_to_stderr(LogFormat::Text, "warn");
            let findings = block_on(async { Ok(check::check(&config.path).await) })?;
            output::findings(&findings, format.json)?;
            return Ok(ExitCode::from(check::exit_code(&findings)));
        }
        Command::Keys(KeysCommand::Init { config: file, device, format }) => {
            let config = load(&file)?;
            output::keys(&keys::init(&file.path, &config, device.name.as_deref())?, format.json)?
        }
        Command::Keys(KeysCommand::List { pin_corrected, config: file, device, format }) => {
            let (config, trust) = (load(&file)?, pin_trust(pin_corrected, PinTrust::Vouched));
            output::keys(&keys::list(&file.path, &config, device.name.as_deref(), trust)?, format.json)?
        }
        Command::Keys(KeysCommand::Attest { kid, nonce, output, config, device }) => {
            let (config, is_one) = (load(&config)?, kid.is_some());
            let wanted = Wanted::new(kid, nonce.as_deref())?;
            let documents = match block_on(attestation::through_mint(&config, &wanted))? {
                Some(documents) => documents,
                None => attestation::on_device(&config, device.name.as_deref(), &wanted)?,
            };
            output::attestations(&documents, is_one, output.as_deref())?;
        }
        Command::Keys(KeysCommand::VerifyAttestation { file, nonce, attestation_key, allow_imported, format }) => {
            let provenance = if allow_imported { Provenance::ImportedAllowed } else { Provenance::GeneratedInDevice };
            let expected = attestation::expected(nonce.as_deref(), attestation_key.as_deref(), provenance)?;
            output::verified(&attestation::verify(&file, &expected)?, format.json)?;
        }
        Command::Keys(KeysCommand::States { config, format }) => {
            let config = load(&config)?;
            output::key_report(&block_on(keys::states(&config))?, format.json)?;
        }
        Command::Keys(KeysCommand::Rotate { device, role, config, format }) => {
            order(KeyOrder::Rotate { device, role }, &config, format)?;
        }
        Command::Keys(KeysCommand::Retire(KeyArguments { kid, config, format })) => {
            order(KeyOrder::Retire(kid), &config, format)?;
        }
        Command::Keys(KeysCommand::Remove(KeyArguments { kid, config, format })) => {
            order(KeyOrder::Remove(kid), &config, format)?;
        }
        Command::Keys(KeysCommand::Revoke(KeyArguments { kid, config, format })) => {
            order(KeyOrder::Revoke(kid), &config, format)?;
        }
        Command::Keys(KeysCommand::Destroy { kid, unneeded, config, device }) => {
            let config = load(&config)?;
            if !unneeded {
                block_on(keys::refuse_needed(&config, &kid))?;
            }
            keys::destroy(&config, device.name.as_deref(), &kid)?;
            output::line(&format!("destroyed {kid}"))?;
        }
        Command::Client(ClientCommand::Secret { format }) => {
            let secret = secret::generate(&SystemEntropy::new());
            output::secret(&secret, &SecretHash::of(secret.expose_secret()), format.json)?;
        }
        Command::Client(ClientCommand::Assertion { key, client, issuer }) => {
            let (now, entropy) = (SystemClock.now(), SystemEntropy::new());
            output::line(&read_key(key)?.client_assertion(&client, &issuer, now, &entropy)?)?;
        }
        Command::Client(ClientCommand::List { config, format }) => {
            let config = load(&config)?;
            output::clients(&block_on(clients::list(&config))?, format.json)?;
        }
        Command::Client(ClientCommand::Remove { id, config, format }) => {
            let config = load(&config)?;
            output::removed(&block_on(clients::remove(&config, &id))?, format.json)?;
        }
        Command::Grant(GrantCommand::Issue { config: config_file, client, subject, scope, format }) => {
            let config = load(&config_file)?;
            let request = GrantRequest { client_id: client, subject, scope };
            let grant = block_on(grant::issue(&config_file.path, &config, &request))?;
            output::grant(&grant, format.json)?;
        }
        Command::Store(StoreCommand::Backup { to, config }) => store::back_up(&load(&config)?.store, &to)?,
        Command::Store(StoreCommand::Migrate { config }) => {
            let config = load(&config)?;
            output::line(&block_on(store::migrate(&config.store))?)?;
        }
        Command::Store(StoreCommand::Copy { from, to, password_file }) => {
            telemetry::log_to_stderr(LogFormat::Text, "info");
            let location = |url| store_location(url, password_file.as_deref());
            let (from, to) = (location(&from)?, location(&to)?);
            let copied = block_on(store::copy(&from, &to))?;
            output::line(&format!(
                "copied and compared: sessions {}, revoked access tokens {}, keys {}, \
                 registered clients {}, used assertions and proofs {}, shared secrets {}, \
                 logins under way {}, pushed requests {}",
                copied.families,
                copied.revoked_tokens,
                copied.keys,
                copied.clients,
                copied.claims,
                copied.shared_secrets,
                copied.logins,
                copied.pushed_requests
            ))?;
        }
        Command::Sessions(SessionsCommand::List { filter, config, format }) => {
            let config = load(&config)?;
            let filter = filter.into_filter(false);
            output::sessions(&block_on(sessions::list(&config, filter))?, format.json)?;
        }
        Command::Sessions(SessionsCommand::Revoke { filter, all, config, format }) => {
            let config = load(&config)?;
            output::revoked(&block_on(sessions::revoke(&config, filter.into_filter(all)))?, format.json)?;
        }
        Command::Trust(TrustCommand::Test { token, client, config, format }) => {
            let trial = trust::test(&load(&config)?, &token, client.as_deref(), SystemClock.now())?;
            output::trial(&trial, format.json)?;
            return Ok(ExitCode::from(trial.exit_code()));
        }
        Command::Trust(TrustCommand::Token { key, issuer, audience, claims, json_claims }) => {
            let (now, entropy) = (SystemClock.now(), SystemEntropy::new());
            let claims = claims.into_iter().chain(json_claims).collect();
            output::line(&read_key(key)?.token(&issuer, &audience, claims, now, &entropy)?)?;
        }
        Command::Trust(TrustCommand::List { config, format }) => {
            output::trust(&trust::list(&load(&config)?), format.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_key(file: KeyFile) -> Result<DevelopmentKey, Failure> {
    Ok(DevelopmentKey::read(&file.path)?.named(file.kid))
}

fn order(order: KeyOrder, file: &ConfigFile, format: Format) -> Result<(), Failure> {
    let config = load(file)?;
    output::key_report(&block_on(keys::order(&file.path, &config, order))?, format.json)
}

/// A store that the command line names.
fn store_location(url: &str, password_file: Option<&Path>) -> Result<StoreLocation, Failure> {
    let wrong = |message: String| Failure::new(Kind::Configuration, message);
    let location = StoreLocation::parse(url, Path::new("")).map_err(wrong)?;
    match (location, password_file) {
        (location @ StoreLocation::Postgres(_), Some(path)) => location
            .with_password(SecretSource::File(path.to_owned()))
            .map_err(|message| wrong(format!("--password-file: {message}"))),
        (location, _) => Ok(location),
    }
}

fn pin_trust(is_known: bool, known: PinTrust) -> PinTrust {
    if is_known { known } else { PinTrust::Unproven }
}

/// For what runs until it is ended.
fn load_service(file: &ConfigFile, log_level: Option<String>) -> Result<Config, Failure> {
    let mut config = Config::load(&file.path)?;
    config.log.level = log_level.unwrap_or(config.log.level);
    telemetry::log_to_stderr(config.log.format, &config.log.level);
    Ok(config)
}

/// For what answers a question: what it did is its output, and not its log, nor that of a keeper that it starts.
fn load(file: &ConfigFile) -> Result<Config, Failure> {
    load_service(file, Some("warn".to_owned()))
}

/// How many threads a mint answers on: one core is left to the keepers, which it waits for.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
}

fn block_on<Value>(work: impl Future<Output = Result<Value, Failure>>) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, format!("cannot start the runtime: {error}")))?;
    runtime.block_on(work)
}
