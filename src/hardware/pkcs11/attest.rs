//! What the module says of a key and of its token, signed by a key that the token has.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use cryptoki::context::Pkcs11;
use cryptoki::error::Error as Pkcs11Error;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as Pkcs11Session;

use super::calls::Calls;
use super::failed;
use super::keys::{hexadecimal, read_id, read_public_key};
use super::operations::sign;
use crate::clock::Timestamp;
use crate::hardware::attestation::pkcs11::{AttributeValue, ModuleIdentity, Pkcs11Evidence, TokenIdentity};
use crate::hardware::attestation::{Attestation, Expected, Nonce};
use crate::hardware::{DeviceKeys, Error, PinnedPublicKey, Provenance, Role};
use crate::jose::base64url;
use crate::jose::jwk::P256PublicKey;

/// What is told of a key: what it is, where it came from, whether it can leave, what it may do, how it is found.
const ATTRIBUTES: [(&str, AttributeType); 23] = [
    ("CKA_CLASS", AttributeType::Class),
    ("CKA_KEY_TYPE", AttributeType::KeyType),
    ("CKA_TOKEN", AttributeType::Token),
    ("CKA_PRIVATE", AttributeType::Private),
    ("CKA_LOCAL", AttributeType::Local),
    ("CKA_SENSITIVE", AttributeType::Sensitive),
    ("CKA_ALWAYS_SENSITIVE", AttributeType::AlwaysSensitive),
    ("CKA_EXTRACTABLE", AttributeType::Extractable),
    ("CKA_NEVER_EXTRACTABLE", AttributeType::NeverExtractable),
    ("CKA_WRAP_WITH_TRUSTED", AttributeType::WrapWithTrusted),
    ("CKA_MODIFIABLE", AttributeType::Modifiable),
    ("CKA_COPYABLE", AttributeType::Copyable),
    ("CKA_DESTROYABLE", AttributeType::Destroyable),
    ("CKA_SIGN", AttributeType::Sign),
    ("CKA_VERIFY", AttributeType::Verify),
    ("CKA_ENCRYPT", AttributeType::Encrypt),
    ("CKA_DECRYPT", AttributeType::Decrypt),
    ("CKA_WRAP", AttributeType::Wrap),
    ("CKA_UNWRAP", AttributeType::Unwrap),
    ("CKA_DERIVE", AttributeType::Derive),
    ("CKA_VALUE_LEN", AttributeType::ValueLen),
    ("CKA_ID", AttributeType::Id),
    ("CKA_LABEL", AttributeType::Label),
];

/// The document of the key `kid`, one of `keys`, for the nonce and at the time of `asked`.
pub(super) fn attest(
    context: &Pkcs11,
    session: &Pkcs11Session,
    calls: &Calls,
    keys: &DeviceKeys,
    kid: &str,
    (nonce, now): (&Nonce, Timestamp),
) -> Result<Attestation, Error> {
    let unknown = || Error::UnknownKey(kid.to_owned());
    let (role, public) = named(keys, kid).ok_or_else(unknown)?;
    let object = object(session, role, kid, public.as_ref())?.ok_or_else(unknown)?;
    // A sealing key cannot sign, and whoever has the token has both.
    let (signer, signing) = match (role, &public) {
        (Role::Signing | Role::Delegated(_), Some(public)) => (*public, object),
        _ => {
            let signer = keys.signing.first().ok_or_else(unknown)?;
            let signing = self::object(session, Role::Signing, &signer.kid(), Some(signer))?;
            (*signer, signing.ok_or_else(|| Error::UnknownKey(signer.kid()))?)
        }
    };
    let (module, token) = identities(context, session)?;
    let attributes = attributes(session, object)?;
    let evidence = Pkcs11Evidence { kid: kid.to_owned(), role, public, module, token, attributes };
    let unsigned = Attestation::unsigned(evidence, nonce, now, &signer);
    let message = unsigned.to_be_signed();
    let hash = digest(&SHA256, &message);
    let signature = sign(session, calls, signing, hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))?;
    let pinned = PinnedPublicKey::new(signer).map_err(|error| unusable(error.to_string()))?;
    if !pinned.verifies(&message, &signature) {
        return Err(Error::WrongSignature);
    }
    let document = unsigned.signed(&signature);
    // Whether a key that was imported is acceptable was found out when the token was opened.
    let expected =
        Expected { nonce: Some(nonce.clone()), attestation_key: None, provenance: Provenance::ImportedAllowed };
    document.verify(&expected).map_err(|flaw| unusable(flaw.to_string()))?;
    Ok(document)
}

fn unusable(reason: String) -> Error {
    Error::Call { call: "reading back a key".to_owned(), reason }
}

fn named(keys: &DeviceKeys, kid: &str) -> Option<(Role, Option<P256PublicKey>)> {
    keys.all().find(|(known, ..)| known == kid).map(|(_, role, public)| (role, public))
}

/// The key's object in the token: a copy in a session has a history of its own.
fn object(
    session: &Pkcs11Session,
    role: Role,
    kid: &str,
    public: Option<&P256PublicKey>,
) -> Result<Option<ObjectHandle>, Error> {
    let Some(public) = public else {
        let id = base64url::decode(kid).map_err(|_| Error::UnknownKey(kid.to_owned()))?;
        return the_one(session, role, ObjectClass::SECRET_KEY, id);
    };
    let points = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC)];
    for point in session.find_objects(&points).map_err(failed)? {
        // Keys on other curves are not ours.
        if read_public_key(session, role, point).is_ok_and(|found| found == *public) {
            return the_one(session, role, ObjectClass::PRIVATE_KEY, read_id(session, point)?);
        }
    }
    Ok(None)
}

fn the_one(
    session: &Pkcs11Session,
    role: Role,
    class: ObjectClass,
    id: Vec<u8>,
) -> Result<Option<ObjectHandle>, Error> {
    let what = format!("{} keys with CKA_ID {}", role.name(), hexadecimal(&id));
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id)];
    match session.find_objects(&template).map_err(failed)?.as_slice() {
        [] => Ok(None),
        [object] => Ok(Some(*object)),
        objects => Err(Error::KeyAmbiguous { what, count: objects.len() }),
    }
}

fn identities(context: &Pkcs11, session: &Pkcs11Session) -> Result<(ModuleIdentity, TokenIdentity), Error> {
    let module = context.get_library_info().map_err(failed)?;
    let slot = session.get_session_info().map_err(failed)?.slot_id();
    let token = context.get_token_info(slot).map_err(failed)?;
    let module = ModuleIdentity {
        manufacturer: module.manufacturer_id().to_owned(),
        description: module.library_description().to_owned(),
        version: module.library_version().to_string(),
        cryptoki_version: module.cryptoki_version().to_string(),
    };
    let token = TokenIdentity {
        manufacturer: token.manufacturer_id().to_owned(),
        model: token.model().to_owned(),
        serial_number: token.serial_number().to_owned(),
        label: token.label().to_owned(),
        hardware_version: token.hardware_version().to_string(),
        firmware_version: token.firmware_version().to_string(),
    };
    Ok((module, token))
}

fn attributes(
    session: &Pkcs11Session,
    object: ObjectHandle,
) -> Result<BTreeMap<String, Option<AttributeValue>>, Error> {
    let mut told = BTreeMap::new();
    for (name, attribute) in ATTRIBUTES {
        told.insert(name.to_owned(), value(session, object, attribute)?);
    }
    // Of a key from elsewhere it is CK_UNAVAILABLE_INFORMATION (PKCS#11 3.1 §4.8), which is not asked for.
    let is_local = told.get("CKA_LOCAL") == Some(&Some(AttributeValue::Bool(true)));
    let mechanism = if is_local { value(session, object, AttributeType::KeyGenMechanism)? } else { None };
    told.insert("CKA_KEY_GEN_MECHANISM".to_owned(), mechanism);
    Ok(told)
}

fn value(
    session: &Pkcs11Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<AttributeValue>, Error> {
    match session.get_attributes(object, &[attribute]) {
        Ok(mut values) => Ok(values.pop().as_ref().and_then(value_of)),
        // It has a number of the vendor's own.
        Err(Pkcs11Error::NotSupported) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn value_of(attribute: &Attribute) -> Option<AttributeValue> {
    let text = |text: String| Some(AttributeValue::Text(text));
    match attribute {
        Attribute::Token(value)
        | Attribute::Private(value)
        | Attribute::Local(value)
        | Attribute::Sensitive(value)
        | Attribute::AlwaysSensitive(value)
        | Attribute::Extractable(value)
        | Attribute::NeverExtractable(value)
        | Attribute::WrapWithTrusted(value)
        | Attribute::Modifiable(value)
        | Attribute::Copyable(value)
        | Attribute::Destroyable(value)
        | Attribute::Sign(value)
        | Attribute::Verify(value)
        | Attribute::Encrypt(value)
        | Attribute::Decrypt(value)
        | Attribute::Wrap(value)
        | Attribute::Unwrap(value)
        | Attribute::Derive(value) => Some(AttributeValue::Bool(*value)),
        Attribute::Class(class) => text(class.to_string()),
        Attribute::KeyType(key_type) => text(key_type.to_string()),
        Attribute::KeyGenMechanism(mechanism) => text(mechanism.to_string()),
        Attribute::ValueLen(length) => text(length.to_string()),
        Attribute::Id(id) => text(hexadecimal(id)),
        Attribute::Label(label) => text(String::from_utf8_lossy(label).into_owned()),
        _ => None,
    }
}
