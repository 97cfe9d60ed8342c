//! Sign and agree by a loaded key, and trying a key for the first time.

use aws_lc_rs::digest::{SHA256, digest};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{Digest, EccParameter, EccPoint, HashScheme, Signature as TpmSignature, SignatureScheme};

use super::connection::{self, Connection, padded};
use crate::entropy::Entropy;
use crate::hardware::trial::{TRIAL, try_agreement};
use crate::hardware::{Error, PinnedPublicKey, Role};
use crate::jose::ecdh_es::SharedSecret;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

const ZGEN: &str = "TPM2_ECDH_ZGen";

pub(super) fn sign(connection: &mut Connection, key: KeyHandle, digest: &[u8; 32]) -> Result<Signature, Error> {
    let call = "TPM2_Sign";
    let digest = Digest::try_from(digest.as_slice()).expect("32 bytes are a digest");
    // Said each time, because keys of other programs have none of their own.
    let scheme = SignatureScheme::EcDsa { hash_scheme: HashScheme::new(HashingAlgorithm::Sha256) };
    // No ticket: the key is not restricted (TPM 2.0 Part 3 §20.2).
    let made = connection.call(call, |context| context.sign(key, digest.clone(), scheme, connection::no_ticket()?))?;
    let TpmSignature::EcDsa(made) = made else {
        return Err(Error::Call { call: call.to_owned(), reason: "not an ECDSA signature".to_owned() });
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(padded(made.signature_r(), call)?.as_slice());
    signature[32..].copy_from_slice(padded(made.signature_s(), call)?.as_slice());
    Ok(signature)
}

pub(super) fn agree(connection: &mut Connection, key: KeyHandle, epk: &P256PublicKey) -> Result<SharedSecret, Error> {
    let (x, y) = epk.as_uncompressed()[1..].split_at(32);
    let coordinate = |bytes: &[u8]| EccParameter::try_from(bytes).expect("32 bytes are a coordinate");
    let point = EccPoint::new(coordinate(x), coordinate(y));
    let agreed = connection.call(ZGEN, |context| context.ecdh_z_gen(key, point.clone()))?;
    Ok(SharedSecret::new(padded(agreed.x(), ZGEN)?))
}

/// Has a key make one operation of its role, and checks what came of it.
pub(super) fn try_out(
    connection: &mut Connection,
    role: Role,
    handle: KeyHandle,
    public: &P256PublicKey,
    entropy: &dyn Entropy,
) -> Result<(), Error> {
    match role {
        Role::Signing | Role::Delegated(_) => try_signing(connection, handle, public),
        Role::Sealing => try_agreement(public, ZGEN, entropy, |epk| agree(connection, handle, epk)),
    }
}

fn try_signing(connection: &mut Connection, handle: KeyHandle, public: &P256PublicKey) -> Result<(), Error> {
    let pinned = PinnedPublicKey::new(*public)
        .map_err(|error| Error::Call { call: "TPM2_ReadPublic".to_owned(), reason: error.to_string() })?;
    let hash = digest(&SHA256, TRIAL);
    let signature = sign(connection, handle, hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))?;
    pinned.verifies(TRIAL, &signature).then_some(()).ok_or(Error::WrongSignature)
}
