//! Generating the keys in the token, with attributes that keep them there for good.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::failed;
use super::keys::{Form, P256_PARAMS, read_public_key};
use crate::entropy::Entropy;
use crate::hardware::{Error, Role};

/// What the label of a key ends with while it is being made.
const UNFINISHED: &str = " (unfinished)";

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

/// A new key of this form, which nobody has checked yet.
pub(super) fn generate(session: &Session, form: Form, label: &str, entropy: &dyn Entropy) -> Result<Made, Error> {
    match form {
        Form::Ecdsa => generate_pair(session, Use::Sign, label),
        Form::Aes => generate_secret(session, label, entropy),
        Form::Ecdh => generate_pair(session, Use::Derive, label),
    }
}

/// What a P-256 key may do, and nothing else.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Use {
    Sign,
    Derive,
}

/// A P-256 key pair whose `CKA_ID` is the thumbprint of its public half.
///
/// It gets its label last, the private half after the public one: where this process ends half-way, what is left has
/// another label, and stands in nobody's way.
fn generate_pair(session: &Session, its_use: Use, label: &str) -> Result<Made, Error> {
    let unfinished = format!("{label}{UNFINISHED}");
    let public_template = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(unfinished.clone().into()),
        Attribute::EcParams(P256_PARAMS.to_vec()),
    ];
    let mut private_template = unexportable(&unfinished);
    private_template.extend([
        Attribute::Sign(its_use == Use::Sign),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(its_use == Use::Derive),
    ]);
    let (public, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public_template, &private_template).map_err(failed)?;
    let made = Made { handle: private, public: Some(public) };
    let role = if its_use == Use::Sign { Role::Signing } else { Role::Sealing };
    // The thumbprint is known only now; CKA_ID may be set after generation (PKCS#11 3.1 §4.9).
    let named = read_public_key(session, role, public).and_then(|key| {
        let id = Attribute::Id(key.thumbprint().to_vec());
        let label = Attribute::Label(label.into());
        for (object, attribute) in [(public, &id), (private, &id), (public, &label), (private, &label)] {
            session.update_attributes(object, std::slice::from_ref(attribute)).map_err(failed)?;
        }
        Ok(())
    });
    if named.is_err() {
        // A key without its id would only be in the way of the next attempt.
        made.destroy(session);
    }
    named.map(|()| made)
}

/// An AES-256 key with a random 128-bit `CKA_ID`.
fn generate_secret(session: &Session, label: &str, entropy: &dyn Entropy) -> Result<Made, Error> {
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
