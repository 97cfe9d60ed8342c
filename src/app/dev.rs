//! `mintkeep dev`: a whole mint on a SoftHSM2 token or a TPM in software of its own, in one folder, from one
//! command.

mod frontends;
mod https;
mod record;
mod setup;
mod swtpm;
mod template;
mod usage;
mod workloads;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use self::record::{Record, Running};
use self::setup::Prepared;
use super::mint::Mint;
use super::{Failure, Kind};
use crate::config::Config;
use crate::oauth::issuer::IssuedGrant;
use crate::sealing::PresentedRefreshToken;

/// The public client of the development mint: a workload with a refresh token.
const WORKLOAD: &str = "ci-cd-pipeline-runner";
/// Its confidential client.
const SERVICE: &str = "billing-service";

/// Where `dev` keeps everything, and where it listens.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// The folder; made where it is not there.
    pub state: PathBuf,
    /// The public address; the one of the run before, or 127.0.0.1:8080, where it is left out.
    pub listen: Option<SocketAddr>,
    /// The device; that of the run before, or SoftHSM2, where it is left out.
    pub hardware: Option<DevHardware>,
    /// Whether it speaks HTTPS; a mint that did in the run before does so again.
    pub tls: bool,
}

/// The devices that a development mint can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DevHardware {
    /// A PKCS#11 token in software.
    SoftHsm,
    /// A TPM 2.0 in software, which runs as long as the mint does.
    Tpm,
}

/// The files of a development mint.
struct Files {
    state: PathBuf,
}

impl Files {
    fn config(&self) -> PathBuf {
        self.state.join("mintkeep.toml")
    }

    fn record(&self) -> PathBuf {
        self.state.join("dev.json")
    }

    fn admin_socket(&self) -> PathBuf {
        self.state.join("admin.sock")
    }

    fn softhsm(&self) -> PathBuf {
        self.state.join("softhsm")
    }

    fn tpm(&self) -> PathBuf {
        self.state.join("tpm")
    }

    fn tls(&self) -> PathBuf {
        self.state.join("tls")
    }
}

/// Sets up what is missing, serves until Ctrl-C, and prints how to use it.
///
/// # Errors
/// [`Failure`].
pub async fn run(options: DevOptions) -> Result<(), Failure> {
    let files = Files { state: setup::make_private_folder(&options.state)? };
    // The TPM ends when this does.
    let Prepared { secret, workloads, frontends, tpm: _tpm } = setup::prepare(&files, &options)?;
    let config_path = files.config();
    let config = Config::load(&config_path)?;
    let mint = Mint::start(&config_path, &config).await?;
    let workload_token = workload_token(&files, &mint).await?;
    let mut record = Record::new(&config, secret, workload_token, &workloads, &frontends);
    record.running = Running::now(mint.services.keepers.members()[0].keeper.process_id());
    record.write(&files.record())?;
    usage::print(&record, &files.record());
    let following =
        tokio::spawn(follow_keeper(mint.services.keepers.members()[0].keeper.clone(), record, files.record()));
    mint.run().await;
    following.abort();
    Ok(())
}

/// The refresh token of the run before, as long as it is the one that the mint waits for; a new one
/// otherwise. A used one must not be handed out again: presenting it would look like theft.
async fn workload_token(files: &Files, mint: &Mint) -> Result<String, Failure> {
    let services = &mint.services;
    if let Some(token) = Record::read(&files.record()).and_then(|record| record.refresh_token(WORKLOAD))
        && let Ok(presented) = PresentedRefreshToken::parse(&token)
        && let Some(family) = services.store.family(presented.fid()).await?
        && family.generation == 0
        && family.revoked_at.is_none()
        && services.clock.now() < family.expires_at
    {
        return Ok(token);
    }
    let grant: IssuedGrant = services.token_endpoint.begin_family(WORKLOAD, "pipeline@example.com", None).await?;
    Ok(grant.refresh_token)
}

/// Keeps `keeper_pid` in the record true when a keeper takes the place of another.
async fn follow_keeper(mut keeper: crate::keeper::Keeper, mut record: Record, path: PathBuf) {
    loop {
        keeper.changed().await;
        let running = Running::now(keeper.process_id());
        if running != record.running {
            record.running = running;
            if let Err(error) = record.write(&path) {
                tracing::warn!(%error, "cannot update the record");
            }
        }
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| Failure::new(Kind::Other, format!("cannot write {}: {error}", path.display()));
    // Written beside it and moved into place: a reader never sees half of it.
    let draft = path.with_extension("new");
    // One that is there already may be somebody else's, with somebody else's permissions.
    let _ = std::fs::remove_file(&draft);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}
