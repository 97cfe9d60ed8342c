//! Compact JWE (RFC 7516 §7.1) with AES-256-GCM, either by a key of the hardware (`alg: dir`, RFC 7518 §4.5)
//! or by one that is agreed with it (`alg: ECDH-ES`, §4.6). This is the envelope of both.

use serde::{Deserialize, Serialize};

use super::jwk::{BareJwk, P256PublicKey};
use super::{Malformed, base64url};

/// Bytes of a GCM initialization vector (RFC 7518 §5.3).
pub const NONCE_BYTES: usize = 12;
/// Bytes of a GCM authentication tag (RFC 7518 §5.3).
pub const TAG_BYTES: usize = 16;
/// Bytes of a refresh family's handle.
pub const FAMILY_BYTES: usize = 16;

const DIRECT: &str = "dir";
const ECDH_ES: &str = "ECDH-ES";
pub(super) const A256GCM: &str = "A256GCM";

/// How the content encryption key is come by (RFC 7518 §4.1). Neither way has an encrypted key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum KeyManagement {
    /// `alg: dir`: it is a key inside the hardware, which does the encryption too.
    Direct,
    /// `alg: ECDH-ES`: it comes of a private key inside the hardware and of this ephemeral public one, which
    /// need not be on the curve.
    EcdhEs {
        /// The ephemeral public key.
        epk: P256PublicKey,
    },
}

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epk: Option<BareJwk>,
}

/// `BASE64URL(header)`: the first part of the JWE and, as it stands, its additional authenticated
/// data (RFC 7516 §5.1 step 14).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProtectedHeader(String);

impl ProtectedHeader {
    /// The header for the sealing key `kid` and the refresh family `fid`.
    pub fn new(kid: &str, key_management: KeyManagement, fid: &[u8; FAMILY_BYTES]) -> Self {
        let fid = base64url::encode(fid);
        let (alg, epk) = match key_management {
            KeyManagement::Direct => (DIRECT, None),
            KeyManagement::EcdhEs { epk } => (ECDH_ES, Some(epk.into())),
        };
        let header = Header { alg, enc: A256GCM, kid, fid: &fid, epk };
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
    /// How it claims to be sealed.
    pub key_management: KeyManagement,
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
        // Neither key management has an encrypted key (RFC 7516 §5.2 step 10).
        if !encrypted_key.is_empty() {
            return Err(Malformed::Length { expected: 0 });
        }
        let header_json = base64url::decode(protected_header)?;
        let header: Header<'_> = serde_json::from_slice(&header_json).map_err(|_| Malformed::Json)?;
        let key_management = match (header.alg, header.enc, header.epk) {
            (DIRECT, A256GCM, None) => KeyManagement::Direct,
            (ECDH_ES, A256GCM, Some(epk)) => KeyManagement::EcdhEs { epk: epk.try_into()? },
            _ => return Err(Malformed::Algorithm),
        };
        let fid = base64url::decode_array(header.fid)?;
        // One token has one spelling. serde would also take arrays for objects, and members in any order.
        if ProtectedHeader::new(header.kid, key_management, &fid).0 != protected_header {
            return Err(Malformed::Json);
        }
        let mut ciphertext_and_tag = base64url::decode(ciphertext)?;
        ciphertext_and_tag.extend_from_slice(&base64url::decode_array::<TAG_BYTES>(tag)?);
        Ok(Self {
            kid: header.kid.to_owned(),
            key_management,
            fid,
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
        let epk = P256PublicKey::from_uncompressed(&[4; 65]).unwrap();
        for key_management in [KeyManagement::Direct, KeyManagement::EcdhEs { epk }] {
            let header = ProtectedHeader::new("sealing-key", key_management, &[7; FAMILY_BYTES]);
            let text = header.clone().into_compact(&[1; NONCE_BYTES], &[2; 40]).unwrap();
            let presented = PresentedJwe::parse(&text).unwrap();
            assert_eq!((presented.kid.as_str(), presented.fid), ("sealing-key", [7; FAMILY_BYTES]));
            assert_eq!(presented.key_management, key_management);
            assert_eq!(presented.protected_header.as_bytes(), header.as_bytes());
            assert_eq!((presented.nonce, presented.ciphertext_and_tag), ([1; NONCE_BYTES], vec![2; 40]));
        }
    }

    /// The header as it was before there was a second format: tokens that are out stay good.
    #[test]
    fn a_direct_header_has_exactly_four_members() {
        let header = ProtectedHeader::new("k", KeyManagement::Direct, &[0; FAMILY_BYTES]);
        let json = base64url::decode(header.as_bytes()).unwrap();
        assert_eq!(json, br#"{"alg":"dir","enc":"A256GCM","kid":"k","fid":"AAAAAAAAAAAAAAAAAAAAAA"}"#);
    }

    #[test]
    fn an_ephemeral_key_is_there_exactly_where_it_is_needed_and_is_public() {
        let coordinate = base64url::encode([4; 32]);
        let jwk = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{coordinate}","y":"{coordinate}"{more}}}"#);
        let parse = |alg: &str, epk: Option<String>| {
            let epk = epk.map(|epk| format!(r#","epk":{epk}"#)).unwrap_or_default();
            let json = format!(r#"{{"alg":"{alg}","enc":"A256GCM","kid":"k","fid":"AAAAAAAAAAAAAAAAAAAAAA"{epk}}}"#);
            let header = base64url::encode(json);
            PresentedJwe::parse(&format!("{header}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA")).map(drop)
        };
        assert_eq!(parse("ECDH-ES", Some(jwk(""))), Ok(()));
        assert_eq!(parse("ECDH-ES", None), Err(Malformed::Algorithm));
        assert_eq!(parse("dir", Some(jwk(""))), Err(Malformed::Algorithm));
        assert_eq!(parse("ECDH-ES", Some(jwk(r#","d":"AA""#))), Err(Malformed::Json));
        assert_eq!(parse("ECDH-ES", Some(jwk("").replace("P-256", "P-384"))), Err(Malformed::Algorithm));
        assert_eq!(
            parse("ECDH-ES", Some(jwk("").replace(&coordinate, "BAQE"))),
            Err(Malformed::Length { expected: 32 })
        );
    }

    #[test]
    fn a_header_has_one_spelling() {
        let fid = "AAAAAAAAAAAAAAAAAAAAAA";
        let written = format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"k","fid":"{fid}"}}"#);
        let parse = |json: &str| {
            let text = format!("{}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA", base64url::encode(json));
            PresentedJwe::parse(&text).map(drop)
        };
        assert_eq!(parse(&written), Ok(()));
        for other in [
            format!(r#"["dir","A256GCM","k","{fid}"]"#),
            format!(r#"{{"enc":"A256GCM","alg":"dir","kid":"k","fid":"{fid}"}}"#),
            written.replace('}', r#","epk":null}"#),
            written.replace(',', ", "),
        ] {
            assert_eq!(parse(&other), Err(Malformed::Json), "{other}");
        }
        let coordinate = base64url::encode([4; 32]);
        let epk = format!(r#","epk":["EC","P-256","{coordinate}","{coordinate}"]}}"#);
        assert_eq!(parse(&written.replace("dir", "ECDH-ES").replace('}', &epk)), Err(Malformed::Json));
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
