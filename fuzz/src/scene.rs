//! Where the inputs come to: a mint at one moment, and a client whose key is known. All of it is the same in every run,
//! so that an input that crashed crashes again.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use mintkeep::clock::{Clock, Timestamp};
use mintkeep::config::Config;
use mintkeep::jose::base64url;

/// The configuration of the mint.
pub const CONFIGURATION: &str = include_str!("mint.toml");

/// Its issuer identifier.
pub const ISSUER: &str = "https://mint.example.com";
/// Its one client with a key: [`sign`]'s.
pub const CLIENT: &str = "robot";

/// The time at which everything happens.
pub const NOW: i64 = 1_800_000_000;

/// A clock that stands still.
pub struct Frozen(pub i64);

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.0)
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to an Instant, and nothing here measures")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The clock of the mint.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(Frozen(NOW))
}

/// The mint's configuration, read.
pub fn configuration() -> Config {
    Config::parse(Path::new("/etc/mintkeep/mintkeep.toml"), CONFIGURATION).expect("the configuration is good")
}

/// Ed25519, because its signatures are the same each time.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("every seed is a key"));

/// `x` of the client's public key (RFC 8037 §2).
pub fn public_key() -> String {
    base64url::encode(KEY.public_key())
}

/// The compact JWS of these bytes, whatever they are, by the client's key. So nothing is stopped by a bad signature.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
    let signature = KEY.sign(input.as_bytes());
    format!("{input}.{}", base64url::encode(signature))
}

/// What `future` comes to; nothing here waits for anything.
pub fn finished<Value>(future: impl Future<Output = Value>) -> Value {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("something waits"),
    }
}
