//! A PostgreSQL server of one's own, in a temporary folder, removed with its value. It refuses to run as root, so a
//! test that does runs it as the user that Debian's package made.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};
use tempfile::TempDir;

use super::process::{children_of, runs, signal, succeed};

/// Who runs the server where the test is root, which the server does not want to be.
const SERVER_USER: &str = "postgres";
/// The database, and the role that owns it.
const NAME: &str = "mintkeep";

/// A server that takes connections at a Unix socket in its folder.
pub struct Postgres {
    folder: TempDir,
    server: Child,
    settings: Vec<String>,
}

/// How a server that has TLS is reached: by the role in its URL and [`Tls::PASSWORD`].
pub struct Tls {
    /// For `store.url`, without the password.
    pub url: String,
    /// The certificate of the authority that the server's certificate is from.
    pub authority: PathBuf,
}

impl Tls {
    pub const PASSWORD: &str = "correct horse battery staple";
}

impl Postgres {
    /// A server with an empty database.
    pub fn start() -> Self {
        let folder = folder();
        let server = serve(&folder, &[]);
        let postgres = Self { folder, server, settings: Vec::new() };
        postgres.make_database();
        postgres
    }

    /// A server that is reached over TCP too, by TLS and a password only.
    pub fn start_with_tls() -> (Self, Tls) {
        let folder = folder();
        let place = |name: &str| folder.path().join(name);
        let ours = rcgen::CertifiedIssuer::self_signed(authority(), rcgen::KeyPair::generate().expect("a key"));
        let ours = ours.expect("a certificate");
        fs::write(place("authority.pem"), ours.pem()).expect("a writable folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = certificate.signed_by(&key, &ours).expect("a certificate");
        fs::write(place("server.pem"), certificate.pem()).expect("a writable folder");
        fs::write(place("server.key"), key.serialize_pem()).expect("a writable folder");
        fs::set_permissions(place("server.key"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        own(&place("server.key"));
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(place("data/pg_hba.conf"), rules).expect("a writable folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        let settings: Vec<String> = [
            "ssl=on".to_owned(),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            format!("ssl_cert_file={}", place("server.pem").display()),
            format!("ssl_key_file={}", place("server.key").display()),
        ]
        .into();
        let server = serve(&folder, &settings);
        let postgres = Self { folder, server, settings };
        postgres.make_database();
        postgres.sql(&format!(
            "CREATE ROLE node LOGIN PASSWORD '{}'; GRANT CREATE ON SCHEMA public TO node",
            Tls::PASSWORD
        ));
        let tls = Tls {
            url: format!("postgres://node@localhost:{port}/{NAME}?hostaddr=127.0.0.1"),
            authority: postgres.path("authority.pem"),
        };
        (postgres, tls)
    }

    /// For `store.url`.
    pub fn url(&self) -> String {
        format!("postgres:///{NAME}?user={NAME}&host={}&port={}", self.folder.path().display(), self.port())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn port(&self) -> &str {
        self.settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432")
    }

    fn make_database(&self) {
        self.wait_until_ready();
        self.sql_in("postgres", &format!("CREATE DATABASE {NAME}"));
    }

    /// What `psql` prints for `statement`, unaligned.
    pub fn sql(&self, statement: &str) -> String {
        self.sql_in(NAME, statement)
    }

    fn sql_in(&self, database: &str, statement: &str) -> String {
        let mut psql = program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", NAME, "-d", database, "-c", statement]);
        // Also where a test forbids everybody to write.
        psql.env("PGOPTIONS", "-c default_transaction_read_only=off");
        let output = succeed(psql.arg("-h").arg(self.folder.path()).args(["-p", self.port()]));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Sends `which` to the server and all its backends.
    pub fn signal(&self, which: Signal) {
        let postmaster = self.server.id();
        for process in [vec![postmaster], children_of(postmaster)].concat() {
            signal(process, which);
        }
    }

    /// Kills the server and all its backends as a power cut would.
    pub fn kill(&mut self) {
        let postmaster = self.server.id();
        let backends = children_of(postmaster);
        signal(postmaster, Signal::SIGKILL);
        self.server.wait().expect("it can be waited for");
        for &backend in &backends {
            let pid = nix::unistd::Pid::from_raw(backend.try_into().expect("a process id"));
            // One that noticed by itself is gone already.
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
        // They hold the shared memory, without which a new server does not start.
        while backends.iter().any(|&backend| runs(backend)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts a server that was killed, on the same data.
    pub fn start_again(&mut self) {
        self.server = serve(&self.folder, &self.settings);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        for _ in 0..2000 {
            let mut ask = program("pg_isready");
            ask.args(["-q", "-d", "postgres", "-U", NAME, "-p", self.port(), "-h"]).arg(self.folder.path());
            let ready = ask.status();
            if ready.expect("pg_isready runs").success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// A folder with an empty cluster in it, which the server's user owns.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("mintkeep-postgres-").tempdir().expect("a temporary folder");
    own(folder.path());
    // The mint of a test may run as another user, and has to reach the socket.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let mut initdb = program("initdb");
    initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--username", NAME, "-D"]);
    succeed(initdb.arg(folder.path().join("data")));
    folder
}

/// Gives `path` to the server's user, where that is another one.
fn own(path: &Path) {
    if Uid::effective().is_root() {
        let user = User::from_name(SERVER_USER).expect("a list of users").expect("postgresql is installed");
        chown(path, Some(user.uid), Some(user.gid)).expect("root may");
    }
}

fn authority() -> rcgen::CertificateParams {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
}

fn serve(folder: &TempDir, settings: &[String]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).expect("a log");
    let mut server = program("postgres");
    server.arg("-D").arg(folder.path().join("data")).arg("-k").arg(folder.path());
    // The last one of a kind holds.
    server.args(["-c", "listen_addresses=", "-p", "5432"]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts")
}

/// One of PostgreSQL's programs, of the newest version that is installed, under a user that may run it.
fn program(name: &str) -> Command {
    let installed = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let version = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let newest = installed.flatten().filter_map(version).max().expect("postgresql is installed");
    let path = format!("/usr/lib/postgresql/{newest}/bin/{name}");
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups", &path]);
        command
    } else {
        Command::new(path)
    };
    // Not the folder of the test, which the other user may not enter.
    command.current_dir("/").env("LC_ALL", "C");
    command
}
