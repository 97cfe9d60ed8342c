//! What is not the same in two readings of one configuration.

use std::collections::BTreeMap;

use super::{Config, Hardware};

/// Who is registered or trusted by one reading and not by another, or in another way: `client ID`,
/// `resource server ID`, `resource ID`, `front-end NAME`, `trust policy NAME`, `trusted issuer ISSUER` or `registration`, by name within
/// their kinds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RegistrationChanges {
    /// By the later reading only.
    pub added: Vec<String>,
    /// By the earlier reading only.
    pub removed: Vec<String>,
    /// By both, and not in the same way.
    pub changed: Vec<String>,
}

impl RegistrationChanges {
    /// What became of `before`.
    pub fn between(before: &Config, after: &Config) -> Self {
        let mut changes = Self::default();
        changes.note("client", [before, after].map(|config| by(&config.clients, |client| &client.id)));
        changes
            .note("resource server", [before, after].map(|config| by(&config.resource_servers, |server| &server.id)));
        changes.note("resource", [before, after].map(|config| by(&config.resources, |(id, _)| id)));
        changes.note("front-end", [before, after].map(|config| by(&config.frontends, |frontend| &frontend.name)));
        changes.note("trust policy", [before, after].map(|config| by(config.trust.iter(), |policy| &policy.name)));
        changes
            .note("trusted issuer", [before, after].map(|config| by(&config.trusted_issuers, |known| &known.issuer)));
        match (&before.registration, &after.registration) {
            (None, Some(_)) => changes.added.push("registration".to_owned()),
            (Some(_), None) => changes.removed.push("registration".to_owned()),
            (before, after) if before != after => changes.changed.push("registration".to_owned()),
            _ => {}
        }
        changes
    }

    fn note<Item: PartialEq>(&mut self, kind: &str, [before, after]: [BTreeMap<&str, Item>; 2]) {
        let named = |name: &&str| format!("{kind} {name}");
        self.removed.extend(before.keys().filter(|name| !after.contains_key(*name)).map(named));
        for (name, item) in &after {
            match before.get(name) {
                None => self.added.push(named(name)),
                Some(known) if known != item => self.changed.push(named(name)),
                Some(_) => {}
            }
        }
    }
}

fn by<'a, Item: Copy + 'a>(
    items: impl IntoIterator<Item = Item>,
    name: fn(Item) -> &'a String,
) -> BTreeMap<&'a str, Item> {
    items.into_iter().map(|item| (name(item).as_str(), item)).collect()
}

impl Config {
    /// The settings and tables that a mint which began with `self` has to be restarted for, where it is to go by
    /// `other`.
    pub fn fixed_settings_that_differ(&self, other: &Self) -> Vec<&'static str> {
        // Each part by its name, so that nobody adds one and forgets it here.
        let Self {
            issuer,
            listen,
            attempt_limits,
            logins_per_source,
            keeper,
            hardware,
            keys,
            signing_profiles,
            jwks_max_age,
            kubernetes,
            store,
            log,
            clients: _,
            resource_servers: _,
            frontends: _,
            resources: _,
            registration: _,
            trust: _,
            trusted_issuers: _,
            read: _,
        } = self;
        let compared = [
            ("issuer", *issuer == other.issuer),
            ("[listen]", *listen == other.listen),
            ("[limits]", *attempt_limits == other.attempt_limits && *logins_per_source == other.logins_per_source),
            ("[keeper]", *keeper == other.keeper),
            // Where its keeper is, and what it remembers, is of a device here.
            ("[hardware] (or [keeper] socket, user, mint_user, state)", are_same(hardware, &other.hardware)),
            ("[keys]", keys.without_delegated().replaces_as(&other.keys.without_delegated())),
            (
                "[[signing_profile]]",
                (signing_profiles, &keys.delegated) == (&other.signing_profiles, &other.keys.delegated),
            ),
            ("[tokens] jwks_max_age", *jwks_max_age == other.jwks_max_age),
            ("[kubernetes]", *kubernetes == other.kubernetes),
            ("[store]", *store == other.store),
            ("[log]", *log == other.log),
        ];
        compared.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
    }
}

/// Whether these are the same devices, whatever profiles have keys in them.
fn are_same(devices: &[Hardware], others: &[Hardware]) -> bool {
    devices.iter().map(Hardware::without_profiles).eq(others.iter().map(Hardware::without_profiles))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = r#"
issuer = "https://mint.example.com"
[listen]
public = "127.0.0.1:8080"
admin = "admin.sock"
[hardware.hsm]
kind = "pkcs11"
module = "module.so"
token = { label = "mintkeep" }
pin = { file = "pin" }
[store]
url = "sqlite:mintkeep.db"
[[client]]
id = "robot"
authentication = "none"
grants = ["refresh_token"]
scope = "read"
audience = "https://api.example.com"
[[client]]
id = "signer"
authentication = "private_key_jwt"
jwks = { keys = [{ kty = "EC", crv = "P-256", kid = "one", x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }] }
grants = ["client_credentials"]
scope = "read"
audience = "https://api.example.com"
[[resource]]
id = "https://api.example.com"
scope = "read"
[[trust]]
name = "main"
issuer = "https://issuer.example.com"
audience = "https://mint.example.com"
match = { ref = "main" }
client = "robot"
"#;

    fn parsed(text: &str) -> Config {
        Config::parse(Path::new("mintkeep.toml"), text).unwrap()
    }

    fn with(old: &str, new: &str) -> Config {
        assert!(TEXT.contains(old), "{old}");
        parsed(&TEXT.replacen(old, new, 1))
    }

    #[test]
    fn what_was_added_removed_and_changed_is_named() {
        let before = parsed(TEXT);
        assert_eq!(RegistrationChanges::between(&before, &before.read_trust_again().unwrap()), Default::default());
        let changes = |old: &str, new: &str| {
            let RegistrationChanges { added, removed, changed } =
                RegistrationChanges::between(&before, &with(old, new));
            [added, removed, changed].map(|names| names.join(", "))
        };
        let others = ["[[resource]]\nid = \"https://api.example.com\"", "[[resource]]\nid = \"https://b.example.com\""];
        assert_eq!(
            changes(others[0], others[1]),
            ["resource https://b.example.com", "resource https://api.example.com", ""]
        );
        assert_eq!(changes("kid = \"one\"", "kid = \"two\""), ["", "", "client signer"]);
        assert_eq!(
            changes("grants = [\"refresh_token\"]", "rotation = \"always\"\ngrants = [\"refresh_token\"]")[2],
            "client robot"
        );
        assert_eq!(changes("{ ref = \"main\" }", "{ ref = \"release\" }"), ["", "", "trust policy main"]);
        let [added, removed, changed] = changes("https://issuer.example.com", "https://other.example.com");
        assert_eq!(added, "trusted issuer https://other.example.com");
        assert_eq!(removed, "trusted issuer https://issuer.example.com");
        assert_eq!(changed, "trust policy main");
    }

    #[test]
    fn each_setting_that_needs_a_restart_is_named_and_no_other() {
        let before = parsed(TEXT);
        let differ = |old: &str, new: &str| before.fixed_settings_that_differ(&with(old, new)).join(", ");
        let table = |lines: &str| format!("{lines}\n[[client]]\nid = \"robot\"");
        let client = "[[client]]\nid = \"robot\"";
        assert_eq!(differ("https://mint.example.com", "https://mint.example.org"), "issuer");
        assert_eq!(differ("8080", "8081"), "[listen]");
        assert_eq!(differ("admin.sock\"", "admin.sock\"\nmax_connections = 7"), "[listen]");
        assert_eq!(differ(client, &table("[limits]\nfailed_attempts_per_client = 7")), "[limits]");
        assert_eq!(differ(client, &table("[limits]\nlogins_per_source = 7")), "[limits]");
        assert_eq!(differ(client, &table("[keeper]\nqueue = 7")), "[keeper]");
        let hardware = "[hardware] (or [keeper] socket, user, mint_user, state)";
        assert_eq!(differ(client, &table("[keeper]\nstate = \"state\"")), hardware);
        assert_eq!(differ("module.so", "other.so"), hardware);
        assert_eq!(differ(client, &table("[keys.sealing]\nrotate_every = \"30d\"")), "[keys]");
        let profile = "[[signing_profile]]\nname = \"dex\"\ncontent = \"any\"";
        assert_eq!(differ(client, &table(profile)), "[[signing_profile]]");
        assert_eq!(differ(client, &table("[tokens]\njwks_max_age = \"7m\"")), "[tokens] jwks_max_age");
        assert_eq!(differ("mintkeep.db", "other.db"), "[store]");
        assert_eq!(differ(client, &table("[log]\nlevel = \"debug\"")), "[log]");
        // Keys are needed for longer then, which needs no restart.
        assert_eq!(differ(client, &table("[tokens]\nrefresh_token_lifetime = \"90d\"")), "");
        assert_eq!(differ("scope = \"read\"", "scope = \"read write\""), "");
    }
}
