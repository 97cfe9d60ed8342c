//! Nonces for DPoP proofs (RFC 9449 §8): a new one each minute, and nothing to remember of any.

use std::time::Duration;

use aws_lc_rs::hmac;

use crate::clock::Timestamp;
use crate::jose::base64url;

/// How long a nonce is given out.
const PERIOD: Duration = Duration::from_secs(60);
/// For how many periods after its own a nonce is good.
const GOOD_FOR: i64 = 4;
/// Bytes of the authentication code that a nonce carries.
const TAG_BYTES: usize = 16;

/// Makes and verifies nonces. All nodes that share the key take each other's.
pub(super) struct Nonces {
    key: hmac::Key,
}

impl Nonces {
    /// Nonces under `key`.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The nonce to use at `now`.
    pub(super) fn at(&self, now: Timestamp) -> String {
        self.of(period(now))
    }

    /// Whether `nonce` is good at `now`. One of the next period is another node's, whose clock is ahead.
    pub(super) fn verifies(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(bytes) = base64url::decode_array::<{ 8 + TAG_BYTES }>(nonce) else { return false };
        let (number, tag) = bytes.split_at(8);
        let Ok(number) = number.try_into().map(i64::from_be_bytes) else { return false };
        let now = period(now);
        // In the same time whatever the tag: a nonce is no secret, but its key is.
        let is_ours = subtle::ConstantTimeEq::ct_eq(&self.tag(number)[..], tag).into();
        is_ours && (now - GOOD_FOR..=now + 1).contains(&number)
    }

    fn of(&self, number: i64) -> String {
        base64url::encode([&number.to_be_bytes()[..], &self.tag(number)].concat())
    }

    fn tag(&self, number: i64) -> [u8; TAG_BYTES] {
        let tag = hmac::sign(&self.key, &number.to_be_bytes());
        tag.as_ref()[..TAG_BYTES].try_into().expect("SHA-256 has more bytes")
    }
}

fn period(time: Timestamp) -> i64 {
    time.unix_seconds().div_euclid(PERIOD.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn a_nonce_is_good_for_some_minutes_on_every_node_and_for_nobody_else() {
        let nonces = Nonces::new(&[1; 32]);
        let nonce = nonces.at(NOW);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(nonces.verifies(&nonce, NOW) && Nonces::new(&[1; 32]).verifies(&nonce, NOW));
        assert!(nonces.verifies(&nonce, NOW.plus(minutes(4))));
        assert!(!nonces.verifies(&nonce, NOW.plus(minutes(5))));
        assert!(nonces.verifies(&nonce, NOW.minus(minutes(1))), "this node's clock is behind");
        assert!(!nonces.verifies(&nonce, NOW.minus(minutes(2))));
        assert!(!Nonces::new(&[2; 32]).verifies(&nonce, NOW));
        assert_ne!(nonces.at(NOW.plus(minutes(1))), nonce);
        for changed in [nonce.replacen('A', "B", 1), nonce[1..].to_owned(), String::new(), format!("{nonce}=")] {
            assert!(!nonces.verifies(&changed, NOW), "{changed}");
        }
    }
}
