//! The faulty module (`tests/faulty-module`) between a deployment and its SoftHSM2.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::value;

use super::{Deployment, PROGRAM, SOFTHSM2};

/// What goes wrong with the calls of a deployment's keepers, and what they were.
pub struct FaultyModule {
    folder: PathBuf,
}

impl FaultyModule {
    /// Puts it between `deployment` and its token, with nothing wrong yet.
    pub fn before(deployment: &Deployment) -> Self {
        let module = Path::new(PROGRAM).with_file_name("examples").join("libfaulty_module.so");
        assert!(module.exists(), "{} is built by `cargo build --example faulty_module`", module.display());
        // A copy: its own folder may be closed to the user that the keeper runs under.
        let folder = deployment.path("faulty");
        fs::create_dir(&folder).expect("a writable folder");
        let copy = folder.join("libfaulty_module.so");
        fs::copy(&module, &copy).expect("a writable folder");
        fs::write(folder.join("calls"), "").expect("a writable folder");
        deployment.edit(|config| {
            let hardware = &mut config["hardware"]["softhsm"];
            hardware["module"] = value(copy.display().to_string());
            hardware["environment"]["FAULTY_MODULE_REAL"] = value(SOFTHSM2);
            hardware["environment"]["FAULTY_MODULE_FOLDER"] = value(folder.display().to_string());
        });
        Self { folder }
    }

    /// Has it be a module of PKCS#11 3.0, with functions for messages.
    pub fn speak_version_3(&self, deployment: &Deployment) {
        deployment.edit(|config| {
            config["hardware"]["softhsm"]["environment"]["FAULTY_MODULE_VERSION"] = value("3");
        });
    }

    /// From the next call on, what `lines` say goes wrong. The log begins anew.
    pub fn script(&self, lines: &str) {
        for entry in fs::read_dir(&self.folder).expect("it is there").flatten() {
            if entry.file_name().to_string_lossy().starts_with("fired-") {
                fs::remove_file(entry.path()).expect("a writable folder");
            }
        }
        // Emptied and not removed: the keeper that runs has it open.
        fs::write(self.folder.join("calls"), "").expect("a writable folder");
        fs::write(self.folder.join("next"), lines).expect("a writable folder");
        fs::rename(self.folder.join("next"), self.folder.join("script")).expect("a writable folder");
    }

    /// Whether the first line of the script has taken effect.
    pub fn has_happened(&self) -> bool {
        self.folder.join("fired-0").exists()
    }

    /// Puts a token back that was removed.
    pub fn put_token_back(&self) {
        fs::remove_file(self.folder.join("removed")).expect("it was removed");
    }

    /// The names of all calls since the script was written, in order.
    pub fn calls(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| !line.starts_with('!')).collect()
    }

    /// How often `function` was called.
    pub fn count(&self, function: &str) -> usize {
        self.calls().iter().filter(|call| *call == function).count()
    }

    /// Each line: a call, or after `! ` one that failed with its code.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
