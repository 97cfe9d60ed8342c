//! The keys: what they are made as, how they are loaded, and which are refused.

use std::path::Path;

use tss_esapi::Error as TssError;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    Auth, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Private, Public, PublicBuilder,
    PublicEccParameters, PublicEccParametersBuilder, SymmetricDefinitionObject,
};
use tss_esapi::traits::UnMarshall as _;

use super::connection::{Connection, is_foreign, padded};
use super::folder::refused;
use super::key_file::KeyFile;
use crate::hardware::{Error, Provenance, Role};
use crate::jose::jwk::P256PublicKey;

impl Role {
    /// The key that `keys init` makes: it stays in this TPM below this parent for good, was made in it, and a
    /// wrong authorization value does not count towards the TPM's lockout.
    pub(super) fn template(self) -> Result<Public, TssError> {
        let attributes = unmovable().with_sign_encrypt(self.signs()).with_decrypt(!self.signs());
        let scheme = if self.signs() { ecdsa() } else { EccScheme::Null };
        let mut parameters = PublicEccParametersBuilder::new()
            .with_curve(EccCurve::NistP256)
            .with_ecc_scheme(scheme)
            .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null);
        parameters = match self.signs() {
            true => parameters.with_is_signing_key(true),
            false => parameters.with_is_decryption_key(true),
        };
        ecc(attributes.build()?, parameters.build()?)
    }
}

/// The storage key that the TCG's provisioning guidance describes and that tpm2-openssl makes for a parent of
/// `TPM_RH_OWNER`: P-256, AES-128-CFB. It comes out the same each time until the TPM is cleared.
pub(super) fn storage_key_template() -> Result<Public, TssError> {
    let attributes = unmovable().with_restricted(true).with_decrypt(true).build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    );
    ecc(attributes, parameters.build()?)
}

/// The key that certifies others: restricted, so that it signs nothing from outside that looks like a statement of
/// the TPM.
pub(super) fn attestation_key_template() -> Result<Public, TssError> {
    let attributes = unmovable().with_restricted(true).with_sign_encrypt(true).build()?;
    let parameters = PublicEccParametersBuilder::new()
        .with_curve(EccCurve::NistP256)
        .with_ecc_scheme(ecdsa())
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(true)
        .with_restricted(true);
    ecc(attributes, parameters.build()?)
}

fn ecdsa() -> EccScheme {
    EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256))
}

fn unmovable() -> ObjectAttributesBuilder {
    ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
}

fn ecc(attributes: ObjectAttributes, parameters: PublicEccParameters) -> Result<Public, TssError> {
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// A key that was loaded, and what the TPM says of it.
pub(super) struct LoadedKey {
    pub(super) handle: KeyHandle,
    pub(super) public: P256PublicKey,
}

/// Loads a key, reads back what the TPM says of it, and refuses what [`check`] refuses.
pub(super) fn load(
    connection: &mut Connection,
    role: Role,
    (path, file): (&Path, &KeyFile),
    provenance: Provenance,
    authorization: &Auth,
) -> Result<LoadedKey, Error> {
    let malformed = |error: TssError| refused(path, format!("what is in it is not a key of a TPM: {error}"));
    let public = Public::unmarshall(without_length(&file.public)).map_err(malformed)?;
    let private = Private::try_from(without_length(&file.private)).map_err(malformed)?;
    let primary = connection.primary();
    let mut foreign = false;
    let loaded = connection.call("TPM2_Load", |context| {
        let loaded = context.load(primary, private.clone(), public.clone());
        foreign = loaded.as_ref().is_err_and(|error| is_foreign(*error));
        loaded
    });
    if foreign {
        return Err(refused(
            path,
            "it was made by another TPM, or this one was cleared since; keys of a TPM cannot be moved, so move the file away and run `mintkeep keys init` for a new one",
        ));
    }
    let handle = loaded?;
    // The file says what it likes; the TPM is what is believed.
    let checked = connection
        .call_without_session("TPM2_ReadPublic", |context| context.read_public(handle))
        .and_then(|(public, ..)| check(&public, role, &path.display().to_string(), provenance))
        .and_then(|public| connection.authorize(handle, authorization).map(|()| public));
    match checked {
        Ok(public) => Ok(LoadedKey { handle, public }),
        Err(error) => {
            // Its place is needed by the others.
            let _ = connection.flush(handle);
            Err(error)
        }
    }
}

/// The `kid` that a file says it is of; the TPM was not asked.
pub(super) fn claimed_kid(file: &KeyFile) -> Option<String> {
    kid_of(&Public::unmarshall(without_length(&file.public)).ok()?)
}

/// The `kid` of the key whose public half is `public`, where that is a P-256 one.
pub(super) fn kid_of(public: &Public) -> Option<String> {
    match public {
        Public::Ecc { unique, .. } => point(unique).ok().map(|key| key.kid()),
        _ => None,
    }
}

/// `TPM2B_…` without its length, which the TPM's library adds itself.
fn without_length(bytes: &[u8]) -> &[u8] {
    bytes.get(2..).unwrap_or_default()
}

/// The public key, unless the key could leave the TPM, was imported, or is not what its role needs
/// (TPM 2.0 Part 2 §8.3).
pub(super) fn check(public: &Public, role: Role, path: &str, provenance: Provenance) -> Result<P256PublicKey, Error> {
    let refuse = |attribute, found: String, expected: &str, remedy| Error::KeyUnacceptable {
        role: role.name(),
        kid: path.to_owned(),
        attribute,
        found,
        expected: expected.to_owned(),
        remedy,
    };
    let Public::Ecc { object_attributes: attributes, parameters, unique, .. } = public else {
        return Err(refuse("type", "another one".to_owned(), "ECC", ""));
    };
    if parameters.ecc_curve() != EccCurve::NistP256 {
        return Err(refuse("curveID", format!("{:?}", parameters.ecc_curve()), "P-256", ""));
    }
    let signs = role.signs();
    let required = [
        ("fixedTPM", attributes.fixed_tpm(), true),
        ("fixedParent", attributes.fixed_parent(), true),
        ("userWithAuth", attributes.user_with_auth(), true),
        ("noDA", attributes.no_da(), true),
        ("restricted", attributes.restricted(), false),
        ("sign", attributes.sign_encrypt(), signs),
        ("decrypt", attributes.decrypt(), !signs),
    ];
    for (attribute, found, expected) in required {
        if found != expected {
            return Err(refuse(attribute, found.to_string(), &expected.to_string(), ""));
        }
    }
    let scheme = parameters.ecc_scheme();
    if scheme != EccScheme::Null && !(signs && scheme == ecdsa()) {
        return Err(refuse(
            "scheme",
            format!("{scheme:?}"),
            if signs { "ECDSA with SHA-256, or none" } else { "none" },
            "",
        ));
    }
    if !attributes.sensitive_data_origin() {
        match provenance {
            Provenance::GeneratedInDevice => {
                let remedy = ", or accept its past with allow_imported = true";
                return Err(refuse("sensitiveDataOrigin", "false".to_owned(), "true", remedy));
            }
            Provenance::ImportedAllowed => tracing::warn!(
                role = role.name(),
                path,
                "allow_imported: accepting a key that may have been outside the device"
            ),
        }
    }
    point(unique)
}

fn point(unique: &EccPoint) -> Result<P256PublicKey, Error> {
    let mut point = [4; 65];
    point[1..33].copy_from_slice(padded(unique.x(), "TPM2_ReadPublic")?.as_slice());
    point[33..].copy_from_slice(padded(unique.y(), "TPM2_ReadPublic")?.as_slice());
    Ok(P256PublicKey::from_uncompressed(&point).expect("65 bytes that begin with 4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl Fn(ObjectAttributesBuilder) -> ObjectAttributesBuilder) -> Public {
        let Public::Ecc { parameters, .. } = Role::Signing.template().unwrap() else { panic!("not ECC") };
        let attributes = change(unmovable().with_sign_encrypt(true)).build().unwrap();
        ecc(attributes, parameters).unwrap()
    }

    fn refusal(public: &Public, provenance: Provenance) -> Option<&'static str> {
        match check(public, Role::Signing, "a.pem", provenance) {
            Ok(_) => None,
            Err(Error::KeyUnacceptable { attribute, .. }) => Some(attribute),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_key_that_could_leave_is_refused_whatever_is_allowed() {
        for provenance in [Provenance::GeneratedInDevice, Provenance::ImportedAllowed] {
            assert_eq!(refusal(&with(|key| key), provenance), None);
            assert_eq!(refusal(&with(|key| key.with_fixed_tpm(false)), provenance), Some("fixedTPM"));
            assert_eq!(
                refusal(&with(|key| key.with_fixed_tpm(false).with_fixed_parent(false)), provenance),
                Some("fixedTPM")
            );
            assert_eq!(refusal(&with(|key| key.with_no_da(false)), provenance), Some("noDA"));
            assert_eq!(refusal(&with(|key| key.with_user_with_auth(false)), provenance), Some("userWithAuth"));
        }
    }

    #[test]
    fn a_key_whose_secret_came_from_outside_is_refused_unless_that_is_allowed() {
        let imported = with(|key| key.with_sensitive_data_origin(false));
        assert_eq!(refusal(&imported, Provenance::GeneratedInDevice), Some("sensitiveDataOrigin"));
        assert_eq!(refusal(&imported, Provenance::ImportedAllowed), None);
    }

    #[test]
    fn a_key_of_the_other_role_is_refused() {
        let sealing = Role::Sealing.template().unwrap();
        assert_eq!(refusal(&sealing, Provenance::GeneratedInDevice), Some("sign"));
        assert_eq!(refusal(&storage_key_template().unwrap(), Provenance::GeneratedInDevice), Some("restricted"));
    }
}
