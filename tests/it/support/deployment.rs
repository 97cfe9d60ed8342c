//! A deployment: a SoftHSM2 token or a TPM in software, keys, a configuration and a store of its own in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use serde_json::Value;
use tempfile::TempDir;
use toml_edit::{DocumentMut, Item, Table, value};

use super::process::succeed;
use super::swtpm::free_ports;
use super::{PROGRAM, Postgres, RunningMint, SOFTHSM2, Swtpm};

/// The public client.
pub const WORKLOAD: &str = "ci-cd-pipeline-runner";
/// The confidential client.
pub const SERVICE: &str = "billing-service";

/// A resource server.
pub const API: &str = "metrics-api";

/// A deployment that is removed with its value.
pub struct Deployment {
    // Ended before the folder with its state is removed.
    tpm: Option<Swtpm>,
    folder: TempDir,
    /// The secret of [`SERVICE`].
    pub secret: String,
}

impl Deployment {
    /// Everything that a mint needs.
    pub fn new() -> Self {
        let deployment = Self::without_keys();
        succeed(&mut deployment.command(&["keys", "init"]));
        deployment
    }

    /// A token without keys.
    pub fn without_keys() -> Self {
        let deployment = Self::without_token();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("softhsm/init-token");
        succeed(Command::new(script).arg(deployment.path("softhsm")).arg("mintkeep"));
        deployment
    }

    /// A configuration, and nothing that it names.
    pub fn without_token() -> Self {
        let folder = tempfile::Builder::new().prefix("mintkeep-test-").tempdir().expect("a temporary folder");
        let secret: Value = {
            let output = succeed(Command::new(PROGRAM).args(["client", "secret", "--json"]));
            serde_json::from_slice(&output.stdout).expect("JSON")
        };
        let text = |name: &str| secret[name].as_str().expect("a string").to_owned();
        let deployment = Self { tpm: None, folder, secret: text("client_secret") };
        let template = include_str!("../../../config/development.toml");
        fs::write(deployment.config_path(), template).expect("a writable folder");
        let softhsm = deployment.path("softhsm/softhsm2.conf").display().to_string();
        deployment.edit(|config| {
            // A port that is free is chosen at the start; the name of the issuer does not depend on it.
            config["listen"]["public"] = value("127.0.0.1:0");
            config["issuer"] = value("https://mint.example.com");
            config["log"]["format"] = value("json");
            // The folder of the test is not the folder that the keeper runs in.
            config["hardware"]["softhsm"]["environment"]["SOFTHSM2_CONF"] = value(softhsm.as_str());
            let clients = config["client"].as_array_of_tables_mut().expect("clients");
            clients.get_mut(1).expect("the service")["secret_sha256"] = value(text("secret_sha256"));
        });
        deployment
    }

    /// Everything that a mint needs, on a TPM.
    pub fn on_tpm() -> Self {
        let deployment = Self::on_tpm_without_keys();
        succeed(&mut deployment.command(&["keys", "init"]));
        deployment
    }

    /// Everything that a mint needs, on a TPM that keeps its keys at handles of `range`.
    pub fn on_tpm_with_persistent_keys(range: &str) -> Self {
        let deployment = Self::on_tpm_without_keys();
        deployment.edit(|config| config["hardware"]["tpm"]["persistent_handles"] = value(range));
        succeed(&mut deployment.command(&["keys", "init"]));
        deployment
    }

    /// A TPM without keys of ours.
    pub fn on_tpm_without_keys() -> Self {
        let mut deployment = Self::without_token();
        deployment.edit(|config| {
            let mut tpm = Table::new();
            tpm["kind"] = value("tpm");
            tpm["keys"] = value("keys");
            let hardware = config["hardware"].as_table_mut().expect("a table");
            hardware.remove("softhsm");
            hardware["tpm"] = Item::Table(tpm);
        });
        deployment.replace_tpm("swtpm");
        deployment
    }

    /// Puts another TPM, with its state in the folder `name`, in the place of the one that is there.
    pub fn replace_tpm(&mut self, name: &str) {
        self.tpm = None;
        let tpm = Swtpm::start(&self.path(name));
        self.edit(|config| config["hardware"]["tpm"]["tcti"] = value(tpm.tcti()));
        self.tpm = Some(tpm);
    }

    /// How libtss2 reaches the TPM.
    pub fn tcti(&self) -> String {
        self.tpm.as_ref().expect("a deployment on a TPM").tcti()
    }

    /// Changes the configuration.
    pub fn edit(&self, change: impl FnOnce(&mut DocumentMut)) {
        let mut config: DocumentMut = self.config_text().parse().expect("TOML");
        change(&mut config);
        fs::write(self.config_path(), config.to_string()).expect("a writable folder");
    }

    /// Takes the limits on failed attempts out of the way of a test that makes more of them.
    pub fn allow_failed_attempts(&self) {
        self.limit_failed_attempts(1_000_000, 1_000_000);
    }

    /// How many failed attempts a minute are answered at once.
    pub fn limit_failed_attempts(&self, per_source: i64, per_client: i64) {
        self.edit(|config| {
            config["limits"]["failed_attempts_per_source"] = value(per_source);
            config["limits"]["failed_attempts_per_client"] = value(per_client);
        });
    }

    /// Adds the client of `table`, the lines below `[[client]]`.
    pub fn add_client(&self, table: &str) {
        self.append(&format!("[[client]]\n{table}"));
    }

    /// Adds `tables` at the end of the configuration.
    pub fn append(&self, tables: &str) {
        fs::write(self.config_path(), format!("{}\n{tables}\n", self.config_text())).expect("a writable folder");
    }

    /// Registers the resource server [`API`] for tokens to `audience`, with the secret of [`SERVICE`].
    pub fn add_resource_server(&self, audience: &str) {
        let hash = self.secret_hash();
        let text = format!(
            "{}\n[[resource_server]]\nid = \"{API}\"\nauthentication = [\"client_secret_basic\", \"client_secret_post\"]\nsecret_sha256 = \"{hash}\"\naudience = \"{audience}\"\n",
            self.config_text()
        );
        fs::write(self.config_path(), text).expect("a writable folder");
    }

    /// Lets clients register themselves for `read:metrics` and `write:metrics`, with the secret of [`SERVICE`] as the
    /// initial access token, and further `lines`.
    pub fn allow_registration(&self, lines: &str) {
        let hash = self.secret_hash();
        let text = format!(
            "{}\n[registration]\ninitial_access_token_sha256 = \"{hash}\"\nscope = \"read:metrics write:metrics\"\naudience = \"https://api.example.com\"\n{lines}\n",
            self.config_text()
        );
        fs::write(self.config_path(), text).expect("a writable folder");
    }

    /// What the configuration has of [`Self::secret`].
    pub fn secret_hash(&self) -> String {
        self.config_text().split("secret_sha256 = \"").nth(1).expect("the service")[..64].to_owned()
    }

    pub fn config_text(&self) -> String {
        fs::read_to_string(self.config_path()).expect("a readable file")
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("mintkeep.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `mintkeep WORDS --config …`.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.command_without_config(words);
        command.arg("--config").arg(self.config_path());
        command
    }

    /// `mintkeep WORDS`, for a command that reads no configuration.
    pub fn command_without_config(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).current_dir(self.folder.path());
        command
    }

    /// Runs `mintkeep WORDS --config …` to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("mintkeep starts")
    }

    /// Runs a command with `--json` that must succeed.
    pub fn run_json(&self, words: &[&str]) -> Value {
        let mut command = self.command(words);
        let output = succeed(command.arg("--json"));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// A first refresh token of [`WORKLOAD`].
    pub fn grant(&self) -> String {
        self.grant_to(WORKLOAD)
    }

    /// A first refresh token of `client`.
    pub fn grant_to(&self, client: &str) -> String {
        let grant = self.run_json(&["grant", "issue", "--client", client, "--subject", "deploy@example.com"]);
        grant["refresh_token"].as_str().expect("a string").to_owned()
    }

    /// The PIN of the token.
    pub fn pin(&self) -> String {
        fs::read_to_string(self.path("softhsm/pin")).expect("the script left a PIN")
    }

    /// `pkcs11-tool` on the token, logged in.
    pub fn pkcs11_tool(&self, words: &[&str]) -> Command {
        let mut command = Command::new("pkcs11-tool");
        command.env("SOFTHSM2_CONF", self.path("softhsm/softhsm2.conf")).env("TEST_PIN", self.pin());
        command.args(["--module", SOFTHSM2, "--token-label", "mintkeep", "--login", "--pin", "env:TEST_PIN"]);
        command.args(words);
        command
    }

    /// Keeps the sessions in `postgres`, whose schema is made.
    pub fn use_postgres(&self, postgres: &Postgres) {
        self.edit(|config| config["store"]["url"] = value(postgres.url()));
        succeed(&mut self.command(&["store", "migrate"]));
    }

    /// Starts another node on the same store and keys, as `change` wants it started.
    pub fn serve_beside(&self, change: impl FnOnce(&mut Command)) -> RunningMint {
        let mut config: DocumentMut = self.config_text().parse().expect("TOML");
        config["listen"]["admin"] = value("beside.sock");
        fs::write(self.path("beside.toml"), config.to_string()).expect("a writable folder");
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(self.path("beside.toml"));
        change(&mut command);
        RunningMint::start(command, self.path("beside.sock"), self.secret.clone())
    }

    /// Starts `mintkeep serve` and waits until it is ready.
    pub fn serve(&self) -> RunningMint {
        RunningMint::start(self.command(&["serve"]), self.path("admin.sock"), self.secret.clone())
    }

    /// As [`Self::serve`], where the issuer identifier is the address, with `path` behind it: for a client that finds
    /// the mint by its identifier. The mint, and the identifier.
    pub fn serve_at_issuer(&self, path: &str) -> (RunningMint, String) {
        let attempt = || {
            let listen = format!("127.0.0.1:{}", free_ports()?);
            let issuer = format!("http://{listen}{path}");
            self.edit(|config| {
                config["issuer"] = value(issuer.as_str());
                config["listen"]["public"] = value(listen);
            });
            match self.try_serve() {
                Ok(mint) => Some((mint, issuer)),
                Err((_, log)) if log.contains("cannot listen at") => None,
                Err((status, log)) => panic!("{status}: {log}"),
            }
        };
        (0..20).find_map(|_| attempt()).expect("one of twenty ports is free")
    }

    /// As [`Self::serve`]; how it ended, and what it said, where it did before it was ready.
    pub fn try_serve(&self) -> Result<RunningMint, (ExitStatus, String)> {
        RunningMint::try_start(self.command(&["serve"]), self.path("admin.sock"), self.secret.clone())
    }
}
