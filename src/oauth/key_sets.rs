//! The keys of clients and issuers, wherever they are: read once for all who need them.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;

use super::remote_keys::{KeySource, RemoteKeys, RemoteKeysError};
use crate::clock::Clock;
use crate::fetch::{DocumentSource, HttpsSettings, HttpsSource};
use crate::jose::foreign::{PresentedForeignJws, VerificationKey};

/// Places of clients that registered themselves whose keys are kept at a time.
const MOST_FURTHER: u64 = 1000;

/// Where keys are, and how to get there.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    source: KeySource,
    settings: HttpsSettings,
    /// The same for the same place, however many say it.
    name: String,
}

/// The keys at some places. What was read lives as long as somebody knows the place.
#[derive(Clone, Default)]
pub struct KeySets {
    known: HashMap<String, RemoteKeys>,
    further: Option<FurtherKeys>,
}

/// The keys at places that are learned of while the mint runs: those that were needed last. All of them are asked as
/// strangers are, whatever their place says.
#[derive(Clone)]
struct FurtherKeys {
    documents: Arc<dyn DocumentSource>,
    clock: Arc<dyn Clock>,
    sets: Cache<String, RemoteKeys>,
}

impl KeyPlace {
    /// The place `source`, asked with `settings`.
    pub fn new(source: KeySource, settings: HttpsSettings) -> Self {
        let HttpsSettings { authorities, allow_private, .. } = &settings;
        let kind = match source {
            KeySource::Inline(_) => "inline",
            KeySource::File(_) => "file",
            KeySource::JwksUri(_) => "uri",
            KeySource::Discovery { .. } => "discovery",
        };
        let name = format!("{kind} {source} {authorities:?} {allow_private}");
        Self { source, settings, name }
    }
}

impl PartialEq for KeyPlace {
    fn eq(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (KeySource::Inline(keys), KeySource::Inline(others)) => keys.keys() == others.keys(),
            _ => self.name == other.name,
        }
    }
}

impl Eq for KeyPlace {}

impl KeySets {
    /// Those at `places`, with what is `known` of them already.
    ///
    /// # Errors
    /// What is wrong with the authorities of a place.
    pub fn of<'a>(
        places: impl IntoIterator<Item = &'a KeyPlace>,
        known: &Self,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let mut sets = HashMap::new();
        for place in places {
            // They are with whom they belong to.
            if matches!(place.source, KeySource::Inline(_)) || sets.contains_key(&place.name) {
                continue;
            }
            let keys = match known.known.get(&place.name) {
                Some(keys) => keys.clone(),
                None => {
                    let documents = Arc::new(HttpsSource::new(&place.settings)?);
                    RemoteKeys::new(place.source.clone(), documents, Arc::clone(clock))
                }
            };
            sets.insert(place.name.clone(), keys);
        }
        Ok(Self { known: sets, further: None })
    }

    /// Those, and the ones at any place that somebody registers later, with what is `known` of them already.
    ///
    /// # Errors
    /// What is wrong with the authorities of the system.
    pub fn with_further(self, known: &Self, clock: &Arc<dyn Clock>) -> Result<Self, String> {
        let further = match &known.further {
            Some(further) => further.clone(),
            None => FurtherKeys {
                documents: Arc::new(HttpsSource::new(&HttpsSettings::default())?),
                clock: Arc::clone(clock),
                sets: Cache::builder().max_capacity(MOST_FURTHER).build(),
            },
        };
        Ok(Self { further: Some(further), ..self })
    }

    /// Verifies that one of the keys at `place` signed `jws`, and says which.
    ///
    /// # Errors
    /// [`RemoteKeysError`]; a place that is not one of these has no keys.
    pub async fn verify(
        &self,
        place: &KeyPlace,
        jws: &PresentedForeignJws<'_>,
    ) -> Result<Arc<VerificationKey>, RemoteKeysError> {
        match (&place.source, self.known.get(&place.name), &self.further) {
            (KeySource::Inline(keys), _, _) => Ok(Arc::clone(keys.verify(jws)?)),
            (_, Some(keys), _) => keys.verify(jws).await,
            (KeySource::JwksUri(_), None, Some(further)) => further.at(place).verify(jws).await,
            (_, None, _) => Err(RemoteKeysError::Unavailable),
        }
    }
}

impl FurtherKeys {
    fn at(&self, place: &KeyPlace) -> RemoteKeys {
        let new = || RemoteKeys::new(place.source.clone(), Arc::clone(&self.documents), Arc::clone(&self.clock));
        self.sets.get_with_by_ref(&place.name, new)
    }
}

impl std::fmt::Debug for KeySets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}
