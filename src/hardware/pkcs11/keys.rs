//! Finding the keys in a PKCS#11 token, reading back what the token says of them, and refusing
//! those that could leave it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::{Pkcs11Settings, failed};
use crate::hardware::{DelegatedKeys, Error, KeyName, PinnedPublicKey, ProfileKeys, Provenance, Role};
use crate::jose::base64url;
use crate::jose::jwk::P256PublicKey;

/// DER of the object identifier of P-256, 1.2.840.10045.3.1.7: what `CKA_EC_PARAMS` holds.
pub(super) const P256_PARAMS: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What a key of a role is in the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// A P-256 key that signs.
    Ecdsa,
    /// An AES-256 key that seals.
    Aes,
    /// A P-256 key that opens by ECDH what was sealed to its public half.
    Ecdh,
}

impl Form {
    /// The forms of the keys of `role`, the one that is preferred first.
    pub(super) fn of(role: Role) -> &'static [Self] {
        match role {
            Role::Signing | Role::Delegated(_) => &[Self::Ecdsa],
            Role::Sealing => &[Self::Aes, Self::Ecdh],
        }
    }

    fn class(self) -> ObjectClass {
        match self {
            Self::Ecdsa | Self::Ecdh => ObjectClass::PRIVATE_KEY,
            Self::Aes => ObjectClass::SECRET_KEY,
        }
    }

    /// What tells it from keys that happen to have the same label.
    fn further(self) -> &'static [Attribute] {
        match self {
            Self::Ecdsa => &[Attribute::KeyType(KeyType::EC)],
            Self::Aes => &[Attribute::KeyType(KeyType::AES)],
            Self::Ecdh => &[Attribute::KeyType(KeyType::EC), Attribute::Derive(true)],
        }
    }

    /// The uses that the role needs.
    fn required_uses(self) -> &'static [(AttributeType, &'static str)] {
        match self {
            Self::Ecdsa => &[(AttributeType::Sign, "CKA_SIGN")],
            Self::Aes => &[(AttributeType::Encrypt, "CKA_ENCRYPT"), (AttributeType::Decrypt, "CKA_DECRYPT")],
            Self::Ecdh => &[(AttributeType::Derive, "CKA_DERIVE")],
        }
    }
}

/// A key object labelled for a role, the only one of its class under its `CKA_ID`.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) role: Role,
    pub(super) form: Form,
    pub(super) handle: ObjectHandle,
    pub(super) id: Vec<u8>,
}

/// All keys labelled for `role`, in the token's order.
pub(super) fn labelled(session: &Session, role: Role, label: &str) -> Result<Vec<(Form, ObjectHandle)>, Error> {
    let mut found = Vec::new();
    for form in Form::of(role) {
        let mut template = vec![Attribute::Class(form.class()), Attribute::Token(true), Attribute::Label(label.into())];
        template.extend_from_slice(form.further());
        let handles = session.find_objects(&template).map_err(failed)?;
        found.extend(handles.into_iter().map(|handle| (*form, handle)));
    }
    Ok(found)
}

/// The keys of `role`, of which there must be one.
pub(super) fn candidates(session: &Session, role: Role, settings: &Pkcs11Settings) -> Result<Vec<Candidate>, Error> {
    let label = settings.label(role);
    let found = labelled(session, role, &label)?;
    if found.is_empty() {
        return Err(Error::KeyMissing { role: role.name(), label });
    }
    found.into_iter().map(|(form, handle)| candidate(session, role, form, handle)).collect()
}

/// The keys of all signing profiles for front-ends, which need not be there.
pub(super) fn delegated_candidates(session: &Session, settings: &Pkcs11Settings) -> Result<Vec<Candidate>, Error> {
    let mut found = Vec::new();
    for ProfileKeys { profile, .. } in settings.profiles.iter().filter(|one| one.keys == DelegatedKeys::One) {
        let role = Role::Delegated(*profile);
        let keys = labelled(session, role, &settings.label(role))?;
        found.extend(keys.into_iter().map(|(form, handle)| (role, form, handle)));
    }
    if settings.profiles.iter().any(|one| one.keys == DelegatedKeys::Created) {
        let is_created = |name: &KeyName| {
            let mut created = settings.profiles.iter().filter(|one| one.keys == DelegatedKeys::Created);
            created.any(|one| one.include(name))
        };
        let all = all_delegated(session, settings)?.into_iter().filter(|(name, ..)| is_created(name));
        found.extend(all.map(|(name, form, handle)| (Role::Delegated(name), form, handle)));
    }
    found.into_iter().map(|(role, form, handle)| candidate(session, role, form, handle)).collect()
}

/// All keys that are labelled as keys for front-ends, whatever profile they are of: nobody can say which names to
/// look for.
pub(super) fn all_delegated(
    session: &Session,
    settings: &Pkcs11Settings,
) -> Result<Vec<(KeyName, Form, ObjectHandle)>, Error> {
    let form = Form::Ecdsa;
    let mut template = vec![Attribute::Class(form.class()), Attribute::Token(true)];
    template.extend_from_slice(form.further());
    let mut found = Vec::new();
    for handle in session.find_objects(&template).map_err(failed)? {
        if let Some(Attribute::Label(label)) = read(session, handle, AttributeType::Label)?
            && let Some(name) = settings.name_in(&label)
        {
            found.push((name, form, handle));
        }
    }
    Ok(found)
}

/// The key `handle`, which must be the only one of its class in the token with its `CKA_ID`: a signature must
/// never depend on the order of a search.
pub(super) fn candidate(session: &Session, role: Role, form: Form, handle: ObjectHandle) -> Result<Candidate, Error> {
    let id = read_id(session, handle)?;
    let same_id = [Attribute::Class(form.class()), Attribute::Token(true), Attribute::Id(id.clone())];
    let same_id = session.find_objects(&same_id).map_err(failed)?;
    exactly_one(&same_id, format!("{} keys with CKA_ID {}", role.name(), hexadecimal(&id)))?;
    Ok(Candidate { role, form, handle, id })
}

/// The public half of a P-256 key that passes every check.
pub(super) fn check_pair(session: &Session, key: &Candidate, provenance: Provenance) -> Result<PinnedPublicKey, Error> {
    let public = PinnedPublicKey::new(public_half(session, key)?)
        .map_err(|_| unacceptable(key.role, &key.id, "CKA_EC_POINT", "a point off the curve", "a point on P-256"))?;
    check(session, key, public.kid(), provenance)?;
    Ok(public)
}

/// The `kid` of an AES key that passes every check.
pub(super) fn check_secret(session: &Session, key: &Candidate, provenance: Provenance) -> Result<String, Error> {
    let kid = base64url::encode(&key.id);
    check(session, key, &kid, provenance)?;
    Ok(kid)
}

/// Refuses what [`check_pair`] or [`check_secret`] does.
pub(super) fn check_any(session: &Session, key: &Candidate, provenance: Provenance) -> Result<(), Error> {
    match key.form {
        Form::Ecdsa | Form::Ecdh => check_pair(session, key, provenance).map(drop),
        Form::Aes => check_secret(session, key, provenance).map(drop),
    }
}

/// The `kid` of a key, acceptable or not.
pub(super) fn kid_of(session: &Session, key: &Candidate) -> Result<String, Error> {
    match key.form {
        Form::Ecdsa | Form::Ecdh => public_half(session, key).map(|public| public.kid()),
        Form::Aes => Ok(base64url::encode(&key.id)),
    }
}

/// What the token says is the public half of a private key.
fn public_half(session: &Session, key: &Candidate) -> Result<P256PublicKey, Error> {
    let handles = public_objects(session, key)?;
    let what = format!("public keys with CKA_ID {}", hexadecimal(&key.id));
    read_public_key(session, key.role, exactly_one(&handles, what)?)
}

/// The public keys that belong to a private one, by their `CKA_ID`. A secret key has none.
pub(super) fn public_objects(session: &Session, key: &Candidate) -> Result<Vec<ObjectHandle>, Error> {
    match key.form {
        Form::Ecdsa | Form::Ecdh => {
            let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(key.id.clone())];
            session.find_objects(&template).map_err(failed)
        }
        Form::Aes => Ok(Vec::new()),
    }
}

fn exactly_one(handles: &[ObjectHandle], what: String) -> Result<ObjectHandle, Error> {
    match handles {
        [handle] => Ok(*handle),
        _ => Err(Error::KeyAmbiguous { what, count: handles.len() }),
    }
}

pub(super) fn read_id(session: &Session, key: ObjectHandle) -> Result<Vec<u8>, Error> {
    match read(session, key, AttributeType::Id)? {
        Some(Attribute::Id(id)) => Ok(id),
        _ => Ok(Vec::new()),
    }
}

/// The public key of `key`, a public-key object on P-256. `CKA_EC_POINT` is a DER octet string
/// around the point by the specification (PKCS#11 3.1 §6.3.3), and the bare point on some modules.
pub(super) fn read_public_key(session: &Session, role: Role, key: ObjectHandle) -> Result<P256PublicKey, Error> {
    let id = read_id(session, key)?;
    match read(session, key, AttributeType::EcParams)? {
        Some(Attribute::EcParams(params)) if params == P256_PARAMS => {}
        other => return Err(unacceptable(role, &id, "CKA_EC_PARAMS", &shown(other.as_ref()), "P-256")),
    }
    let Some(Attribute::EcPoint(point)) = read(session, key, AttributeType::EcPoint)? else {
        return Err(unacceptable(role, &id, "CKA_EC_POINT", "absent", "a point on P-256"));
    };
    let bare = match point.as_slice() {
        [0x04, 0x41, bare @ ..] if bare.len() == 65 => bare,
        bare => bare,
    };
    P256PublicKey::from_uncompressed(bare).map_err(|_| {
        unacceptable(role, &id, "CKA_EC_POINT", &format!("{} bytes", point.len()), "an uncompressed point")
    })
}

/// Refuses a key that could leave the token, whose history is not known to be inside it, or that
/// cannot do what its role needs (PKCS#11 3.1 §4.9, §4.10).
fn check(session: &Session, candidate: &Candidate, kid: &str, provenance: Provenance) -> Result<(), Error> {
    let Candidate { role, form, handle: key, .. } = *candidate;
    const WHAT_IT_IS: [(AttributeType, &str, bool); 2] =
        [(AttributeType::Extractable, "CKA_EXTRACTABLE", false), (AttributeType::Sensitive, "CKA_SENSITIVE", true)];
    const WHAT_IT_WAS: [(AttributeType, &str, bool); 3] = [
        (AttributeType::Local, "CKA_LOCAL", true),
        (AttributeType::AlwaysSensitive, "CKA_ALWAYS_SENSITIVE", true),
        (AttributeType::NeverExtractable, "CKA_NEVER_EXTRACTABLE", true),
    ];
    let refuse = |attribute, found: Option<bool>, expected: bool, remedy| Error::KeyUnacceptable {
        role: role.name(),
        kid: kid.to_owned(),
        attribute,
        found: found.map_or("absent".to_owned(), |value| value.to_string()),
        expected: expected.to_string(),
        remedy,
    };
    for (attribute, name, expected) in WHAT_IT_IS {
        let found = read_bool(session, key, attribute)?;
        if found != Some(expected) {
            return Err(refuse(name, found, expected, ""));
        }
    }
    for (attribute, name) in form.required_uses() {
        let found = read_bool(session, key, *attribute)?;
        if found != Some(true) {
            return Err(refuse(name, found, true, ""));
        }
    }
    for (attribute, name, expected) in WHAT_IT_WAS {
        let found = read_bool(session, key, attribute)?;
        if found == Some(expected) {
            continue;
        }
        match provenance {
            Provenance::GeneratedInDevice => {
                return Err(refuse(name, found, expected, ", or accept its past with allow_imported = true"));
            }
            Provenance::ImportedAllowed => tracing::warn!(
                role = role.name(),
                kid,
                attribute = name,
                "allow_imported: accepting a key that may have been outside the device"
            ),
        }
    }
    Ok(())
}

/// Whether `key`, a session copy, is still sensitive and cannot be extracted.
pub(super) fn cannot_leave(session: &Session, key: ObjectHandle) -> Result<bool, Error> {
    Ok(read_bool(session, key, AttributeType::Extractable)? == Some(false)
        && read_bool(session, key, AttributeType::Sensitive)? == Some(true))
}

fn read_bool(session: &Session, key: ObjectHandle, attribute: AttributeType) -> Result<Option<bool>, Error> {
    Ok(match read(session, key, attribute)? {
        Some(
            Attribute::Extractable(value)
            | Attribute::Sensitive(value)
            | Attribute::Local(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::NeverExtractable(value)
            | Attribute::Sign(value)
            | Attribute::Encrypt(value)
            | Attribute::Decrypt(value)
            | Attribute::Derive(value),
        ) => Some(value),
        _ => None,
    })
}

/// An attribute, or `None` where the token does not have or tell it.
fn read(session: &Session, key: ObjectHandle, attribute: AttributeType) -> Result<Option<Attribute>, Error> {
    Ok(session.get_attributes(key, &[attribute]).map_err(failed)?.pop())
}

fn unacceptable(role: Role, id: &[u8], attribute: &'static str, found: &str, expected: &str) -> Error {
    Error::KeyUnacceptable {
        role: role.name(),
        kid: hexadecimal(id),
        attribute,
        found: found.to_owned(),
        expected: expected.to_owned(),
        remedy: "",
    }
}

fn shown(attribute: Option<&Attribute>) -> String {
    attribute.map_or("absent".to_owned(), |attribute| format!("{attribute:?}"))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
