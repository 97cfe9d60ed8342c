//! Generating the keys in the token, with attributes that keep them there for good.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::keys::{P256_PARAMS, candidates, check_sealing, check_signing, labelled, read_public_key};
use super::{Pkcs11Settings, failed};
use crate::entropy::Entropy;
use crate::hardware::{Error, Generated, Role};

/// A key that was just generated.
pub(super) struct Made {
    pub(super) handle: ObjectHandle,
    public: Option<ObjectHandle>,
}

impl Made {
    /// Takes it back, as far as the token still does what it is asked.
    pub(super) fn destroy(&self, session: &Session) {
        for object in [Some(self.handle), self.public].into_iter().flatten() {
            let _ = session.destroy_object(object);
        }
    }
}

/// Generates the keys that are missing; tells which roles were there already. A run that fails half-way is
/// taken up by the next one.
pub(super) fn generate_missing(
    session: &Session,
    settings: &Pkcs11Settings,
    entropy: &dyn Entropy,
) -> Result<Generated, Error> {
    let is_there = |role| Ok::<_, Error>(!labelled(session, role, settings.label(role))?.is_empty());
    let (has_signing, has_sealing) = (is_there(Role::Signing)?, is_there(Role::Sealing)?);
    // What is there has to be good before anything is added beside it.
    if has_signing {
        for key in candidates(session, Role::Signing, settings)? {
            check_signing(session, &key, settings.provenance)?;
        }
    }
    if has_sealing {
        for key in candidates(session, Role::Sealing, settings)? {
            check_sealing(session, &key, settings.provenance)?;
        }
    }
    for (role, is_there) in [(Role::Signing, has_signing), (Role::Sealing, has_sealing)] {
        if !is_there {
            generate(session, role, settings, entropy)?;
        }
    }
    Ok(Generated { signing: !has_signing, sealing: !has_sealing })
}

/// A new key of `role`, which nobody has checked yet.
pub(super) fn generate(
    session: &Session,
    role: Role,
    settings: &Pkcs11Settings,
    entropy: &dyn Entropy,
) -> Result<Made, Error> {
    match role {
        Role::Signing => generate_signing(session, settings.label(role)),
        Role::Sealing => generate_sealing(session, settings.label(role), entropy),
    }
}

/// A P-256 key pair whose `CKA_ID` is the thumbprint of its public half.
fn generate_signing(session: &Session, label: &str) -> Result<Made, Error> {
    let public_template = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(label.into()),
        Attribute::EcParams(P256_PARAMS.to_vec()),
    ];
    let mut private_template = unexportable(label);
    private_template.extend([
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    let (public, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public_template, &private_template).map_err(failed)?;
    let made = Made { handle: private, public: Some(public) };
    // The thumbprint is known only now; CKA_ID may be set after generation (PKCS#11 3.1 §4.9).
    let named = read_public_key(session, public).and_then(|key| {
        let id = [Attribute::Id(key.thumbprint().to_vec())];
        session.update_attributes(public, &id).map_err(failed)?;
        session.update_attributes(private, &id).map_err(failed)
    });
    if named.is_err() {
        // A key without its id would only be in the way of the next attempt.
        made.destroy(session);
    }
    named.map(|()| made)
}

/// An AES-256 key with a random 128-bit `CKA_ID`.
fn generate_sealing(session: &Session, label: &str, entropy: &dyn Entropy) -> Result<Made, Error> {
    let mut template = unexportable(label);
    template.extend([
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::ValueLen(32.into()),
        Attribute::Id(entropy.bytes::<16>().to_vec()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
    ]);
    let handle = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)?;
    Ok(Made { handle, public: None })
}

fn unexportable(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(label.into()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ]
}
