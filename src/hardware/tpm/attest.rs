//! What the TPM certifies of a key.

use tss_esapi::abstraction::nv;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::structures::{CapabilityData, Data, SignatureScheme};
use tss_esapi::traits::Marshall as _;

use super::connection::{Connection, Refused};
use super::keys::attestation_key_template;
use crate::clock::Timestamp;
use crate::hardware::attestation::tpm::{EndorsementCertificate, TpmAttestation, TpmEvidence};
use crate::hardware::attestation::{Attestation, Base64Url, Expected, Nonce};
use crate::hardware::{Error, Provenance, Role};

/// Where the manufacturer leaves the certificates of the endorsement keys: RSA 2048, P-256 (TCG EK Credential
/// Profile 2.5 §2.2.1.4).
const ENDORSEMENT_CERTIFICATES: [u32; 2] = [0x01c0_0002, 0x01c0_000a];

/// Has the TPM certify `key`, which is loaded. This takes one further place for a moment.
pub(super) fn attest(
    connection: &mut Connection,
    role: Role,
    key: KeyHandle,
    nonce: &Nonce,
    now: Timestamp,
) -> Result<Attestation, Error> {
    let attestation_key = create_attestation_key(connection)?;
    let evidence = gather(connection, key, attestation_key, nonce);
    connection.flush(attestation_key)?;
    let failed = |reason: String| Error::Call { call: "TPM2_Certify".to_owned(), reason };
    let document = TpmAttestation::new(role, nonce, now, evidence?).map_err(|flaw| failed(flaw.to_string()))?;
    let document = Attestation::Tpm(Box::new(document));
    // Whether a key that was imported is acceptable was found out when it was loaded.
    let expected =
        Expected { nonce: Some(nonce.clone()), attestation_key: None, provenance: Provenance::ImportedAllowed };
    document.verify(&expected).map_err(|flaw| failed(flaw.to_string()))?;
    Ok(document)
}

/// It is made of the endorsement seed and a template alone, so it comes out the same each time, for as long as
/// there is this TPM: also after the TPM was cleared, which is what makes it worth writing down.
fn create_attestation_key(connection: &mut Connection) -> Result<KeyHandle, Error> {
    let call = "TPM2_CreatePrimary";
    let made = connection.call_with_empty(call, |context| {
        context.create_primary(Hierarchy::Endorsement, attestation_key_template()?, None, None, None, None)
    })?;
    made.map(|made| made.key_handle).map_err(|Refused| Error::Call {
        call: call.to_owned(),
        reason: "the TPM's endorsement hierarchy has an authorization value, and mintkeep makes its attestation key there without one; remove it with `tpm2_changeauth -c endorsement`".to_owned(),
    })
}

fn gather(
    connection: &mut Connection,
    key: KeyHandle,
    attestation_key: KeyHandle,
    nonce: &Nonce,
) -> Result<TpmEvidence, Error> {
    let mut public =
        |key| connection.call_without_session("TPM2_ReadPublic", |context| context.read_public(key)?.0.marshall());
    let (public, attestation_public) = (public(key)?, public(attestation_key)?);
    let nonce = Data::try_from(nonce.as_bytes()).expect("it has 32 bytes at the most");
    let (attested, signature) = connection.call_with_another("TPM2_Certify", |context| {
        // No scheme: that of the attestation key is used.
        let made = context.certify(key.into(), attestation_key, nonce.clone(), SignatureScheme::Null)?;
        Ok((made.0.marshall()?, made.1.marshall()?))
    })?;
    Ok(TpmEvidence {
        device: connection.description(),
        attested,
        signature,
        public,
        attestation_key: attestation_public,
        endorsement_certificates: endorsement_certificates(connection)?,
    })
}

/// Those that are there and may be read.
fn endorsement_certificates(connection: &mut Connection) -> Result<Vec<EndorsementCertificate>, Error> {
    let mut certificates = Vec::new();
    for index in ENDORSEMENT_CERTIFICATES {
        let (handles, _) = connection.call_without_session("TPM2_GetCapability", |context| {
            context.get_capability(CapabilityType::Handles, index, 1)
        })?;
        let handle = NvIndexTpmHandle::new(index).expect("an index of NV");
        if !matches!(handles, CapabilityData::Handles(found) if found.contains(&TpmHandle::NvIndex(handle))) {
            continue;
        }
        let read = connection.call_with_empty("TPM2_NV_Read", |context| {
            let authorizing = context.execute_without_session(|context| context.tr_from_tpm_public(handle.into()))?;
            nv::read_full(context, NvAuth::NvIndex(authorizing.into()), handle)
        });
        match read {
            Ok(Ok(certificate)) => certificates
                .push(EndorsementCertificate { index: format!("{index:#010x}"), certificate: Base64Url(certificate) }),
            Ok(Err(Refused)) => tracing::warn!(index, "the TPM does not let its endorsement certificate be read"),
            Err(error) => tracing::warn!(index, %error, "the TPM's endorsement certificate cannot be read"),
        }
    }
    Ok(certificates)
}
