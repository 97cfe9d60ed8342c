//! Generating the keys in the token, with attributes that keep them there for good.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;

use super::keys::{P256_PARAMS, find_sealing, find_signing, labelled, read_public_key};
use super::{Pkcs11Settings, failed};
use crate::entropy::Entropy;
use crate::hardware::{Error, Generated, Role};

/// Generates the keys that are missing; tells which roles were there already. A run that fails half-way is
/// taken up by the next one.
pub(super) fn generate_missing(
    session: &Session,
    settings: &Pkcs11Settings,
    entropy: &dyn Entropy,
) -> Result<Generated, Error> {
    let has_signing = !labelled(session, Role::Signing, &settings.signing_label)?.is_empty();
    let has_sealing = !labelled(session, Role::Sealing, &settings.sealing_label)?.is_empty();
    // What is there has to be good before anything is added beside it.
    if has_signing {
        find_signing(session, settings)?;
    }
    if has_sealing {
        find_sealing(session, settings)?;
    }
    if !has_signing {
        generate_signing(session, &settings.signing_label)?;
    }
    if !has_sealing {
        generate_sealing(session, &settings.sealing_label, entropy)?;
    }
    Ok(Generated { signing: !has_signing, sealing: !has_sealing })
}

/// A P-256 key pair whose `CKA_ID` is the thumbprint of its public half.
fn generate_signing(session: &Session, label: &str) -> Result<(), Error> {
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
    // The thumbprint is known only now; CKA_ID may be set after generation (PKCS#11 3.1 §4.9).
    let named = read_public_key(session, public).and_then(|key| {
        let id = [Attribute::Id(key.thumbprint().to_vec())];
        session.update_attributes(public, &id).map_err(failed)?;
        session.update_attributes(private, &id).map_err(failed)
    });
    if named.is_err() {
        // A key without its id would only be in the way of the next attempt.
        let _ = session.destroy_object(private);
        let _ = session.destroy_object(public);
    }
    named
}

/// An AES-256 key with a random 128-bit `CKA_ID`.
fn generate_sealing(session: &Session, label: &str, entropy: &dyn Entropy) -> Result<(), Error> {
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
    session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)?;
    Ok(())
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
