//! The workloads of a development mint that hold no secret of it: one with a key of its own, and one that a platform
//! vouches for. The platform is made up, and here too.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Value, value};

use super::template::{add_missing, find, set, tables};
use super::{Files, write_private};
use crate::app::Failure;
use crate::app::development_key::DevelopmentKey;
use crate::jose::jwk::JwkSet;

/// Their part of the configuration. A folder of a release that had none gets it too.
const TEMPLATE: &str = include_str!("../../../config/development-workloads.toml");

/// The client with a key.
pub(super) const ROBOT: &str = "deploy-robot";
/// The client that is vouched for.
pub(super) const JOB: &str = "ci-job";
/// The platform.
const PLATFORM: &str = "https://issuer.dev.example";
/// The policy that takes its tokens.
pub(super) const POLICY: &str = "deploy-from-main";

/// What names each table of an array.
const TABLES: [(&str, &str); 3] = [("client", "id"), ("trusted_issuer", "issuer"), ("trust", "name")];

/// The keys, and where they are.
pub(super) struct Workloads {
    pub(super) robot: DevelopmentKey,
    pub(super) robot_file: PathBuf,
    pub(super) platform: DevelopmentKey,
    pub(super) platform_file: PathBuf,
    platform_jwks_file: PathBuf,
}

impl Workloads {
    /// Reads the keys, and makes those that are not there yet.
    pub(super) fn prepare(files: &Files) -> Result<Self, Failure> {
        let [robot_file, platform_file, platform_jwks_file] =
            ["deploy-robot.pem", "trust-issuer.pem", "trust-issuer.jwks.json"].map(|name| files.state.join(name));
        let (robot, platform) = (key(&robot_file)?, key(&platform_file)?);
        write_private(&platform_jwks_file, &format!("{:#}\n", jwks(&platform)))?;
        Ok(Self { robot, robot_file, platform, platform_file, platform_jwks_file })
    }

    /// Adds what the configuration lacks of them, and keeps the rest in step with the keys and with the issuer.
    pub(super) fn configure(&self, document: &mut DocumentMut) -> Result<(), Failure> {
        add_missing(document, TEMPLATE, &TABLES)?;
        // Where the file was removed, there is a new key now. Whoever keeps its keys elsewhere has no `jwks` here.
        if let Some(robot) = find(tables(document, "client")?, "id", ROBOT)
            && let Some(known) = robot.get("jwks").map(Item::to_string)
            && !known.contains(self.robot.kid())
        {
            robot["jwks"] = inline(&self.robot);
        }
        if let Some(platform) = find(tables(document, "trusted_issuer")?, "issuer", PLATFORM) {
            set(platform, "jwks_file", &self.platform_jwks_file.display().to_string());
        }
        let issuer = document.get("issuer").and_then(Item::as_str).unwrap_or_default().to_owned();
        if let Some(policy) = find(tables(document, "trust")?, "name", POLICY) {
            set(policy, "audience", &issuer);
        }
        Ok(())
    }
}

fn key(path: &Path) -> Result<DevelopmentKey, Failure> {
    if !path.exists() {
        write_private(path, DevelopmentKey::generate_pem()?.expose_secret())?;
    }
    DevelopmentKey::read(path)
}

/// The JWK Set of the public half.
fn jwks(key: &DevelopmentKey) -> serde_json::Value {
    serde_json::json!(JwkSet::of_signing_keys([key.public()]))
}

/// The same in TOML.
fn inline(key: &DevelopmentKey) -> Item {
    let jwks = jwks(key);
    let members = jwks["keys"][0].as_object().into_iter().flatten();
    let jwk: InlineTable = members.filter_map(|(name, value)| Some((name, value.as_str()?))).collect();
    let mut set = InlineTable::new();
    set.insert("keys", Value::Array(Array::from_iter([jwk])));
    value(set)
}
