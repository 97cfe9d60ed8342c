//! What a TPM certifies of a key, and what that proves.

use serde::{Deserialize, Serialize};

use super::structures::{Certification, PublicArea, read_signature};
use super::{Base64Url, Expected, Flaw, Format, Nonce, Verified, check_kid};
use crate::clock::Timestamp;
use crate::hardware::{PinnedPublicKey, Provenance, Role};
use crate::jose::jwk::BareJwk;

/// What the document is worth, in the document.
const STANDING: &str = "a proof, as far as attestation_key is known to be the one of the TPM; device, created_at and endorsement_certificates are stated and not proven";

/// A key certified by `TPM2_Certify`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TpmAttestation {
    /// The version.
    pub format: Format,
    /// What this is worth, in words.
    pub standing: String,
    /// The key.
    pub kid: String,
    /// What it is for.
    pub role: Role,
    /// The public half.
    pub jwk: BareJwk,
    /// What whoever asked made up.
    pub nonce: Nonce,
    /// When, by the clock of the machine.
    pub created_at: Timestamp,
    /// What the TPM calls itself.
    pub device: String,
    /// `TPMS_ATTEST`.
    pub attested: Base64Url,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Base64Url,
    /// `TPMT_PUBLIC` of the key.
    pub public: Base64Url,
    /// `TPMT_PUBLIC` of the key that signed.
    pub attestation_key: Base64Url,
    /// The certificates of the endorsement keys that the manufacturer left in the TPM.
    pub endorsement_certificates: Vec<EndorsementCertificate>,
}

/// A certificate that the manufacturer left in the TPM.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsementCertificate {
    /// The NV index that it is kept in, in hexadecimal.
    pub index: String,
    /// X.509, in DER.
    pub certificate: Base64Url,
}

/// What a TPM made of one key.
#[cfg(feature = "tpm")]
pub(in crate::hardware) struct TpmEvidence {
    pub(in crate::hardware) device: String,
    pub(in crate::hardware) attested: Vec<u8>,
    pub(in crate::hardware) signature: Vec<u8>,
    pub(in crate::hardware) public: Vec<u8>,
    pub(in crate::hardware) attestation_key: Vec<u8>,
    pub(in crate::hardware) endorsement_certificates: Vec<EndorsementCertificate>,
}

impl TpmAttestation {
    /// The document of `evidence`, which is not checked yet.
    #[cfg(feature = "tpm")]
    pub(in crate::hardware) fn new(
        role: Role,
        nonce: &Nonce,
        created_at: Timestamp,
        evidence: TpmEvidence,
    ) -> Result<Self, Flaw> {
        let key = PublicArea::read("public", &evidence.public)?.point;
        Ok(Self {
            format: Format::One,
            standing: STANDING.to_owned(),
            kid: key.kid(),
            role,
            jwk: key.into(),
            nonce: nonce.clone(),
            created_at,
            device: evidence.device,
            attested: Base64Url(evidence.attested),
            signature: Base64Url(evidence.signature),
            public: Base64Url(evidence.public),
            attestation_key: Base64Url(evidence.attestation_key),
            endorsement_certificates: evidence.endorsement_certificates,
        })
    }

    pub(super) fn verify(&self, expected: &Expected) -> Result<Verified, Flaw> {
        if self.standing != STANDING {
            return Err(Flaw::Standing);
        }
        let certification = Certification::read(&self.attested.0)?;
        let public = PublicArea::read("public", &self.public.0)?;
        let attestation_key = PublicArea::read("attestation_key", &self.attestation_key.0)?;
        if certification.name != public.name() {
            return Err(Flaw::Name);
        }
        if check_kid(&self.kid, &self.jwk)? != public.point {
            return Err(Flaw::Point);
        }
        if certification.extra_data != self.nonce.as_bytes() {
            return Err(Flaw::Nonce);
        }
        // Who can make a key of this name can make any statement by it; but in a TPM it can only be a primary key.
        if certification.qualified_signer != attestation_key.name_below_endorsement() {
            return Err(Flaw::Signer);
        }
        check_attestation_key(&attestation_key)?;
        if let Some(expected) = expected.attestation_key
            && expected != attestation_key.point
        {
            return Err(Flaw::AttestationKey { found: attestation_key.point.kid(), expected: expected.kid() });
        }
        let signature = read_signature(&self.signature.0)?;
        let signer = PinnedPublicKey::new(attestation_key.point).map_err(|_| Flaw::Signature)?;
        if !signer.verifies(&self.attested.0, &signature) {
            return Err(Flaw::Signature);
        }
        check_key(&public, self.role)?;
        let is_generated = public.attributes.sensitive_data_origin();
        if !is_generated && expected.provenance == Provenance::GeneratedInDevice {
            return Err(Flaw::Imported { attribute: "sensitiveDataOrigin".to_owned(), found: "false".to_owned() });
        }
        Ok(self.verified(expected, is_generated, signer.kid(), attestation_key.point.into()))
    }

    fn verified(&self, expected: &Expected, is_generated: bool, signer: &str, signed_by: BareJwk) -> Verified {
        let holder = format!("the TPM that has the attestation key {signer}");
        let mut proven = vec![format!("the private key is in {holder}, and cannot leave it (fixedTPM, fixedParent)")];
        let mut not_proven = Vec::new();
        match is_generated {
            true => proven.push("it was generated there (sensitiveDataOrigin)".to_owned()),
            false => {
                not_proven.push("that it was never outside: it was imported (sensitiveDataOrigin is false)".to_owned())
            }
        }
        match expected.attestation_key {
            Some(_) => {
                proven.push("the attestation key is the expected one".to_owned());
                not_proven.push(
                    "that the expected attestation key is one of a genuine TPM: whoever wrote it down has to know"
                        .to_owned(),
                );
            }
            None => not_proven.push(format!(
                "that {signer} is the attestation key of a genuine TPM, since anybody can make one in software: compare it with the one that was written down when the machine was set up (--attestation-key)"
            )),
        }
        not_proven.push("what the machine states: device, created_at, endorsement_certificates".to_owned());
        let (kid, role) = (self.kid.clone(), self.role);
        Verified { kid, role, standing: "proof", proven, not_proven, signed_by }
    }
}

/// A restricted key signs nothing from outside that begins like a statement of the TPM (TPM 2.0 Part 1 §25.1.5), and
/// that alone makes its signatures statements.
fn check_attestation_key(key: &PublicArea<'_>) -> Result<(), Flaw> {
    let required = [
        ("fixedTPM", key.attributes.fixed_tpm(), true),
        ("fixedParent", key.attributes.fixed_parent(), true),
        ("sensitiveDataOrigin", key.attributes.sensitive_data_origin(), true),
        ("restricted", key.attributes.restricted(), true),
        ("sign", key.attributes.sign(), true),
        ("decrypt", key.attributes.decrypt(), false),
        ("scheme is ECDSA", key.is_ecdsa, true),
    ];
    require("attestation_key", &required)
}

fn check_key(key: &PublicArea<'_>, role: Role) -> Result<(), Flaw> {
    let signs = role.signs();
    let required = [
        ("fixedTPM", key.attributes.fixed_tpm(), true),
        ("fixedParent", key.attributes.fixed_parent(), true),
        ("restricted", key.attributes.restricted(), false),
        ("sign", key.attributes.sign(), signs),
        ("decrypt", key.attributes.decrypt(), !signs),
    ];
    require("the key", &required)
}

fn require(whose: &'static str, required: &[(&str, bool, bool)]) -> Result<(), Flaw> {
    match required.iter().find(|(_, found, expected)| found != expected) {
        Some((attribute, found, expected)) => Err(Flaw::Attribute {
            whose,
            attribute: (*attribute).to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature, SigningKey};

    use super::*;
    use crate::hardware::attestation::Attestation;
    use crate::jose::jwk::P256PublicKey;

    // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA; sign.
    const UNMOVABLE: u32 = 0x0472;
    const SIGN: u32 = 1 << 18;
    const DECRYPT: u32 = 1 << 17;
    const RESTRICTED: u32 = 1 << 16;
    const ENDORSEMENT: u32 = 0x4000_000b;
    const OWNER: u32 = 0x4000_0001;

    /// A statement that software makes of itself: what anybody can make.
    struct Forgery {
        key: u32,
        attestation_key: u32,
        hierarchy: u32,
        magic: u32,
        kind: u16,
    }

    impl Default for Forgery {
        fn default() -> Self {
            Self {
                key: UNMOVABLE | SIGN,
                attestation_key: UNMOVABLE | SIGN | RESTRICTED,
                hierarchy: ENDORSEMENT,
                magic: 0xff54_4347,
                kind: 0x8017,
            }
        }
    }

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn public_area(attributes: u32, scheme: &[u8], key: &SigningKey) -> Vec<u8> {
        let point = key.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let head = [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0], &[0, 0x10], scheme];
        [head.concat(), vec![0, 3, 0, 0x10], sized(x), sized(y)].concat()
    }

    fn name(bytes: &[u8]) -> Vec<u8> {
        [&[0, 0x0b][..], aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()].concat()
    }

    impl Forgery {
        fn document(&self, role: Role) -> TpmAttestation {
            let (key, signer) = (SigningKey::from_slice(&[7; 32]).unwrap(), SigningKey::from_slice(&[8; 32]).unwrap());
            let ecdsa = [0, 0x18, 0, 0x0b];
            let public = public_area(self.key, &ecdsa, &key);
            let attestation_key = public_area(self.attestation_key, &ecdsa, &signer);
            let nonce = Nonce::new(&[5; 16]).unwrap();
            let qualified = name(&[&self.hierarchy.to_be_bytes()[..], &name(&attestation_key)].concat());
            let attested = [
                &self.magic.to_be_bytes()[..],
                &self.kind.to_be_bytes(),
                &sized(&qualified),
                &sized(nonce.as_bytes()),
                &[0; 25],
                &sized(&name(&public)),
                &sized(&[0, 0x0b]),
            ]
            .concat();
            let signature: Signature = signer.sign(&attested);
            let (r, s) = signature.split_bytes();
            let point = key.verifying_key().to_sec1_point(false);
            let point = P256PublicKey::from_uncompressed(point.as_bytes()).unwrap();
            TpmAttestation {
                format: Format::One,
                standing: STANDING.to_owned(),
                kid: point.kid(),
                role,
                jwk: point.into(),
                nonce,
                created_at: Timestamp::from_unix_seconds(1),
                device: "software".to_owned(),
                attested: Base64Url(attested),
                signature: Base64Url([&ecdsa[..], &sized(&r), &sized(&s)].concat()),
                public: Base64Url(public),
                attestation_key: Base64Url(attestation_key),
                endorsement_certificates: Vec::new(),
            }
        }

        fn verify(&self) -> Result<Verified, Flaw> {
            verify(self.document(Role::Signing), Provenance::GeneratedInDevice)
        }
    }

    fn verify(document: TpmAttestation, provenance: Provenance) -> Result<Verified, Flaw> {
        Attestation::Tpm(Box::new(document)).verify(&Expected { nonce: None, attestation_key: None, provenance })
    }

    #[test]
    fn what_software_makes_of_itself_is_good_only_as_far_as_its_attestation_key_is() {
        let document = Forgery::default().document(Role::Signing);
        let verified = verify(document.clone(), Provenance::GeneratedInDevice).unwrap();
        assert!(verified.not_proven.iter().any(|text| text.contains("anybody can make one in software")));
        let another = SigningKey::from_slice(&[6; 32]).unwrap().verifying_key().to_sec1_point(false);
        let attestation_key = P256PublicKey::from_uncompressed(another.as_bytes()).ok();
        let expected = Expected { nonce: None, attestation_key, provenance: Provenance::GeneratedInDevice };
        let flaw = Attestation::Tpm(Box::new(document)).verify(&expected).unwrap_err();
        assert!(matches!(flaw, Flaw::AttestationKey { .. }), "{flaw}");
    }

    #[test]
    fn each_attribute_that_the_proof_rests_on_is_looked_at() {
        let attribute = |forgery: Forgery| match forgery.verify() {
            Err(Flaw::Attribute { whose, attribute, .. }) => (whose, attribute),
            other => panic!("{other:?}"),
        };
        for (bit, name) in [(1, "fixedTPM"), (4, "fixedParent"), (16, "restricted"), (18, "sign"), (17, "decrypt")] {
            let of_key = Forgery { key: (UNMOVABLE | SIGN) ^ (1 << bit), ..Forgery::default() };
            assert_eq!(attribute(of_key), ("the key", name.to_owned()));
        }
        for (bit, name) in [
            (1, "fixedTPM"),
            (4, "fixedParent"),
            (5, "sensitiveDataOrigin"),
            (16, "restricted"),
            (18, "sign"),
            (17, "decrypt"),
        ] {
            let changed = (UNMOVABLE | SIGN | RESTRICTED) ^ (1 << bit);
            let of_signer = Forgery { attestation_key: changed, ..Forgery::default() };
            assert_eq!(attribute(of_signer), ("attestation_key", name.to_owned()));
        }
        let sealing = Forgery { key: UNMOVABLE | DECRYPT, ..Forgery::default() };
        assert!(verify(sealing.document(Role::Sealing), Provenance::GeneratedInDevice).is_ok());
        assert!(verify(sealing.document(Role::Signing), Provenance::GeneratedInDevice).is_err());
    }

    #[test]
    fn an_imported_key_is_refused_unless_that_is_allowed_and_then_said() {
        let imported = Forgery { key: (UNMOVABLE | SIGN) ^ (1 << 5), ..Forgery::default() };
        assert!(matches!(imported.verify(), Err(Flaw::Imported { .. })));
        let verified = verify(imported.document(Role::Signing), Provenance::ImportedAllowed).unwrap();
        assert!(verified.not_proven[0].contains("it was imported"), "{:?}", verified.not_proven);
    }

    #[test]
    fn a_statement_of_another_kind_or_of_a_key_below_another_hierarchy_is_refused() {
        assert_eq!(Forgery { hierarchy: OWNER, ..Forgery::default() }.verify().unwrap_err(), Flaw::Signer);
        for forgery in
            [Forgery { magic: 0xff54_4348, ..Forgery::default() }, Forgery { kind: 0x8018, ..Forgery::default() }]
        {
            assert!(matches!(forgery.verify(), Err(Flaw::Structure { structure: "attested", .. })));
        }
    }

    #[test]
    fn the_parts_of_two_documents_do_not_go_together() {
        let sound = Forgery::default().document(Role::Signing);
        let other = Forgery { key: UNMOVABLE | DECRYPT, ..Forgery::default() }.document(Role::Sealing);
        let refused = |document| verify(document, Provenance::GeneratedInDevice).unwrap_err();
        assert_eq!(refused(TpmAttestation { public: other.public, ..sound.clone() }), Flaw::Name);
        assert_eq!(refused(TpmAttestation { signature: other.signature, ..sound.clone() }), Flaw::Signature);
        assert_eq!(refused(TpmAttestation { nonce: Nonce::new(&[6; 16]).unwrap(), ..sound.clone() }), Flaw::Nonce);
        let words = "a proof".to_owned();
        assert_eq!(refused(TpmAttestation { standing: words, ..sound.clone() }), Flaw::Standing);
        let another = P256PublicKey::from_uncompressed(&[4; 65]).unwrap();
        let (kid, jwk) = (another.kid(), BareJwk::from(another));
        assert!(matches!(refused(TpmAttestation { kid: kid.clone(), ..sound.clone() }), Flaw::Kid { .. }));
        assert_eq!(refused(TpmAttestation { kid, jwk, ..sound }), Flaw::Point);
    }
}
