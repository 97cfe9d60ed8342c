//! What a development mint needs before it can start: token, PIN, keys, configuration. Made once, in
//! this order; a run that was interrupted is taken up where it ended.

use std::fs::{self, DirBuilder};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret as _, SecretString};
use toml_edit::{DocumentMut, Item, Table, value};

use super::frontends::Frontends;
use super::https::CertificateFiles;
use super::record::Record;
use super::swtpm::Swtpm;
use super::workloads::Workloads;
use super::{DevHardware, DevOptions, Files, SERVICE, write_private};
use crate::app::{Failure, Kind};
use crate::entropy::SystemEntropy;
use crate::oauth::secret::{self, SecretHash};

/// What makes a SoftHSM2 token; the same script that operators run by hand.
const INIT_TOKEN: &str = include_str!("../../../softhsm/init-token");
const TEMPLATE: &str = include_str!("../../../config/development.toml");

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Where distributions put SoftHSM2.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

pub(super) fn make_private_folder(path: &Path) -> Result<PathBuf, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Kind::Other, format!("cannot use the folder {}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let path = path.canonicalize().map_err(failed)?;
    let metadata = path.metadata().map_err(failed)?;
    // Whoever may write here chooses the module that the keeper loads.
    if metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        let message = format!("the folder {} is not this user's alone to write; name another one", path.display());
        return Err(Failure::new(Kind::Refused, message));
    }
    Ok(path)
}

/// What is there when all is.
pub(super) struct Prepared {
    /// The secret of the confidential client: that of the run before, where there was one.
    pub(super) secret: SecretString,
    pub(super) workloads: Workloads,
    pub(super) frontends: Frontends,
    /// It runs as long as this value.
    pub(super) tpm: Option<Swtpm>,
}

/// What the configuration says besides the device.
struct Settings<'a> {
    listen: Option<SocketAddr>,
    certificate: Option<&'a CertificateFiles>,
    secret: &'a SecretString,
    workloads: &'a Workloads,
    frontends: &'a Frontends,
}

/// Makes what is missing.
pub(super) fn prepare(files: &Files, options: &DevOptions) -> Result<Prepared, Failure> {
    refuse_running(files)?;
    let before = Record::read(&files.record());
    let known_secret = before.as_ref().and_then(|record| record.client_secret(SERVICE));
    let secret = known_secret.map_or_else(|| secret::generate(&SystemEntropy::new()), SecretString::from);
    let hardware = hardware(files, options.hardware)?;
    let certificate = certificate(files, options.tls)?;
    let workloads = Workloads::prepare(files)?;
    let frontends = Frontends::prepare(before.as_ref());
    let settings = Settings {
        listen: options.listen,
        certificate: certificate.as_ref(),
        secret: &secret,
        workloads: &workloads,
        frontends: &frontends,
    };
    let tpm = match hardware {
        DevHardware::SoftHsm => {
            let module = module()?;
            write_config(files, &settings, &Device::SoftHsm(module))?;
            make_token(files, module)?;
            None
        }
        DevHardware::Tpm => {
            let tpm = Swtpm::start(&files.tpm().join("swtpm"))?;
            write_config(files, &settings, &Device::Tpm(tpm.tcti()))?;
            Some(tpm)
        }
    };
    make_keys(files)?;
    Ok(Prepared { secret, workloads, frontends, tpm })
}

/// What the configuration says of the device: SoftHSM2's module, or how to reach the TPM.
enum Device {
    SoftHsm(&'static Path),
    Tpm(String),
}

fn module() -> Result<&'static Path, Failure> {
    MODULES.iter().map(Path::new).find(|module| module.exists()).ok_or_else(|| {
        Failure::new(
            Kind::Hardware,
            format!("SoftHSM2 is not installed (looked for {}); install the package softhsm2", MODULES.join(", ")),
        )
    })
}

/// The device that is asked for, which is that of the run before where there was one.
fn hardware(files: &Files, wanted: Option<DevHardware>) -> Result<DevHardware, Failure> {
    let before = match (files.tpm().exists(), files.softhsm().exists()) {
        (true, _) => Some(DevHardware::Tpm),
        (false, true) => Some(DevHardware::SoftHsm),
        (false, false) => None,
    };
    match (before, wanted) {
        (Some(before), Some(wanted)) if before != wanted => Err(Failure::new(
            Kind::Refused,
            format!("the mint in {} has other hardware; name another folder with --state", files.state.display()),
        )),
        (before, wanted) => Ok(wanted.or(before).unwrap_or(DevHardware::SoftHsm)),
    }
}

/// The certificate, which is made where HTTPS is asked for, or was in the run before.
fn certificate(files: &Files, is_wanted: bool) -> Result<Option<CertificateFiles>, Failure> {
    let is_there = files.tls().exists();
    if is_wanted && !is_there && files.config().exists() {
        // Its issuer has another name.
        let message =
            format!("the mint in {} speaks plain HTTP; name another folder with --state", files.state.display());
        return Err(Failure::new(Kind::Refused, message));
    }
    if !is_wanted && !is_there {
        return Ok(None);
    }
    let certificate = CertificateFiles::of(files);
    certificate.make(files)?;
    Ok(Some(certificate))
}

fn write_config(files: &Files, settings: &Settings<'_>, device: &Device) -> Result<(), Failure> {
    let Settings { listen, certificate, secret, workloads, frontends } = *settings;
    let path = files.config();
    let known = fs::read_to_string(&path).ok();
    let text = known.as_deref().unwrap_or(TEMPLATE);
    let mut document: DocumentMut = text.parse().map_err(|error| {
        Failure::new(
            Kind::Configuration,
            format!("{}: {error}; correct it, or remove it to start afresh", path.display()),
        )
    })?;
    let is_new = known.is_none();
    if is_new {
        let absolute = |relative: &str| files.state.join(relative).display().to_string();
        document["listen"]["admin"] = value(files.admin_socket().display().to_string());
        document["store"]["url"] = value(format!("sqlite:{}", absolute("mintkeep.db")));
    }
    if let (true, Some(files)) = (is_new, certificate) {
        let mut tls = Table::new();
        tls["certificate"] = value(files.certificate.display().to_string());
        tls["key"] = value(files.key.display().to_string());
        tls["client_certificates"] = value("optional");
        document["listen"]["tls"] = Item::Table(tls);
    }
    match device {
        Device::SoftHsm(module) if is_new => {
            let hardware = &mut document["hardware"]["softhsm"];
            hardware["module"] = value(module.display().to_string());
            hardware["pin"]["file"] = value(files.softhsm().join("pin").display().to_string());
            let conf = files.softhsm().join("softhsm2.conf");
            hardware["environment"]["SOFTHSM2_CONF"] = value(conf.display().to_string());
        }
        Device::SoftHsm(_) => {}
        Device::Tpm(tcti) => {
            if is_new {
                let mut tpm = Table::new();
                tpm["kind"] = value("tpm");
                tpm["keys"] = value(files.tpm().join("keys").display().to_string());
                let mut devices = Table::new();
                devices.set_implicit(true);
                devices["tpm"] = Item::Table(tpm);
                document["hardware"] = Item::Table(devices);
            }
            // It has another port in each run.
            document["hardware"]["tpm"]["tcti"] = value(tcti.as_str());
        }
    }
    if is_new || listen.is_some() {
        let address = free_port(listen.unwrap_or(DEFAULT_LISTEN))?;
        document["listen"]["public"] = value(address.to_string());
        document["issuer"] = value(issuer_at(address, if certificate.is_some() { "https" } else { "http" })?);
    }
    // The record and the configuration are written one after the other; a run that ended between them
    // must not leave a secret that opens nothing.
    let hash = SecretHash::of(secret.expose_secret()).hexadecimal();
    if let Some(clients) = document["client"].as_array_of_tables_mut() {
        for client in clients.iter_mut().filter(|client| client.get("id").and_then(|id| id.as_str()) == Some(SERVICE)) {
            client["secret_sha256"] = value(hash.as_str());
        }
    }
    workloads.configure(&mut document)?;
    let public = document["listen"]["public"].as_str().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LISTEN);
    frontends.configure(&mut document, files, || address_beside(public))?;
    let text = document.to_string();
    if known.as_deref() == Some(text.as_str()) { Ok(()) } else { write_private(&path, &text) }
}

/// The issuer identifier of a mint at `address`. Without TLS, or with a certificate of its own, it is one of this
/// machine only.
fn issuer_at(address: SocketAddr, scheme: &str) -> Result<String, Failure> {
    let host = address.ip();
    if host.is_loopback() {
        return Ok(format!("{scheme}://{address}"));
    }
    if host.is_unspecified() {
        return Ok(format!("{scheme}://{}", SocketAddr::new(DEFAULT_LISTEN.ip(), address.port())));
    }
    let message =
        format!("cannot listen at {address}: expected an address of this machine's loopback, such as {DEFAULT_LISTEN}");
    Err(Failure::new(Kind::Listen, message))
}

/// Fails where a mint runs in this folder: its configuration must not change under it.
fn refuse_running(files: &Files) -> Result<(), Failure> {
    let socket = files.admin_socket();
    match std::os::unix::net::UnixStream::connect(&socket) {
        Ok(_) => {
            Err(Failure::new(Kind::Listen, format!("another mint runs in {}; end it first", files.state.display())))
        }
        Err(_) => Ok(()),
    }
}

/// The next port of `public`, or a free one where that is taken.
fn address_beside(public: SocketAddr) -> Result<SocketAddr, Failure> {
    let host = if public.ip().is_unspecified() { DEFAULT_LISTEN.ip() } else { public.ip() };
    let next = public.port().checked_add(1).map(|port| SocketAddr::new(host, port));
    match next.filter(|next| TcpListener::bind(next).is_ok()) {
        Some(next) => Ok(next),
        None => free_port(SocketAddr::new(host, 0)),
    }
}

/// `address`, with a free port where it has none: the issuer's name needs the number.
fn free_port(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        return Ok(address);
    }
    let bound = TcpListener::bind(address).and_then(|listener| listener.local_addr());
    bound.map_err(|error| Failure::new(Kind::Listen, format!("cannot listen at {address}: {error}")))
}

fn make_token(files: &Files, module: &Path) -> Result<(), Failure> {
    let mut script = Command::new("sh");
    script.args(["-c", INIT_TOKEN, "init-token"]).arg(files.softhsm()).arg("mintkeep").arg(module);
    finish(script.stdin(Stdio::null()), "setting up a SoftHSM2 token")
}

/// In a process of its own, because this one will talk to the network and must never load the module.
fn make_keys(files: &Files) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(Failure::while_doing("cannot find this program"))?;
    let mut command = Command::new(program);
    command.args(["keys", "init", "--config"]).arg(files.config());
    finish(command.stdin(Stdio::null()), "generating the keys")
}

fn finish(command: &mut Command, what: &'static str) -> Result<(), Failure> {
    let output = command.output().map_err(Failure::while_doing(what))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let message = message.trim().trim_start_matches("mintkeep: ");
    Err(Failure::new(Kind::Hardware, format!("{what}: {message}")))
}
