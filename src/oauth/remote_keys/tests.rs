//! Keys that come and go by a frozen clock, from a network that answers when it may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;

use super::*;
use crate::clock::{FrozenClock, Timestamp};
use crate::fetch::{FetchError, Fetching};
use crate::jose::base64url;

const ISSUER: &str = "https://issuer.example/tenant";
const METADATA: &str = "https://issuer.example/tenant/.well-known/openid-configuration";
const OTHER_METADATA: &str = "https://issuer.example/.well-known/oauth-authorization-server/tenant";
const JWKS: &str = "https://keys.example/jwks";
const DOWN: RemoteKeysError = RemoteKeysError::Unavailable;
const UNKNOWN: RemoteKeysError = RemoteKeysError::NotVerified(NotVerified::UnknownKey);

/// Fetches that the network answers at a time; whoever holds all of it holds up everybody.
const AT_ONCE: u32 = 100;

/// The documents of a small network, which answers when it may.
struct Network {
    documents: Mutex<HashMap<&'static str, Result<Vec<u8>, FetchError>>>,
    fetches: AtomicUsize,
    answers: Semaphore,
}

impl DocumentSource for Network {
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a> {
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            let _permit = self.answers.acquire().await.unwrap();
            self.documents.lock().unwrap().get(url.as_str()).cloned().unwrap_or(Err(FetchError::Status(404)))
        })
    }
}

struct Bench {
    network: Arc<Network>,
    clock: Arc<FrozenClock>,
    keys: RemoteKeys,
}

impl Bench {
    fn new(source: KeySource) -> Self {
        let clock = FrozenClock::at(Timestamp::from_unix_seconds(0));
        let network = Arc::new(Network {
            documents: Mutex::default(),
            fetches: AtomicUsize::new(0),
            answers: Semaphore::new(AT_ONCE as usize),
        });
        let keys = RemoteKeys::new(source, Arc::clone(&network) as _, Arc::clone(&clock) as _);
        Self { network, clock, keys }
    }

    fn of_jwks() -> Self {
        Self::new(KeySource::JwksUri(JWKS.parse().unwrap()))
    }

    fn publish(&self, url: &'static str, document: Result<Value, FetchError>) {
        self.network.documents.lock().unwrap().insert(url, document.map(|document| document.to_string().into_bytes()));
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn fetches(&self) -> usize {
        self.network.fetches.swap(0, Ordering::SeqCst)
    }

    /// Waits until no attempt is under way.
    async fn settle(&self) {
        let ended = {
            let state = self.keys.0.state();
            state.is_under_way.then(|| self.keys.0.ended.subscribe())
        };
        self.keys.0.wait(ended).await;
    }

    async fn verify(&self, signer: u8) -> Result<(), RemoteKeysError> {
        let text = signed(signer, json!({"alg": "ES256", "kid": signer.to_string()}));
        self.keys.verify(&PresentedForeignJws::parse(&text).unwrap()).await.map(|_| ())
    }
}

fn signed(signer: u8, header: Value) -> String {
    let input = format!("{}.e30", base64url::encode(header.to_string()));
    let signature: Signature = key(signer).sign(input.as_bytes());
    format!("{input}.{}", base64url::encode(signature.to_bytes()))
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

fn jwk(number: u8) -> Value {
    let point = key(number).verifying_key().to_sec1_point(false);
    let (x, y) = (base64url::encode(&point.as_bytes()[1..33]), base64url::encode(&point.as_bytes()[33..]));
    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": number.to_string()})
}

fn set(numbers: impl IntoIterator<Item = u8>) -> Value {
    json!({"keys": numbers.into_iter().map(jwk).collect::<Vec<_>>()})
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[tokio::test]
async fn a_hundred_callers_make_one_fetch() {
    let bench = Arc::new(Bench::of_jwks());
    bench.publish(JWKS, Ok(set([1])));
    // Nothing is answered before all of them have asked.
    let all = bench.network.answers.acquire_many(AT_ONCE).await.unwrap();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                // However long it takes.
                bench.advance(IMPATIENT_PAUSE);
                bench.verify(1).await
            })
        })
        .collect();
    while bench.keys.0.ended.receiver_count() < 100 {
        tokio::task::yield_now().await;
    }
    drop(all);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_fetch_with_it() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    let all = bench.network.answers.acquire_many(AT_ONCE).await.unwrap();
    tokio::select! {
        biased;
        _ = bench.verify(1) => panic!("nothing is answered"),
        () = tokio::task::yield_now() => {}
    }
    drop(all);
    bench.settle().await;
    assert_eq!((bench.verify(1).await, bench.fetches()), (Ok(()), 1));
}

#[tokio::test]
async fn keys_are_fetched_again_in_the_background_while_the_last_good_ones_are_used() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.advance(FRESH - Duration::from_secs(1));
    assert_eq!((bench.verify(1).await, bench.fetches()), (Ok(()), 1));
    bench.publish(JWKS, Ok(set([2])));
    bench.advance(Duration::from_secs(1));
    let all = bench.network.answers.acquire_many(AT_ONCE).await.unwrap();
    assert_eq!(bench.verify(1).await, Ok(()), "without waiting");
    assert_eq!(bench.verify(1).await, Ok(()));
    drop(all);
    bench.settle().await;
    assert_eq!(bench.fetches(), 1);
    assert_eq!((bench.verify(1).await, bench.verify(2).await), (Err(UNKNOWN), Ok(())));
}

/// Else the first request after a quiet night would be judged by the keys of the evening.
#[tokio::test]
async fn keys_that_nobody_needed_for_a_while_are_not_used_before_the_issuer_was_asked() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.publish(JWKS, Ok(set([2])));
    bench.advance(LATE);
    assert_eq!(bench.verify(1).await, Err(UNKNOWN));
    assert_eq!((bench.verify(2).await, bench.fetches()), (Ok(()), 2));
    // Nor is it enough that it did not answer long ago.
    bench.publish(JWKS, Err(FetchError::TooSlow));
    bench.advance(LATE);
    assert_eq!(bench.verify(2).await, Ok(()), "it was asked, and did not answer");
    bench.publish(JWKS, Ok(set([3])));
    bench.advance(LATE);
    assert_eq!(bench.verify(2).await, Err(UNKNOWN));
}

#[tokio::test]
async fn an_unknown_kid_asks_for_new_keys_once_a_minute() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(2).await, Err(UNKNOWN));
    assert_eq!((bench.verify(2).await, bench.fetches()), (Err(UNKNOWN), 1));
    bench.publish(JWKS, Ok(set([1, 2])));
    bench.advance(PAUSE - Duration::from_secs(1));
    assert_eq!((bench.verify(2).await, bench.fetches()), (Err(UNKNOWN), 0));
    bench.advance(Duration::from_secs(1));
    assert_eq!((bench.verify(2).await, bench.fetches()), (Ok(()), 1));
    for kid in 3..100 {
        assert_eq!(bench.verify(kid).await, Err(UNKNOWN));
    }
    assert_eq!(bench.fetches(), 0);
    bench.advance(PAUSE);
    for kid in 3..100 {
        assert_eq!(bench.verify(kid).await, Err(UNKNOWN));
    }
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_wrong_signature_asks_for_new_keys_only_where_no_kid_names_the_key() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.publish(JWKS, Ok(set([1, 2])));
    bench.advance(PAUSE);
    let forged = signed(2, json!({"alg": "ES256", "kid": "1"}));
    let error = bench.keys.verify(&PresentedForeignJws::parse(&forged).unwrap()).await.unwrap_err();
    assert_eq!((error, bench.fetches()), (RemoteKeysError::NotVerified(NotVerified::Signature), 1));
    let nameless = signed(2, json!({"alg": "ES256"}));
    let found = bench.keys.verify(&PresentedForeignJws::parse(&nameless).unwrap()).await.unwrap();
    assert_eq!((found.kid(), bench.fetches()), (Some("2"), 1));
}

#[tokio::test]
async fn an_issuer_that_is_down_is_vouched_for_by_its_last_keys_for_a_day() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.publish(JWKS, Err(FetchError::TooSlow));
    for _ in 0..KEPT.as_secs() / 60 - 1 {
        bench.advance(minutes(1));
        assert_eq!(bench.verify(1).await, Ok(()));
        bench.settle().await;
    }
    let attempts = bench.fetches() as u64;
    assert!((1400..=1440).contains(&attempts), "once a minute: {attempts}");
    bench.advance(minutes(1));
    assert_eq!(bench.verify(1).await, Err(DOWN));
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Err(DOWN), "not asked again yet");
    bench.advance(IMPATIENT_PAUSE);
    assert_eq!(bench.verify(1).await, Ok(()));
}

#[tokio::test]
async fn while_an_issuer_is_down_nobody_waits_for_it() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.publish(JWKS, Err(FetchError::TooSlow));
    bench.advance(LATE);
    assert_eq!(bench.verify(1).await, Ok(()));
    bench.advance(PAUSE);
    let all = bench.network.answers.acquire_many(AT_ONCE).await.unwrap();
    assert_eq!(bench.verify(1).await, Ok(()), "an attempt is under way");
    drop(all);
    bench.settle().await;
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_asked_every_few_seconds() {
    let bench = Bench::of_jwks();
    for _ in 0..100 {
        assert_eq!(bench.verify(1).await, Err(DOWN));
    }
    assert_eq!(bench.fetches(), 1);
    bench.publish(JWKS, Ok(set([1])));
    bench.advance(IMPATIENT_PAUSE);
    assert_eq!((bench.verify(1).await, bench.fetches()), (Ok(()), 1));
}

#[tokio::test]
async fn a_set_that_is_none_leaves_the_last_good_one() {
    let bench = Bench::of_jwks();
    bench.publish(JWKS, Ok(set([1])));
    assert_eq!(bench.verify(1).await, Ok(()));
    for document in [set(1..=65), json!([]), json!({"keys": {}}), json!("x".repeat(1 << 20))] {
        bench.publish(JWKS, Ok(document));
        bench.advance(FRESH);
        assert_eq!(bench.verify(1).await, Ok(()));
        bench.settle().await;
        assert_eq!((bench.verify(1).await, bench.fetches() > 0), (Ok(()), true));
    }
}

#[tokio::test]
async fn discovery_takes_the_word_of_the_issuer_itself() {
    let ours = json!({"issuer": ISSUER, "jwks_uri": JWKS, "other": {"a": 1}});
    for (appended, inserted, expected) in [
        (Ok(ours.clone()), Err(FetchError::TooSlow), Ok(())),
        (Err(FetchError::Status(404)), Ok(ours.clone()), Ok(())),
        (Err(FetchError::TooSlow), Ok(ours.clone()), Err(DOWN)),
        (Err(FetchError::Status(404)), Err(FetchError::Status(404)), Err(DOWN)),
        (Ok(json!({"issuer": "https://issuer.example", "jwks_uri": JWKS})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": format!("{ISSUER}/"), "jwks_uri": JWKS})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": [ISSUER], "jwks_uri": JWKS})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"jwks_uri": JWKS})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": ISSUER})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": ISSUER, "jwks_uri": "http://keys.example/jwks"})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": ISSUER, "jwks_uri": "file:///etc/jwks"})), Ok(ours.clone()), Err(DOWN)),
        (Ok(json!({"issuer": ISSUER, "jwks_uri": "/jwks"})), Ok(ours), Err(DOWN)),
    ] {
        let bench = Bench::new(KeySource::Discovery { issuer: ISSUER.to_owned() });
        for url in [JWKS, "http://keys.example/jwks", "file:///etc/jwks"] {
            bench.publish(url, Ok(set([1])));
        }
        let told = format!("{appended:?} {inserted:?}");
        bench.publish(METADATA, appended);
        bench.publish(OTHER_METADATA, inserted);
        assert_eq!(bench.verify(1).await, expected, "{told}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_an_issuer_that_is_no_https_url() {
    for issuer in
        ["http://issuer.example", "issuer.example", "https://issuer.example?a", "https://issuer.example#a", ""]
    {
        let bench = Bench::new(KeySource::Discovery { issuer: issuer.to_owned() });
        assert_eq!((bench.verify(1).await, bench.fetches()), (Err(DOWN), 0), "{issuer}");
    }
    let bench = Bench::new(KeySource::JwksUri("http://keys.example/jwks".parse().unwrap()));
    assert_eq!((bench.verify(1).await, bench.fetches()), (Err(DOWN), 0));
}

#[tokio::test]
async fn keys_of_the_configuration_are_there_and_never_asked_for() {
    let keys = ForeignKeySet::parse(set([1]).to_string().as_bytes()).unwrap();
    let bench = Bench::new(KeySource::Inline(Arc::new(keys)));
    bench.advance(KEPT);
    assert_eq!((bench.verify(1).await, bench.verify(2).await), (Ok(()), Err(UNKNOWN)));
    assert_eq!(bench.fetches(), 0);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let bench = Bench::new(KeySource::File(path.clone()));
    assert_eq!(bench.verify(1).await, Err(DOWN), "it is not there");
    // As it should be done, so that nobody sees half of it.
    let replace = |text: String| {
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        bench.advance(FILE_PAUSE);
    };
    replace(set([1]).to_string());
    assert_eq!(bench.verify(1).await, Ok(()));
    let first = bench.keys.key_set().await.unwrap();
    bench.advance(FILE_PAUSE);
    assert!(Arc::ptr_eq(&first, &bench.keys.key_set().await.unwrap()), "it was not parsed again");
    replace(set([2]).to_string());
    assert_eq!((bench.verify(2).await, bench.verify(1).await), (Ok(()), Err(UNKNOWN)));
    for text in [String::new(), set(1..=65).to_string(), " ".repeat(1 << 20)] {
        replace(text);
        assert_eq!(bench.verify(2).await, Ok(()), "the last good one is kept");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    bench.advance(FILE_PAUSE);
    assert_eq!(bench.verify(2).await, Ok(()));
    bench.advance(KEPT);
    assert_eq!(bench.verify(2).await, Err(DOWN));
}
