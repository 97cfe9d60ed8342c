//! Which keys sign and seal now, which are published, and how one follows the other.
//!
//! [`Keyring`] is how it stands at one moment; [`CurrentKeyring`] is where the present one is found. The
//! [`Caretaker`] makes the next one when something changes. The private keys are in the hardware; this knows their
//! names and public halves.

mod error;
mod ring;
mod schedule;
mod plan;
mod caretaker;
mod signer;
pub mod delegated;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::{Notify, watch};

use self::ring::Ring;
use crate::hardware::{KeyName, PinnedPublicKey, Role, SealingKey};
use crate::jose::base64url;
use crate::jose::jwk::{JwkSet, NotOnCurve};
use crate::jose::jws::{ES256, PresentedJws};
use crate::store::{KeyRecord, KeyState};

pub use self::caretaker::{Caretaker, Revocation};
pub use self::error::KeyError;
pub use self::ring::VersionedKey;
pub use self::schedule::{DelegatedSchedule, RoleSchedule, Schedule};
pub use self::signer::Signer;

/// The keys, as they are used at one moment.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    signing: Vec<String>,
    sealing: Vec<String>,
    /// All whose tokens may be opened, by their `kid`.
    openers: Vec<(String, SealingKey)>,
    verifiers: Vec<PinnedPublicKey>,
    jwks: Document,
    uses: Vec<Use>,
    /// The keys that sign what front-ends bring, in the order of their names.
    rings: Vec<Ring>,
}

/// How many tokens a key made since that was last noted.
#[derive(Clone, Debug)]
struct Use {
    kid: String,
    count: Arc<AtomicU64>,
}

/// A document that is served as it stands, with the entity tag of its content (RFC 9110 §8.8.3).
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The JSON text.
    pub json: String,
    /// A strong entity tag, quotation marks included.
    pub etag: String,
}

impl Document {
    /// The document of `value`.
    ///
    /// # Panics
    /// Where `value` cannot be written as JSON, which no document of this crate does.
    pub fn of(value: &impl serde::Serialize) -> Self {
        let json = serde_json::to_string(value).expect("documents are JSON");
        let hash = digest(&SHA256, json.as_bytes());
        Self { etag: format!("\"{}\"", base64url::encode(&hash.as_ref()[..12])), json }
    }
}

impl Keyring {
    /// The keyring that `records` come to. What the keys of `before` made is counted on.
    ///
    /// # Errors
    /// [`NotOnCurve`], which no device has: somebody changed the store.
    pub fn new(records: &[KeyRecord], before: &Self) -> Result<Self, NotOnCurve> {
        let living = || records.iter().filter(|record| record.state() != KeyState::Removed);
        let active = |role| {
            let active = living().filter(move |record| record.role == role && record.state() == KeyState::Active);
            active.map(|record| record.kid.clone()).collect()
        };
        let known = living().filter(|record| record.role == Role::Signing && record.state() != KeyState::Pending);
        let published: Vec<_> = known.filter_map(|record| record.public_key).collect();
        let openers = living().filter(|record| record.role == Role::Sealing);
        let counted = |kid: &String| before.uses.iter().find(|counted| counted.kid == *kid).cloned();
        let fresh = |kid: String| Use { kid, count: Arc::default() };
        let (signing, sealing): (Vec<String>, Vec<String>) = (active(Role::Signing), active(Role::Sealing));
        Ok(Self {
            uses: living().map(|record| counted(&record.kid).unwrap_or_else(|| fresh(record.kid.clone()))).collect(),
            signing,
            sealing,
            openers: openers.map(|record| (record.kid.clone(), record.sealing_key())).collect(),
            verifiers: published.iter().map(|key| PinnedPublicKey::new(*key)).collect::<Result<_, _>>()?,
            jwks: Document::of(&JwkSet::of_signing_keys(&published)),
            rings: Ring::all(records),
        })
    }

    /// The same, but that nothing signs, or seals: nobody knows whether it still may.
    fn without_active(&self, role: Role) -> Self {
        let mut keyring = self.clone();
        match role {
            Role::Signing => keyring.signing.clear(),
            Role::Sealing => keyring.sealing.clear(),
            Role::Delegated(name) => {
                if let Some(ring) = keyring.rings.iter_mut().find(|ring| ring.name == name) {
                    *ring = ring.silent();
                }
            }
        }
        keyring
    }

    /// Whether `jws` was signed by one of the published keys. This needs no hardware.
    pub fn verifies(&self, jws: &PresentedJws<'_>) -> bool {
        let Ok(header) = jws.header() else { return false };
        let key = self.verifiers.iter().find(|key| header.alg == ES256 && key.kid() == header.kid);
        key.is_some_and(|key| key.verifies(jws.signing_input(), jws.signature()))
    }

    /// Whether others verify by the signing key `kid`.
    pub fn publishes(&self, kid: &str) -> bool {
        self.verifiers.iter().any(|key| key.kid() == kid)
    }

    /// The `kid` of each key that signs, or seals, now.
    pub fn active(&self, role: Role) -> &[String] {
        match role {
            Role::Signing => &self.signing,
            Role::Sealing => &self.sealing,
            Role::Delegated(name) => self.ring(&name).map_or(&[], |ring| &ring.active),
        }
    }

    fn ring(&self, name: &KeyName) -> Option<&Ring> {
        let position = self.rings.binary_search_by(|ring| ring.name.cmp(name));
        position.ok().map(|position| &self.rings[position])
    }

    /// The sealing key `kid`, where what it sealed may be opened.
    pub fn opener(&self, kid: &str) -> Option<&SealingKey> {
        self.openers.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }

    /// The published keys.
    pub fn jwks(&self) -> &Document {
        &self.jwks
    }

    /// Counts a token that the key `kid` made.
    pub fn count_use(&self, kid: &str) {
        if let Some(counted) = self.uses.iter().find(|counted| counted.kid == kid) {
            counted.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where the present [`Keyring`] is found. Clones share it.
#[derive(Clone, Default)]
pub struct CurrentKeyring(Arc<Shared>);

struct Shared {
    keyring: ArcSwap<Keyring>,
    /// Counts how often the store was read.
    readings: watch::Sender<u64>,
    /// Asks for another reading before its time.
    doubted: Notify,
}

impl Default for Shared {
    fn default() -> Self {
        Self { keyring: ArcSwap::default(), readings: watch::Sender::new(0), doubted: Notify::new() }
    }
}

/// How long a request waits for a keyring that may know a key which the present one does not.
const READING_LIMIT: Duration = Duration::from_secs(2);

impl CurrentKeyring {
    /// The keyring as it is now.
    pub fn load(&self) -> Arc<Keyring> {
        self.0.keyring.load_full()
    }

    /// The keyring after the store was read once more: another node may have begun to use a key that this one does
    /// not know yet. The present one where that takes too long.
    pub async fn newer(&self) -> Arc<Keyring> {
        let mut readings = self.0.readings.subscribe();
        self.0.doubted.notify_one();
        let _ = tokio::time::timeout(READING_LIMIT, readings.changed()).await;
        self.load()
    }

    /// Has everybody use `next` from now on.
    pub fn replace(&self, next: Keyring) {
        self.0.keyring.store(Arc::new(next));
    }

    /// The store was read, and what followed from it was done.
    fn was_read(&self) {
        self.0.readings.send_modify(|count| *count += 1);
    }

    /// Returns when somebody met a key that the keyring does not know.
    async fn doubted(&self) {
        self.0.doubted.notified().await;
    }
}
