//! Client secrets: 256 random bits behind a prefix that scanners can look for and a checksum by which
//! they can tell a leaked secret from a look-alike. mintkeep keeps only their SHA-256.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::SecretString;
use subtle::{Choice, ConstantTimeEq as _};

use crate::entropy::Entropy;

/// What every client secret begins with.
pub const PREFIX: &str = "mks_";
/// What every registration access token (RFC 7592 §3) begins with.
pub const REGISTRATION_PREFIX: &str = "mkr_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 characters of 62 are 256.03 bits.
const RANDOM_CHARACTERS: usize = 43;
/// 6 characters of 62 hold a CRC-32.
const CHECKSUM_CHARACTERS: usize = 6;

/// The SHA-256 of a secret. A secret of 256 random bits needs no slow hash: there is nothing to guess.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &str) -> Self {
        let hash = digest(&SHA256, secret.as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Whether both are of the same secret, in a time that does not depend on the answer.
    pub fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// The hash in hexadecimal, as the configuration holds it.
    pub fn hexadecimal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash that `text` writes in 64 hexadecimal digits.
    pub fn from_hexadecimal(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// A new secret: [`PREFIX`], 43 random characters, and the CRC-32 of what is before it.
pub fn generate(entropy: &dyn Entropy) -> SecretString {
    generate_behind(PREFIX, entropy)
}

/// A new registration access token, of the same form behind [`REGISTRATION_PREFIX`].
pub fn generate_registration_token(entropy: &dyn Entropy) -> SecretString {
    generate_behind(REGISTRATION_PREFIX, entropy)
}

fn generate_behind(prefix: &str, entropy: &dyn Entropy) -> SecretString {
    let mut text = String::with_capacity(prefix.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS);
    text.push_str(prefix);
    while text.len() < prefix.len() + RANDOM_CHARACTERS {
        // Six bits at a time; the two values beyond the alphabet are drawn again, so none is likelier.
        let [byte] = entropy.bytes();
        if let Some(character) = ALPHABET.get(usize::from(byte & 0x3f)) {
            text.push(char::from(*character));
        }
    }
    let checksum = checksum(&text);
    text.push_str(&checksum);
    text.into()
}

/// Whether `text` has the form of a client secret or a registration access token, its checksum included: what a
/// scanner asks.
pub fn is_well_formed(text: &str) -> bool {
    let is_behind = |prefix: &str| {
        let length = prefix.len() + RANDOM_CHARACTERS;
        text.starts_with(prefix) && text.len() > length && checksum(&text[..length]) == text[length..]
    };
    text.is_ascii() && (is_behind(PREFIX) || is_behind(REGISTRATION_PREFIX))
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [0; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_secret_is_recognisable_and_a_look_alike_is_not() {
        let secret = generate(&SystemEntropy::new());
        let text = secret.expose_secret();
        assert_eq!(text.len(), 53);
        assert!(is_well_formed(text));
        let mut look_alike = text.to_owned();
        look_alike.replace_range(10..11, if &text[10..11] == "A" { "B" } else { "A" });
        assert!(!is_well_formed(&look_alike));
        assert_ne!(text, generate(&SystemEntropy::new()).expose_secret());
        let token = generate_registration_token(&SystemEntropy::new());
        assert!(token.expose_secret().starts_with("mkr_") && is_well_formed(token.expose_secret()));
    }

    #[test]
    fn the_configured_hash_is_read_back() {
        let hash = SecretHash::of("mks_example");
        assert_eq!(SecretHash::from_hexadecimal(&hash.hexadecimal()), Some(hash));
        assert_eq!(SecretHash::from_hexadecimal("abc"), None);
        assert_eq!(SecretHash::from_hexadecimal(&"+1".repeat(32)), None);
        assert!(bool::from(hash.matches(&SecretHash::of("mks_example"))));
        assert!(!bool::from(hash.matches(&SecretHash::of("mks_Example"))));
    }
}
