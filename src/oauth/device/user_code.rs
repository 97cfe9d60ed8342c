//! What a person types (RFC 8628 §6.1): eight consonants, so that no code is a word or is read in two ways.

use crate::entropy::Entropy;
use crate::store::LoginId;

const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS: u32 = 8;

/// A user code: 20^8, about 2^34.6, equally likely ones. No `Debug`, which would put it into a log.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct UserCode([u8; LETTERS as usize]);

impl UserCode {
    /// A new one.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        // Of 2^64 numbers, so many codes are unequally likely by less than one in 2^29.
        let mut number = u64::from_be_bytes(entropy.bytes());
        Self(std::array::from_fn(|_| {
            let letter = number % 20;
            number /= 20;
            ALPHABET[usize::try_from(letter).expect("it is below 20")]
        }))
    }

    /// The one that a person means by `text`: in any case, and with whatever separates its letters.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut code = Vec::with_capacity(LETTERS as usize);
        for letter in text.bytes().filter(|byte| !b"- \t.".contains(byte)) {
            let letter = letter.to_ascii_uppercase();
            if !ALPHABET.contains(&letter) || code.len() == LETTERS as usize {
                return None;
            }
            code.push(letter);
        }
        code.try_into().ok().map(Self)
    }

    /// What the store knows it by.
    pub(super) fn id(&self) -> LoginId {
        LoginId::of(&self.text())
    }

    /// As it is shown: `XXXX-XXXX`.
    pub(super) fn text(&self) -> String {
        let letters: String = self.0.iter().copied().map(char::from).collect();
        let (first, second) = letters.split_at(4);
        format!("{first}-{second}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the bytes of one number.
    struct Given(u64);

    impl Entropy for Given {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.to_be_bytes());
        }
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        assert_eq!(20_u64.pow(LETTERS), 25_600_000_000);
        assert_eq!(UserCode::new(&Given(0)).text(), "BBBB-BBBB");
        assert_eq!(UserCode::new(&Given(20_u64.pow(8) - 1)).text(), "ZZZZ-ZZZZ");
        let code = UserCode::new(&Given(0x0123_4567_89ab_cdef));
        let text = code.text();
        let written =
            [text.clone(), text.to_lowercase(), text.replace('-', ""), text.replace('-', " "), format!(" {text} ")];
        for written in written {
            assert!(UserCode::parse(&written).is_some_and(|read| read.id() == code.id()), "{written}");
        }
        for wrong in ["", "BBBB", "BBBB-BBBBB", "BBBB-BBBA", "BBBB-BBB0", "BBBB_BBBB", "ＢBBB-BBBB", "BBBB-BBB%"] {
            assert!(UserCode::parse(wrong).is_none(), "{wrong}");
        }
    }
}
