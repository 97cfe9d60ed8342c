//! Compact JWE (RFC 7516 §7.1) with direct encryption (`alg: dir`, RFC 7518 §4.5) and AES-256-GCM.
//! The content encryption itself happens inside the hardware; this is its envelope.

use serde::{Deserialize, Serialize};

use super::{Malformed, base64url};

/// Bytes of a GCM initialization vector (RFC 7518 §5.3).
pub const NONCE_BYTES: usize = 12;
/// Bytes of a GCM authentication tag (RFC 7518 §5.3).
pub const TAG_BYTES: usize = 16;
/// Bytes of a refresh family's handle.
pub const FAMILY_BYTES: usize = 16;

const DIRECT: &str = "dir";
const A256GCM: &str = "A256GCM";

/// The protected header of a sealed refresh token.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: &'a str,
    #[serde(borrow)]
    enc: &'a str,
    #[serde(borrow)]
    kid: &'a str,
    #[serde(borrow)]
    fid: &'a str,
}

/// `BASE64URL(header)`: the first part of the JWE and, as it stands, its additional authenticated
/// data (RFC 7516 §5.1 step 14).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProtectedHeader(String);

impl ProtectedHeader {
    /// The header for the sealing key `kid` and the refresh family `fid`.
    pub fn new(kid: &str, fid: &[u8; FAMILY_BYTES]) -> Self {
        let fid = base64url::encode(fid);
        let header = Header { alg: DIRECT, enc: A256GCM, kid, fid: &fid };
        Self(base64url::encode(serde_json::to_vec(&header).expect("strings are JSON")))
    }

    /// The additional authenticated data.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The compact JWE around what the hardware made: the nonce, and the ciphertext with its tag
    /// as the last [`TAG_BYTES`].
    ///
    /// # Errors
    /// [`Malformed::Length`] where there is no room for a tag.
    pub fn into_compact(self, nonce: &[u8; NONCE_BYTES], ciphertext_and_tag: &[u8]) -> Result<String, Malformed> {
        let split = ciphertext_and_tag.len().checked_sub(TAG_BYTES);
        let split = split.ok_or(Malformed::Length { expected: TAG_BYTES })?;
        let (ciphertext, tag) = ciphertext_and_tag.split_at(split);
        let mut text = self.0;
        text.reserve(ciphertext.len() * 4 / 3 + 48);
        text.push_str("..");
        base64url::encode_into(nonce, &mut text);
        text.push('.');
        base64url::encode_into(ciphertext, &mut text);
        text.push('.');
        base64url::encode_into(tag, &mut text);
        Ok(text)
    }
}

/// A compact JWE that a client presented: taken apart, and not opened yet.
#[derive(Debug)]
pub struct PresentedJwe {
    /// The sealing key that it claims.
    pub kid: String,
    /// The refresh family that it claims.
    pub fid: [u8; FAMILY_BYTES],
    /// The additional authenticated data, as it was presented.
    pub protected_header: String,
    /// The initialization vector.
    pub nonce: [u8; NONCE_BYTES],
    /// The ciphertext, its tag at the end.
    pub ciphertext_and_tag: Vec<u8>,
}

impl PresentedJwe {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`Malformed`] for anything but the five parts that [`ProtectedHeader::into_compact`] writes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(Malformed::Parts { expected: 5 });
        let (protected_header, encrypted_key) = (part()?, part()?);
        let (nonce, ciphertext, tag) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(Malformed::Parts { expected: 5 });
        }
        // Direct encryption has no encrypted key (RFC 7516 §5.2 step 10).
        if !encrypted_key.is_empty() {
            return Err(Malformed::Length { expected: 0 });
        }
        let header_json = base64url::decode(protected_header)?;
        let header: Header<'_> = serde_json::from_slice(&header_json).map_err(|_| Malformed::Json)?;
        if header.alg != DIRECT || header.enc != A256GCM {
            return Err(Malformed::Algorithm);
        }
        let mut ciphertext_and_tag = base64url::decode(ciphertext)?;
        ciphertext_and_tag.extend_from_slice(&base64url::decode_array::<TAG_BYTES>(tag)?);
        Ok(Self {
            kid: header.kid.to_owned(),
            fid: base64url::decode_array(header.fid)?,
            protected_header: protected_header.to_owned(),
            nonce: base64url::decode_array(nonce)?,
            ciphertext_and_tag,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_assembled_is_what_is_parsed() {
        let header = ProtectedHeader::new("sealing-key", &[7; FAMILY_BYTES]);
        let text = header.clone().into_compact(&[1; NONCE_BYTES], &[2; 40]).unwrap();
        let presented = PresentedJwe::parse(&text).unwrap();
        assert_eq!((presented.kid.as_str(), presented.fid), ("sealing-key", [7; FAMILY_BYTES]));
        assert_eq!(presented.protected_header.as_bytes(), header.as_bytes());
        assert_eq!((presented.nonce, presented.ciphertext_and_tag), ([1; NONCE_BYTES], vec![2; 40]));
    }

    #[test]
    fn another_algorithm_is_refused() {
        let header =
            base64url::encode(br#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k","fid":"AAAAAAAAAAAAAAAAAAAAAA"}"#);
        let text = format!("{header}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(PresentedJwe::parse(&text).unwrap_err(), Malformed::Algorithm);
    }

    proptest! {
        #[test]
        fn garbage_is_malformed_and_never_a_panic(text in "[A-Za-z0-9_.-]{0,300}|.{0,80}") {
            let _ = PresentedJwe::parse(&text);
        }
    }
}
