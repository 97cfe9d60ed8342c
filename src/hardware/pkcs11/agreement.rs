//! ECDH in a token: what a device without AES-GCM opens refresh tokens by.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as Pkcs11Session;
use secrecy::zeroize::Zeroizing;

use super::failed;
use crate::entropy::Entropy;
use crate::hardware::Error;
use crate::hardware::trial::try_agreement;
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwk::P256PublicKey;

/// DER of an octet string of 65 bytes begins so.
const DER_PREFIX: [u8; 2] = [0x04, 0x41];

const SECRET_BYTES: usize = 32;

/// How a key agrees.
pub(super) struct Agreement {
    pub(super) public: P256PublicKey,
    point: PointForm,
}

/// How the module wants the other side's point: every one has to take the first form (PKCS#11 3.1 §6.3.17), and some
/// take the other only.
#[derive(Clone, Copy)]
enum PointForm {
    Bare,
    OctetString,
}

impl Agreement {
    /// Finds the form in which the key agrees, and opens what was sealed to its public half.
    pub(super) fn probe(
        session: &Pkcs11Session,
        key: ObjectHandle,
        public: P256PublicKey,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let bare = Self { public, point: PointForm::Bare };
        let Err(refusal) = bare.try_out(session, key, entropy) else { return Ok(bare) };
        let wrapped = Self { public, point: PointForm::OctetString };
        wrapped.try_out(session, key, entropy).map(|()| wrapped).map_err(|_| refusal)
    }

    /// Opens what was sealed to the public half.
    pub(super) fn try_out(
        &self,
        session: &Pkcs11Session,
        key: ObjectHandle,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        try_agreement(&self.public, "C_DeriveKey", entropy, |epk| self.agree(session, key, epk))
    }

    /// The x coordinate of the agreed point. It is an object that can be read for as long as this takes.
    pub(super) fn agree(
        &self,
        session: &Pkcs11Session,
        key: ObjectHandle,
        epk: &P256PublicKey,
    ) -> Result<SharedSecret, Error> {
        let bare = epk.as_uncompressed();
        let point = match self.point {
            PointForm::Bare => bare.to_vec(),
            PointForm::OctetString => [&DER_PREFIX, &bare[..]].concat(),
        };
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &point));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen((SECRET_BYTES as u64).into()),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let derived = session.derive_key(&mechanism, key, &template).map_err(failed)?;
        let value = session.get_attributes(derived, &[AttributeType::Value]);
        session.destroy_object(derived).map_err(failed)?;
        let Some(Attribute::Value(value)) = value.map_err(failed)?.pop() else {
            return Err(unreadable("no value"));
        };
        let value = Zeroizing::new(value);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        if value.len() != secret.len() {
            return Err(unreadable(&format!("{} bytes, expected {SECRET_BYTES}", value.len())));
        }
        secret.copy_from_slice(&value);
        Ok(SharedSecret::new(secret))
    }
}

fn unreadable(reason: &str) -> Error {
    Error::Call { call: "C_GetAttributeValue of the agreed secret".to_owned(), reason: reason.to_owned() }
}
