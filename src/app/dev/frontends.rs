//! The front-ends of a development mint: a login page, a caller that speaks to Vault's transit engine, and the
//! kube-apiserver of this user.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};
use toml_edit::{DocumentMut, Item, Table, value};

use super::Files;
use super::record::Record;
use super::template::{add_missing, find, set, table, tables};
use crate::app::Failure;
use crate::entropy::SystemEntropy;
use crate::oauth::secret::{self, SecretHash};

/// Their part of the configuration. A folder of a release that had none gets it too.
const TEMPLATE: &str = include_str!("../../../config/development-frontends.toml");

/// The application that people log in to.
pub(super) const WEB_APP: &str = "web-app";
/// Where it wants to have people sent back to; any port will do.
pub(super) const REDIRECT_URI: &str = "http://127.0.0.1/callback";
/// The signing profile of the login page's own tokens.
pub(super) const PROFILE: &str = "frontend";
/// The signing profile of the key for callers that bring digests.
pub(super) const TRANSIT_KEY: &str = "transit";

const LOGIN: &str = "login";
const TRANSIT: &str = "transit";
const KUBERNETES: &str = "kube-apiserver";

/// What names each table of an array.
const TABLES: [(&str, &str); 3] = [("client", "id"), ("signing_profile", "name"), ("frontend", "name")];

/// What they prove themselves by: the tokens of the run before, where there was one.
pub(super) struct Frontends {
    pub(super) login_token: SecretString,
    pub(super) transit_token: SecretString,
}

impl Frontends {
    pub(super) fn prepare(before: Option<&Record>) -> Self {
        let token =
            |known: Option<String>| known.map_or_else(|| secret::generate(&SystemEntropy::new()), SecretString::from);
        Self {
            login_token: token(before.and_then(Record::frontend_token)),
            transit_token: token(before.and_then(Record::transit_token)),
        }
    }

    /// Adds what the configuration lacks of them, at `address` where they have none yet, and keeps the rest in step with
    /// the tokens and with this user.
    pub(super) fn configure(
        &self,
        document: &mut DocumentMut,
        files: &Files,
        address: impl FnOnce() -> Result<SocketAddr, Failure>,
    ) -> Result<(), Failure> {
        add_missing(document, TEMPLATE, &TABLES)?;
        let listen = table(document, "listen")?;
        if !listen.contains_key("frontend") {
            let mut frontend = Table::new();
            frontend["address"] = value(address()?.to_string());
            listen["frontend"] = Item::Table(frontend);
        }
        if !document.contains_key("kubernetes") {
            let mut kubernetes = Table::new();
            kubernetes["socket"] = value(files.state.join("kubernetes.sock").display().to_string());
            kubernetes["profile"] = value("kubernetes");
            document["kubernetes"] = Item::Table(kubernetes);
        }
        let frontends = tables(document, "frontend")?;
        for (name, token) in [(LOGIN, &self.login_token), (TRANSIT, &self.transit_token)] {
            if let Some(frontend) = find(frontends, "name", name) {
                set(frontend, "token_sha256", &SecretHash::of(token.expose_secret()).hexadecimal());
            }
        }
        let uid = i64::from(nix::unistd::geteuid().as_raw());
        if let Some(frontend) = find(frontends, "name", KUBERNETES)
            && frontend.get("uid").and_then(Item::as_integer) != Some(uid)
        {
            frontend["uid"] = value(uid);
        }
        Ok(())
    }
}
