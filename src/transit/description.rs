//! A key as it is read.

use std::collections::BTreeMap;

use der::pem::{self, LineEnding};
use serde::Serialize;

use super::TransitError;
use crate::jose::public_key_info;
use crate::keyring::delegated::VersionedKey;

/// What is told of a key: the members that Vault gives an `ecdsa-p256` key.
#[derive(Debug, Serialize)]
pub struct KeyDescription {
    name: String,
    #[serde(rename = "type")]
    key_type: &'static str,
    latest_version: u32,
    keys: BTreeMap<u32, Version>,
    deletion_allowed: bool,
    min_available_version: u32,
    min_decryption_version: u32,
    min_encryption_version: u32,
    auto_rotate_period: u32,
    supports_signing: bool,
    supports_encryption: bool,
    supports_decryption: bool,
    supports_derivation: bool,
    derived: bool,
    exportable: bool,
    allow_plaintext_backup: bool,
    imported_key: bool,
}

/// One version of it.
#[derive(Debug, Serialize)]
struct Version {
    /// The curve.
    name: &'static str,
    /// PEM of the `SubjectPublicKeyInfo`.
    public_key: String,
    /// RFC 3339.
    creation_time: String,
}

impl KeyDescription {
    /// Of the key that callers call `name`, whose versions are `versions`, of which `latest_version` signs.
    ///
    /// # Errors
    /// [`TransitError::Internal`], which no public key comes to.
    pub(super) fn new(
        name: &str,
        versions: &[VersionedKey],
        latest_version: u32,
        deletion_allowed: bool,
    ) -> Result<Self, TransitError> {
        let describe = |key: &VersionedKey| {
            let der = public_key_info::encode(&key.public_key);
            let public_key = pem::encode_string("PUBLIC KEY", LineEnding::LF, &der);
            let public_key = public_key.map_err(|_| TransitError::Internal)?;
            let described = Version { name: "P-256", public_key, creation_time: key.created_at.to_string() };
            Ok::<_, TransitError>((key.version, described))
        };
        let first_active = versions.iter().filter(|key| key.is_active).map(|key| key.version).min();
        Ok(Self {
            name: name.to_owned(),
            key_type: KEY_TYPE,
            latest_version,
            keys: versions.iter().map(describe).collect::<Result<_, _>>()?,
            deletion_allowed,
            min_available_version: 0,
            min_decryption_version: versions.iter().map(|key| key.version).min().unwrap_or(1),
            // As Vault has it of a key without such a limit.
            min_encryption_version: first_active.filter(|version| *version > 1).unwrap_or(0),
            auto_rotate_period: 0,
            supports_signing: true,
            supports_encryption: false,
            supports_decryption: false,
            supports_derivation: false,
            derived: false,
            exportable: false,
            allow_plaintext_backup: false,
            imported_key: false,
        })
    }
}

/// The one type of key.
pub(super) const KEY_TYPE: &str = "ecdsa-p256";

#[cfg(test)]
mod tests {
    use p256::SecretKey;
    use p256::pkcs8::EncodePublicKey as _;
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::jose::jwk::P256PublicKey;

    #[test]
    fn a_key_is_described_as_vault_describes_one() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let public_key = P256PublicKey::from_uncompressed(&key.to_sec1_bytes()).unwrap();
        let version = |version, is_active| VersionedKey {
            version,
            kid: public_key.kid(),
            public_key,
            created_at: Timestamp::from_unix_seconds(1_700_000_000),
            is_active,
        };
        let described = KeyDescription::new("dex", &[version(1, true)], 1, true).unwrap();
        let pem = key.to_public_key_pem(Default::default()).unwrap();
        let entry = json!({"name": "P-256", "public_key": pem, "creation_time": "2023-11-14T22:13:20Z"});
        assert_eq!(
            serde_json::to_value(described).unwrap(),
            json!({
                "name": "dex", "type": "ecdsa-p256", "latest_version": 1, "keys": {"1": entry}, "deletion_allowed": true,
                "min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0,
                "auto_rotate_period": 0, "supports_signing": true, "supports_encryption": false,
                "supports_decryption": false, "supports_derivation": false, "derived": false, "exportable": false,
                "allow_plaintext_backup": false, "imported_key": false,
            })
        );
        let versions = [version(2, false), version(3, true), version(4, false)];
        let rotated = serde_json::to_value(KeyDescription::new("dex", &versions, 3, false).unwrap()).unwrap();
        assert_eq!(rotated["latest_version"], 3);
        assert_eq!((&rotated["min_decryption_version"], &rotated["min_encryption_version"]), (&json!(2), &json!(3)));
        assert_eq!(rotated["keys"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2", "3", "4"]);
    }
}
