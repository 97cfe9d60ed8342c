//! Signing what front-ends bring: through the keepers of a deployment, with a store, and without the rest of a mint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use mintkeep::clock::{Clock, SystemClock, Timestamp};
use mintkeep::config::Config;
use mintkeep::hardware::{KeyName, PinnedPublicKey, Role};
use mintkeep::jose::jws::SigningInput;
use mintkeep::keyring::Caretaker;
use mintkeep::keyring::delegated::{DelegatedError, DelegatedSigner, VersionedKey};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{KeyState, Store};
use serde_json::json;

use super::orders::hurry;
use crate::support::fleet::{Fleet, two_devices};
use crate::support::process::succeed;
use crate::support::{Deployment, RunningMint};

const PROFILES: &str = r#"
[[signing_profile]]
name = "dex"
content = "jwt"
issuers = ["https://dex.example.com"]
publish_ahead = "1s"
[[signing_profile]]
name = "any"
content = "any"
prehashed_per_second = 100
[[signing_profile]]
name = "spire"
content = "any"
keys = "created"
"#;

/// Runs ahead of the system's, as far as it is told.
#[derive(Default)]
struct AheadClock(AtomicU64);

impl AheadClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.ahead())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + self.ahead()
    }
}

/// A node: its keepers, and who looks after the keys.
struct Node {
    fleet: Fleet,
    caretaker: Arc<Caretaker>,
    signer: DelegatedSigner,
    clock: Arc<AheadClock>,
    store: Arc<dyn Store>,
}

impl Node {
    async fn start(deployment: &Deployment) -> Self {
        let store = SqliteStore::open(&deployment.path("mintkeep.db")).unwrap();
        Self::beside(deployment, Arc::new(store)).await
    }

    /// One that shares the store of another.
    async fn beside(deployment: &Deployment, store: Arc<dyn Store>) -> Self {
        let config = Config::load(&deployment.config_path()).unwrap();
        let fleet = Fleet::start(deployment).await;
        let clock = Arc::new(AheadClock::default());
        let caretaker = Caretaker::new(fleet.keepers.clone(), Arc::clone(&store), config.keys, clock.clone());
        caretaker.begin().await.unwrap();
        let caretaker = Arc::new(caretaker);
        let signer = DelegatedSigner::new(fleet.keepers.clone(), Arc::clone(&caretaker), clock.clone());
        Self { fleet, caretaker, signer, clock, store }
    }

    /// Looks after the keys from now on.
    fn follow(&self) -> tokio::task::JoinHandle<()> {
        let caretaker = Arc::clone(&self.caretaker);
        tokio::spawn(async move { caretaker.run().await })
    }

    fn versions(&self, name: &str) -> Vec<(u32, bool)> {
        self.signer.keys(&key(name)).iter().map(|key| (key.version, key.is_active)).collect()
    }

    async fn sign(&self, profile: &str, name: &str, version: Option<u32>) -> Result<u32, DelegatedError> {
        let input = |kid: &str| format!("for {kid}").into_bytes();
        let signed = self.signer.sign("dex", profile, &key(name), version, input).await?;
        assert_eq!(signed.input, format!("for {}", signed.kid).as_bytes());
        let known = self.signer.keys(&key(name)).into_iter().find(|key| key.kid == signed.kid);
        assert!(pinned(&known.expect("it is published")).verifies(&signed.input, &signed.signature));
        Ok(signed.version)
    }
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn pinned(key: &VersionedKey) -> PinnedPublicKey {
    PinnedPublicKey::new(key.public_key).unwrap()
}

fn deployment() -> Deployment {
    let deployment = Deployment::without_keys();
    hurry(&deployment);
    deployment.append(PROFILES);
    succeed(&mut deployment.command(&["keys", "init"]));
    deployment
}

#[track_caller]
fn assert_refused<Signed: std::fmt::Debug>(outcome: Result<Signed, DelegatedError>, rule: &str) {
    match outcome {
        Err(DelegatedError::Refused(broken)) => assert!(broken.starts_with(rule), "{broken}"),
        other => panic!("{rule}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_front_end_brings_is_signed_by_its_profile_and_nothing_else() {
    let deployment = deployment();
    let node = Node::start(&deployment).await;
    assert_eq!(node.signer.names(), [key("any"), key("dex")]);
    let now = SystemClock.now().unix_seconds();
    let claims = json!({"iss": "https://dex.example.com", "sub": "me", "iat": now, "exp": now + 60});
    let input = |claims: &serde_json::Value| {
        let claims = claims.clone();
        move |kid: &str| SigningInput::new("JWT", kid, &claims).as_bytes().to_vec()
    };
    let signed = node.signer.sign("dex", "dex", &key("dex"), None, input(&claims)).await.unwrap();
    let keys = node.signer.keys(&key("dex"));
    assert_eq!((signed.version, &signed.kid), (1, &keys[0].kid));
    assert!(pinned(&keys[0]).verifies(&signed.input, &signed.signature));
    assert_refused(node.signer.sign("dex", "dex", &key("dex"), None, input(&json!({"iss": "x"}))).await, "iss");
    assert_refused(node.signer.sign("dex", "any", &key("dex"), None, input(&claims)).await, "key");
    let unknown = node.signer.sign("dex", "dex", &key("nobody"), None, input(&claims)).await;
    assert!(matches!(unknown, Err(DelegatedError::UnknownKey)), "{unknown:?}");
    let unknown = node.signer.sign("dex", "dex", &key("dex"), Some(2), input(&claims)).await;
    assert!(matches!(unknown, Err(DelegatedError::UnknownKey)), "{unknown:?}");
    let hash: [u8; 32] = digest(&SHA256, b"hidden").as_ref().try_into().unwrap();
    assert_refused(node.signer.sign_digest("dex", "dex", &key("dex"), None, hash).await, "digest");
    let signed = node.signer.sign_digest("dex", "any", &key("any"), Some(1), hash).await.unwrap();
    assert!(pinned(&node.signer.keys(&key("any"))[0]).verifies(b"hidden", &signed.signature));
    // It is counted, for who asks how much of it is about.
    node.caretaker.end().await;
    let records = node.store.keys().await.unwrap();
    let uses = |kid: &str| records.iter().find(|record| record.kid == kid).unwrap().uses;
    assert_eq!((uses(&keys[0].kid), uses(&signed.kid)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_front_end_is_replaced_and_signs_for_a_while_for_who_has_read_it() {
    let deployment = deployment();
    let node = Node::start(&deployment).await;
    let (role, name) = (Role::Delegated(key("any")), key("any"));
    let first = node.signer.changed_at(&name);
    assert_eq!(node.versions("any"), [(1, true)]);
    let told = node.caretaker.rotate(None, Some(role)).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(node.versions("any"), [(1, true), (2, false)]);
    let published = node.signer.changed_at(&name);
    assert!(published > first);
    assert_eq!(node.sign("any", "any", None).await.unwrap(), 1);
    // Its publish_ahead is an hour, which is how long others may not know it.
    node.clock.advance(3500);
    node.caretaker.begin().await.unwrap();
    assert_eq!(node.sign("any", "any", None).await.unwrap(), 1);
    node.clock.advance(120);
    node.caretaker.begin().await.unwrap();
    assert_eq!(node.versions("any"), [(1, false), (2, true)]);
    assert_eq!(node.signer.changed_at(&name), published, "others know the same keys");
    assert_eq!(node.sign("any", "any", None).await.unwrap(), 2);
    assert_eq!(node.sign("any", "any", Some(1)).await.unwrap(), 1);
    node.clock.advance(301);
    assert_refused(node.sign("any", "any", Some(1)).await, "version: it was retired");
    assert_eq!(node.sign("any", "any", Some(2)).await.unwrap(), 2);
    // What it signed last lives for an hour, and is known for as long. It was noted when that was.
    node.caretaker.begin().await.unwrap();
    node.clock.advance(3 * 3600);
    node.caretaker.begin().await.unwrap();
    assert_eq!(node.versions("any"), [(2, true)], "a version stays what it was");
    assert!(node.signer.changed_at(&name) > published);
    let made = Role::Delegated(key("spire/x"));
    for role in [made, Role::Delegated(key("spire")), Role::Delegated(key("nobody"))] {
        let error = node.caretaker.rotate(None, Some(role)).await.unwrap_err().to_string();
        assert!(error.contains("no keys of the role delegated:"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_has_a_key_made_and_destroyed() {
    let deployment = deployment();
    let node = Node::start(&deployment).await;
    let other = Node::beside(&deployment, Arc::clone(&node.store)).await;
    let following = other.follow();
    let name = key("spire/x509-CA-A");
    let made = node.signer.create(name).await.unwrap();
    assert_eq!((made.version, made.is_active), (1, true));
    assert_eq!(node.signer.keys(&name), std::slice::from_ref(&made));
    assert_eq!(node.sign("spire", name.as_str(), None).await.unwrap(), 1);
    assert_eq!(other.sign("spire", name.as_str(), Some(1)).await.unwrap(), 1, "another node comes to know it");
    assert!(matches!(node.signer.create(name).await, Err(DelegatedError::Exists)));
    assert!(matches!(other.signer.create(name).await, Err(DelegatedError::Exists)));
    for refused in ["spire", "any", "any/x", "nobody/x"] {
        assert_refused(node.signer.create(key(refused)).await, "keys: no signing profile has keys of that name");
        assert_refused(node.signer.destroy(&key(refused)).await, "keys: no signing profile has keys of that name");
    }
    assert!(matches!(node.signer.destroy(&key("spire/other")).await, Err(DelegatedError::UnknownKey)));
    node.signer.destroy(&name).await.unwrap();
    assert_eq!(node.signer.keys(&name), []);
    assert!(matches!(node.sign("spire", name.as_str(), None).await, Err(DelegatedError::UnknownKey)));
    let [member] = node.fleet.keepers.members() else { panic!("one device") };
    assert!(!member.keeper.has(&made.kid), "it is not in the device any more");
    assert!(matches!(node.signer.destroy(&name).await, Err(DelegatedError::UnknownKey)));
    let again = node.signer.create(name).await.unwrap();
    assert_eq!(again.version, 1, "it is the first of its name again");
    assert_ne!(again.kid, made.kid);
    assert!(node.signer.changed_at(&name) >= again.created_at);
    following.abort();
}

/// Each device has its own keys of a profile, and one that a front-end had made is in one of them.
#[tokio::test(flavor = "multi_thread")]
async fn several_devices_share_the_work_of_a_profile() {
    let deployment = two_devices("other");
    hurry(&deployment);
    deployment.append(PROFILES);
    succeed(&mut deployment.command(&["keys", "init"]));
    let node = Node::start(&deployment).await;
    // The second is published before it signs.
    node.clock.advance(4000);
    node.caretaker.begin().await.unwrap();
    assert_eq!(node.versions("any"), [(1, true), (2, true)]);
    let mut used = [0; 2];
    for _ in 0..20 {
        used[node.sign("any", "any", None).await.unwrap() as usize - 1] += 1;
    }
    assert!(used.iter().all(|count| *count > 0), "{used:?}");
    let made = node.signer.create(key("spire/a")).await.unwrap();
    let holders = node.fleet.keepers.members().iter().filter(|member| member.keeper.has(&made.kid)).count();
    assert_eq!(holders, 1);
    assert_eq!(node.sign("spire", "spire/a", None).await.unwrap(), 1);
}

/// What operators see and do.
#[test]
fn operators_list_rotate_and_attest_the_keys_of_front_ends() {
    let deployment = deployment();
    let list = deployment.run_json(&["keys", "list"]);
    let listed = |role: &str| {
        let keys = list["keys"].as_array().unwrap().iter();
        keys.filter(|key| key["role"] == role).map(|key| key["label"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("delegated:dex"), ["mintkeep-delegated:dex"]);
    assert_eq!(listed("delegated:any"), ["mintkeep-delegated:any"]);
    assert!(listed("signing").len() == 1 && listed("delegated:spire").is_empty(), "{list}");
    let mint: RunningMint = deployment.serve();
    let states = deployment.run_json(&["keys", "states"]);
    let active = |role: &str| {
        let mut keys = states["keys"].as_array().unwrap().iter();
        let key = keys.find(|key| key["role"] == role && key["state"] == "active").unwrap();
        key["kid"].as_str().unwrap().to_owned()
    };
    let kid = active("delegated:dex");
    let jwks = mint.get("/.well-known/jwks.json").json();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1, "they are no keys of the mint's tokens");
    let report = deployment.run_json(&["keys", "rotate", "--role", "delegated:dex"]);
    assert_eq!(report["keys"][0]["role"], "delegated:dex");
    assert!(report["remarks"][0].as_str().unwrap().contains("takes over at"), "{report}");
    let refused = deployment.run(&["keys", "rotate", "--role", "delegated:spire"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no keys of the role delegated:spire are replaced"));
    let nonce = "AAAAAAAAAAA";
    let evidence = deployment.path("evidence.json");
    let evidence = evidence.to_str().unwrap();
    succeed(&mut deployment.command(&["keys", "attest", &kid, "--nonce", nonce, "--output", evidence]));
    let words = ["keys", "verify-attestation", evidence, "--nonce", nonce, "--json"];
    let output = succeed(&mut deployment.command_without_config(&words));
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&verified[0]["role"], &verified[0]["kid"]), (&json!("delegated:dex"), &json!(kid)));
    let revoked = deployment.run_json(&["keys", "revoke", &kid]);
    assert_eq!(revoked["keys"][1]["state"], "active", "{revoked}");
    assert!(mint.terminate().success());
    let store = SqliteStore::open(&deployment.path("mintkeep.db")).unwrap();
    let records = tokio::runtime::Runtime::new().unwrap().block_on(store.keys()).unwrap();
    let dex: Vec<_> = records.iter().filter(|record| record.role == Role::Delegated(key("dex"))).collect();
    assert_eq!(dex.iter().filter(|record| record.state() == KeyState::Removed).count(), 1);
}
