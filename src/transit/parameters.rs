//! The bodies of requests, and what their words stand for. Members that are not known here are passed over, as Vault
//! passes over them: SPIRE sends one whose name is misspelt.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TransitError;
use super::scalar::{Count, Flag};

/// What of a caller's text is quoted in an answer.
const QUOTED: usize = 32;

/// What is asked of `sign`, and of `verify`.
#[derive(Debug, Default, Deserialize)]
pub struct SigningParameters {
    input: Option<String>,
    signature: Option<String>,
    hmac: Option<String>,
    context: Option<String>,
    batch_input: Option<Vec<Item>>,
    hash_algorithm: Option<String>,
    /// The older name of the one before.
    algorithm: Option<String>,
    marshaling_algorithm: Option<String>,
    #[serde(default)]
    prehashed: Flag,
    #[serde(default)]
    key_version: Count,
}

/// One thing to sign, or to verify.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Item {
    /// What was, or is to be, signed: standard base64.
    pub(super) input: Option<String>,
    /// `vault:v1:…`.
    pub(super) signature: Option<String>,
    pub(super) hmac: Option<String>,
    /// For keys that are derived, of which there are none; it has to be base64 all the same.
    pub(super) context: Option<String>,
    /// The caller's own name for it.
    pub(super) reference: Option<String>,
}

/// What is asked of creating a key, or of configuring one.
#[derive(Debug, Default, Deserialize)]
pub struct KeyParameters {
    #[serde(rename = "type")]
    pub(super) key_type: Option<String>,
    #[serde(default)]
    pub(super) derived: Flag,
    #[serde(default)]
    pub(super) convergent_encryption: Flag,
    #[serde(default)]
    pub(super) exportable: Flag,
    #[serde(default)]
    pub(super) allow_plaintext_backup: Flag,
    pub(super) deletion_allowed: Option<Flag>,
    #[serde(default)]
    pub(super) min_decryption_version: Count,
    #[serde(default)]
    pub(super) min_encryption_version: Count,
    auto_rotate_period: Option<serde_json::Value>,
}

/// What is hashed with what, and how a signature is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Manner {
    pub(super) prehashed: bool,
    pub(super) marshaling: Marshaling,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Marshaling {
    /// DER in standard base64 (RFC 3279 §2.2.3).
    Asn1,
    /// `r || s`, of 64 bytes, in base64url without padding (RFC 7518 §3.4).
    Jws,
}

/// What a request brings.
pub(super) enum Items {
    One(Item),
    /// Answered one by one.
    Batch(Vec<Item>),
}

/// Reads a body; an empty one asks for nothing. The media type is not looked at: not even Vault's own client names one.
///
/// # Errors
/// [`TransitError::Invalid`].
pub fn read<Parameters: DeserializeOwned + Default>(body: &[u8]) -> Result<Parameters, TransitError> {
    match body.trim_ascii().first() {
        None => Ok(Parameters::default()),
        // serde takes an array for the members in their order, and Vault does not.
        Some(b'{') => serde_json::from_slice(body).map_err(|error| {
            // Where, and not what: the message itself may quote the input.
            let (line, column) = (error.line(), error.column());
            TransitError::Invalid(format!("failed to parse JSON input: unexpected at line {line}, column {column}"))
        }),
        Some(_) => Err(TransitError::invalid("failed to parse JSON input: expected an object")),
    }
}

impl SigningParameters {
    /// How it is signed. A hash algorithm in the path goes before one in the body.
    pub(super) fn manner(&self, path_algorithm: Option<&str>) -> Result<Manner, TransitError> {
        let prehashed = self.prehashed.0;
        let named = [path_algorithm, self.hash_algorithm.as_deref(), self.algorithm.as_deref()];
        match named.into_iter().flatten().find(|name| !name.is_empty()) {
            None | Some("sha2-256") => {}
            // The client hashed, and does not say how; the length is looked at.
            Some("none") if prehashed => {}
            Some("none") => return Err(TransitError::invalid("hash_algorithm=none requires prehashed=true")),
            Some(
                name @ ("sha1" | "sha2-224" | "sha2-384" | "sha2-512" | "sha3-224" | "sha3-256" | "sha3-384"
                | "sha3-512"),
            ) => {
                let message =
                    format!("hash algorithm {name:?} is not supported: an ecdsa-p256 key signs sha2-256 here");
                return Err(TransitError::Invalid(message));
            }
            Some(other) => return Err(TransitError::Invalid(format!("invalid hash algorithm {}", quoted(other)))),
        }
        let marshaling = match self.marshaling_algorithm.as_deref() {
            None | Some("" | "asn1") => Marshaling::Asn1,
            Some("jws") => Marshaling::Jws,
            Some(other) => return Err(TransitError::Invalid(format!("invalid marshaling type {}", quoted(other)))),
        };
        Ok(Manner { prehashed, marshaling })
    }

    /// The version that is asked for; `None` for whichever is the latest.
    pub(super) fn version(&self) -> Option<u32> {
        Some(self.key_version.0).filter(|version| *version > 0)
    }

    /// What is to be signed or verified, at the most `most` of it.
    pub(super) fn into_items(self, most: usize) -> Result<Items, TransitError> {
        let items = match self.batch_input {
            None => {
                let Self { input, signature, hmac, context, .. } = self;
                Items::One(Item { input, signature, hmac, context, reference: None })
            }
            Some(items) if items.is_empty() => return Err(TransitError::invalid("missing batch input to process")),
            Some(items) if items.len() > most => {
                return Err(TransitError::Invalid(format!("expected at most {most} elements of batch_input")));
            }
            Some(items) => Items::Batch(items),
        };
        let has_hmac = match &items {
            Items::One(item) => item.hmac.is_some(),
            Items::Batch(items) => items.iter().any(|item| item.hmac.is_some()),
        };
        if has_hmac {
            return Err(TransitError::invalid("an ecdsa-p256 key makes signatures; it cannot verify an hmac"));
        }
        Ok(items)
    }
}

impl KeyParameters {
    /// Fails where it asks for what no key has here.
    pub(super) fn check_possible(&self) -> Result<(), TransitError> {
        let rotates = match &self.auto_rotate_period {
            None | Some(serde_json::Value::Null) => false,
            Some(serde_json::Value::String(text)) => !matches!(text.as_str(), "" | "0" | "0s"),
            Some(period) => period.as_u64() != Some(0),
        };
        let impossible = [
            (self.exportable.0, "exportable: the key never leaves its device"),
            (self.allow_plaintext_backup.0, "allow_plaintext_backup: the key never leaves its device"),
            (self.derived.0 || self.convergent_encryption.0, "derived: an ecdsa-p256 key is not derived"),
            (rotates, "auto_rotate_period: the operator's configuration says when keys are replaced"),
            (
                self.min_decryption_version.0 > 1,
                "min_decryption_version: versions end as the operator's configuration says",
            ),
            (
                self.min_encryption_version.0 > 1,
                "min_encryption_version: versions end as the operator's configuration says",
            ),
        ];
        match impossible.into_iter().find(|(is_asked, _)| *is_asked) {
            Some((_, reason)) => Err(TransitError::Invalid(format!("cannot set {reason}"))),
            None => Ok(()),
        }
    }
}

/// `text` as an answer quotes it.
pub(super) fn quoted(text: &str) -> String {
    let start: String = text.chars().take(QUOTED).collect();
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manner(body: Value, path: Option<&str>) -> Result<Manner, TransitError> {
        read::<SigningParameters>(body.to_string().as_bytes()).unwrap().manner(path)
    }

    fn refused<Value: std::fmt::Debug>(outcome: Result<Value, TransitError>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn hash_and_marshaling_are_what_the_path_and_the_body_say() {
        let of = |prehashed, marshaling| Ok(Manner { prehashed, marshaling });
        assert_eq!(manner(json!({}), None), of(false, Marshaling::Asn1));
        assert_eq!(
            manner(json!({"prehashed": "true", "hash_algorithm": "sha1"}), Some("none")),
            of(true, Marshaling::Asn1)
        );
        let jws = json!({"hash_algorithm": "", "algorithm": "sha2-256", "marshaling_algorithm": "jws"});
        assert_eq!(manner(jws, Some("")), of(false, Marshaling::Jws));
        assert_eq!(manner(json!({"signature_algorithm": "pss"}), None), of(false, Marshaling::Asn1));
        assert_eq!(refused(manner(json!({}), Some("none"))), "hash_algorithm=none requires prehashed=true");
        assert_eq!(
            refused(manner(json!({"hash_algorithm": "sha2-512"}), None)),
            "hash algorithm \"sha2-512\" is not supported: an ecdsa-p256 key signs sha2-256 here"
        );
        assert_eq!(refused(manner(json!({}), Some("SHA256"))), "invalid hash algorithm \"SHA256\"");
        assert_eq!(
            refused(manner(json!({"marshaling_algorithm": "x".repeat(99)}), None)),
            format!("invalid marshaling type \"{}\"", "x".repeat(32))
        );
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        for body in
            ["", " ", "{}", "{\"unknown\": [1]}", "{\"input\": null, \"key_version\": null, \"prehashed\": null}"]
        {
            let read = read::<SigningParameters>(body.as_bytes()).unwrap();
            assert_eq!((read.input.as_deref(), read.version()), (None, None));
        }
        for body in ["[]", "1", "null", "\"{}\"", "input=YQ=="] {
            let error = refused(read::<SigningParameters>(body.as_bytes()));
            assert_eq!(error, "failed to parse JSON input: expected an object", "{body}");
        }
        for body in
            ["{", "{}{}", "{\"input\": 1}", "{\"input\": \"secret\", \"input\": \"secret\"}", "{\"key_version\": -1}"]
        {
            let error = refused(read::<SigningParameters>(body.as_bytes()));
            assert!(error.starts_with("failed to parse JSON input: unexpected at line 1, column "), "{body}: {error}");
        }
    }

    #[test]
    fn a_batch_has_a_length() {
        let items =
            |body: Value| read::<SigningParameters>(body.to_string().as_bytes()).unwrap().into_items(2).map(|_| ());
        assert_eq!(items(json!({"batch_input": [{"input": "YQ=="}, {}]})), Ok(()));
        assert_eq!(refused(items(json!({"batch_input": []}))), "missing batch input to process");
        assert_eq!(refused(items(json!({"batch_input": [{}, {}, {}]}))), "expected at most 2 elements of batch_input");
        assert!(
            items(json!({"hmac": "vault:v1:AA=="})).is_err() && items(json!({"batch_input": [{"hmac": ""}]})).is_err()
        );
    }

    #[test]
    fn a_key_is_asked_for_nothing_that_it_cannot_be() {
        let checked = |body: Value| read::<KeyParameters>(body.to_string().as_bytes()).unwrap().check_possible();
        for body in [
            json!({"type": "ecdsa-p256", "exportable": "false"}),
            json!({"auto_rotate_period": "0", "min_decryption_version": 1, "min_encryption_version": "0"}),
            json!({"auto_rotate_period": 0}),
        ] {
            assert_eq!(checked(body), Ok(()));
        }
        for (body, setting) in [
            (json!({"exportable": "true"}), "exportable"),
            (json!({"allow_plaintext_backup": true}), "allow_plaintext_backup"),
            (json!({"derived": true}), "derived"),
            (json!({"convergent_encryption": 1}), "derived"),
            (json!({"auto_rotate_period": "24h"}), "auto_rotate_period"),
            (json!({"auto_rotate_period": 3600}), "auto_rotate_period"),
            (json!({"min_decryption_version": 2}), "min_decryption_version"),
            (json!({"min_encryption_version": "2"}), "min_encryption_version"),
        ] {
            let error = refused(checked(body));
            assert!(error.starts_with(&format!("cannot set {setting}: ")), "{error}");
        }
    }
}
