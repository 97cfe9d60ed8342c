//! A TPM 2.0 as a [`Device`]. Its keys are kept outside of it, wrapped by it, in files that only it can use;
//! they are loaded when it is opened. tss-esapi is named here and below, and nowhere else.

mod attest;
mod connection;
mod generate;
mod key_file;
mod keys;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{
    Auth, Digest, EccParameter, EccPoint, HashScheme, Signature as TpmSignature, SignatureScheme,
};

use self::connection::{Connection, padded};
use self::key_file::KeyFile;
use super::attestation::{Attestation, Nonce};
use super::{Device, DeviceKeys, Error, Generated, PinnedPublicKey, Provenance, Role, Sealed, SealingKey, Session};
use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::jose::ecdh_es::{SharedSecret, seal};
use crate::jose::jwe::{FAMILY_BYTES, KeyManagement, NONCE_BYTES, PresentedJwe};
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;
use crate::secret_source::SecretSource;

/// The most that an authorization value may have: the digest of the keys' name algorithm, SHA-256
/// (TPM 2.0 Part 1 §17.6.4.2).
const MAX_AUTHORIZATION_BYTES: usize = 32;

const TRIAL: &[u8] = b"mintkeep trial";

/// How to reach a TPM, and which keys of it are mintkeep's.
#[derive(Clone, Debug)]
pub struct TpmSettings {
    /// The device's name in the configuration, for messages.
    pub name: String,
    /// How libtss2 reaches it, such as `device:/dev/tpmrm0`.
    pub tcti: String,
    /// The folder of the key files.
    pub keys: PathBuf,
    /// Where the authorization value of the keys is.
    pub authorization: SecretSource,
    /// How the authorization value is proven.
    pub protection: Protection,
    /// The name of the signing key's file, without `.pem`.
    pub signing_label: String,
    /// The name of the sealing key's file, without `.pem`.
    pub sealing_label: String,
    /// Which past of a key is accepted.
    pub provenance: Provenance,
}

/// What somebody who listens on the TPM's bus learns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// All of it, the authorization value too: for a TPM inside the processor.
    Plain,
    /// Nothing secret: a salted session proves the authorization value and encrypts the first parameter
    /// (TPM 2.0 Part 1 §19.6, §21). For a chip of its own.
    Encrypted,
}

impl TpmSettings {
    fn key_path(&self, role: Role) -> PathBuf {
        let label = match role {
            Role::Signing => &self.signing_label,
            Role::Sealing => &self.sealing_label,
        };
        self.keys.join(format!("{label}.pem"))
    }

    fn read_authorization(&self) -> Result<Auth, Error> {
        let unavailable =
            |reason: String| Error::AuthorizationUnavailable { origin: self.authorization.to_string(), reason };
        let secret = self.authorization.read().map_err(|error| unavailable(error.to_string()))?;
        let bytes = secrecy::ExposeSecret::expose_secret(&secret).as_bytes();
        if bytes.len() > MAX_AUTHORIZATION_BYTES {
            let length = bytes.len();
            return Err(unavailable(format!("it has {length} bytes, expected at the most {MAX_AUTHORIZATION_BYTES}")));
        }
        Auth::try_from(bytes).map_err(|error| unavailable(error.to_string()))
    }
}

/// An open TPM with its keys loaded. It does one thing at a time, so there is one session.
pub struct TpmDevice {
    description: String,
    keys: DeviceKeys,
    session: Mutex<Option<OpenSession>>,
}

impl TpmDevice {
    /// Reaches the TPM, loads the keys, checks them, and has each make one operation, the signature being
    /// verified. A refused authorization value is not tried again.
    ///
    /// # Errors
    /// [`Error`] names what is missing or refused.
    pub fn open(settings: &TpmSettings, entropy: &dyn Entropy) -> Result<Self, Error> {
        let files = (KeyFile::read(settings, Role::Signing)?, KeyFile::read(settings, Role::Sealing)?);
        let authorization = settings.read_authorization()?;
        let mut connection = Connection::open(settings, settings.protection)?;
        let (signing, signing_key) = keys::load(&mut connection, settings, Role::Signing, files.0, &authorization)?;
        let (sealing, sealing_key) = keys::load(&mut connection, settings, Role::Sealing, files.1, &authorization)?;
        connection.flush_primary()?;
        let description = connection.description();
        let mut session = OpenSession {
            connection,
            signing: (signing_key.kid(), signing),
            sealing: (sealing_key.kid(), sealing),
            keys: DeviceKeys::default(),
        };
        session.try_signing(signing_key)?;
        session.try_sealing(&sealing_key, entropy)?;
        let keys = DeviceKeys { signing: vec![signing_key], sealing: vec![SealingKey::EcdhEs(sealing_key)] };
        session.keys = keys.clone();
        Ok(Self { description, keys, session: Mutex::new(Some(session)) })
    }

    /// Generates the keys of `settings` whose files are not there, and then opens it as [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`]; a key that is there and unacceptable is refused and not replaced.
    pub fn open_with_new_keys(settings: &TpmSettings, entropy: &dyn Entropy) -> Result<(Self, Generated), Error> {
        let generated = generate::generate_missing(settings, entropy)?;
        Ok((Self::open(settings, entropy)?, generated))
    }
}

impl Device for TpmDevice {
    fn description(&self) -> &str {
        &self.description
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
    }

    fn open_session(&self) -> Result<Box<dyn Session>, Error> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let taken = || Error::Call {
            call: "opening a session".to_owned(),
            reason: "a TPM has one, and it is taken".to_owned(),
        };
        session.map(|session| Box::new(session) as Box<dyn Session>).ok_or_else(taken)
    }

    fn close(self: Box<Self>) {
        // The session, wherever it is, flushes what it loaded when it is dropped.
    }
}

/// The one session of a TPM. What it loaded is flushed when it is dropped.
struct OpenSession {
    connection: Connection,
    signing: (String, KeyHandle),
    sealing: (String, KeyHandle),
    keys: DeviceKeys,
}

fn key_named((kid, handle): &(String, KeyHandle), wanted: &str) -> Result<KeyHandle, Error> {
    (kid == wanted).then_some(*handle).ok_or_else(|| Error::UnknownKey(wanted.to_owned()))
}

impl OpenSession {
    fn try_signing(&mut self, key: P256PublicKey) -> Result<(), Error> {
        let pinned = PinnedPublicKey::new(key)
            .map_err(|error| Error::Call { call: "TPM2_ReadPublic".to_owned(), reason: error.to_string() })?;
        let hash = digest(&SHA256, TRIAL);
        let signature = self.sign(pinned.kid(), hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))?;
        pinned.verifies(TRIAL, &signature).then_some(()).ok_or(Error::WrongSignature)
    }

    fn try_sealing(&mut self, key: &P256PublicKey, entropy: &dyn Entropy) -> Result<(), Error> {
        let failed = |reason: &str| Error::Call { call: "TPM2_ECDH_ZGen".to_owned(), reason: reason.to_owned() };
        let text = seal(key, &[0; FAMILY_BYTES], TRIAL, entropy).map_err(|error| failed(&error.to_string()))?;
        let sealed = PresentedJwe::parse(&text).map_err(|error| failed(&error.to_string()))?;
        let KeyManagement::EcdhEs { epk } = sealed.key_management else {
            return Err(failed("no ephemeral key"));
        };
        let secret = self.agree(&sealed.kid, &epk)?;
        let aad = sealed.protected_header.as_bytes();
        let opened = secret.content_key().decrypt(&sealed.nonce, aad, &sealed.ciphertext_and_tag);
        let is_right = opened.is_some_and(|text| text.as_slice() == TRIAL);
        is_right.then_some(()).ok_or_else(|| failed("the agreement does not open what was sealed to its public key"))
    }
}

impl Session for OpenSession {
    fn sign(&mut self, kid: &str, digest: &[u8; 32]) -> Result<Signature, Error> {
        let key = key_named(&self.signing, kid)?;
        let call = "TPM2_Sign";
        let digest = Digest::try_from(digest.as_slice()).expect("32 bytes are a digest");
        // Said each time, because keys of other programs have none of their own.
        let scheme = SignatureScheme::EcDsa { hash_scheme: HashScheme::new(HashingAlgorithm::Sha256) };
        // No ticket: the key is not restricted (TPM 2.0 Part 3 §20.2).
        let made = self
            .connection
            .call(call, |context| context.sign(key, digest.clone(), scheme, connection::no_ticket()?))?;
        let TpmSignature::EcDsa(made) = made else {
            return Err(Error::Call { call: call.to_owned(), reason: "not an ECDSA signature".to_owned() });
        };
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(padded(made.signature_r(), call)?.as_slice());
        signature[32..].copy_from_slice(padded(made.signature_s(), call)?.as_slice());
        Ok(signature)
    }

    fn encrypt(&mut self, kid: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Sealed, Error> {
        // A TPM has no AEAD: whoever seals needs only the public key.
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn decrypt(&mut self, kid: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn agree(&mut self, kid: &str, epk: &P256PublicKey) -> Result<SharedSecret, Error> {
        let key = key_named(&self.sealing, kid)?;
        // Not left to the TPM: one that agrees with a point off the curve gives its key away bit by bit.
        if !epk.is_on_curve() {
            return Err(Error::NotAuthentic);
        }
        let call = "TPM2_ECDH_ZGen";
        let (x, y) = epk.as_uncompressed()[1..].split_at(32);
        let coordinate = |bytes: &[u8]| EccParameter::try_from(bytes).expect("32 bytes are a coordinate");
        let point = EccPoint::new(coordinate(x), coordinate(y));
        let agreed = self.connection.call(call, |context| context.ecdh_z_gen(key, point.clone()))?;
        Ok(SharedSecret::new(padded(agreed.x(), call)?))
    }

    fn generate(&mut self, role: Role) -> Result<(), Error> {
        Err(Error::Call { call: format!("generating a {} key", role.name()), reason: "not supported".to_owned() })
    }

    fn attest(&mut self, kid: &str, nonce: &Nonce, now: Timestamp) -> Result<Attestation, Error> {
        let (role, key) = match key_named(&self.signing, kid) {
            Ok(key) => (Role::Signing, key),
            Err(_) => (Role::Sealing, key_named(&self.sealing, kid)?),
        };
        attest::attest(&mut self.connection, role, key, nonce, now)
    }

    fn look_again(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
    }
}
