//! The structures of TPM 2.0 that evidence is made of, read without a TPM and without its library: these bytes
//! come from whoever hands the evidence in. Everything but what our keys are is refused.

use aws_lc_rs::digest::{SHA256, digest};

use super::Flaw;
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::Signature;

const TPM_GENERATED_VALUE: u32 = 0xff54_4347;
const TPM_ST_ATTEST_CERTIFY: u16 = 0x8017;
const TPM_ALG_ECC: u16 = 0x0023;
const TPM_ALG_SHA256: u16 = 0x000b;
const TPM_ALG_ECDSA: u16 = 0x0018;
const TPM_ALG_NULL: u16 = 0x0010;
const TPM_ECC_NIST_P256: u16 = 0x0003;
const TPM_RH_ENDORSEMENT: u32 = 0x4000_000b;

/// What is left of a structure that is being read.
struct Reader<'a> {
    structure: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn flaw(&self, reason: &'static str) -> Flaw {
        Flaw::Structure { structure: self.structure, reason }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.flaw("it ends too early"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        self.bytes(N).map(|bytes| bytes.try_into().expect("as many as were asked for"))
    }

    fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_be_bytes)
    }

    /// A `TPM2B_…`.
    fn sized(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// A number of at most 32 bytes, leading zeroes dropped or not.
    fn number(&mut self) -> Result<[u8; 32], Flaw> {
        let bytes = self.sized()?;
        let mut number = [0; 32];
        let start = number.len().checked_sub(bytes.len()).ok_or_else(|| self.flaw("a number above 32 bytes"))?;
        number[start..].copy_from_slice(bytes);
        Ok(number)
    }

    fn expect(&mut self, value: u16, reason: &'static str) -> Result<(), Flaw> {
        if self.u16()? == value { Ok(()) } else { Err(self.flaw(reason)) }
    }

    fn end(self) -> Result<(), Flaw> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.flaw("it goes on behind its end")) }
    }
}

/// `TPMS_ATTEST` as `TPM2_Certify` makes it (TPM 2.0 Part 2 §10.12).
pub(super) struct Certification<'a> {
    pub(super) qualified_signer: &'a [u8],
    pub(super) extra_data: &'a [u8],
    pub(super) name: &'a [u8],
}

impl<'a> Certification<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let mut reader = Reader { structure: "attested", rest: bytes };
        if reader.u32()? != TPM_GENERATED_VALUE {
            return Err(reader.flaw("it does not begin with TPM_GENERATED_VALUE: no TPM made it"));
        }
        reader.expect(TPM_ST_ATTEST_CERTIFY, "it is not TPM_ST_ATTEST_CERTIFY")?;
        let qualified_signer = reader.sized()?;
        let extra_data = reader.sized()?;
        // TPMS_CLOCK_INFO (clock, resetCount, restartCount, safe), firmwareVersion.
        reader.bytes(8 + 4 + 4 + 1 + 8)?;
        let name = reader.sized()?;
        let _qualified_name = reader.sized()?;
        reader.end()?;
        Ok(Self { qualified_signer, extra_data, name })
    }
}

/// `TPMT_PUBLIC` of a P-256 key whose name is made by SHA-256 (TPM 2.0 Part 2 §12.2.4).
pub(super) struct PublicArea<'a> {
    bytes: &'a [u8],
    pub(super) attributes: Attributes,
    /// Whether its scheme is ECDSA with SHA-256; it has none otherwise.
    pub(super) is_ecdsa: bool,
    pub(super) point: P256PublicKey,
}

/// `TPMA_OBJECT` (TPM 2.0 Part 2 §8.3).
#[derive(Clone, Copy)]
pub(super) struct Attributes(u32);

impl Attributes {
    pub(super) fn fixed_tpm(self) -> bool {
        self.has(1)
    }

    pub(super) fn fixed_parent(self) -> bool {
        self.has(4)
    }

    pub(super) fn sensitive_data_origin(self) -> bool {
        self.has(5)
    }

    pub(super) fn restricted(self) -> bool {
        self.has(16)
    }

    pub(super) fn decrypt(self) -> bool {
        self.has(17)
    }

    pub(super) fn sign(self) -> bool {
        self.has(18)
    }

    fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }
}

impl<'a> PublicArea<'a> {
    pub(super) fn read(structure: &'static str, bytes: &'a [u8]) -> Result<Self, Flaw> {
        let mut reader = Reader { structure, rest: bytes };
        reader.expect(TPM_ALG_ECC, "it is not an ECC key")?;
        reader.expect(TPM_ALG_SHA256, "its name is not made by SHA-256")?;
        let attributes = Attributes(reader.u32()?);
        let _authorization_policy = reader.sized()?;
        // Only a key that wraps others has an algorithm here.
        reader.expect(TPM_ALG_NULL, "it is a key that wraps others")?;
        let is_ecdsa = match reader.u16()? {
            TPM_ALG_NULL => false,
            TPM_ALG_ECDSA => {
                reader.expect(TPM_ALG_SHA256, "its scheme is not ECDSA with SHA-256")?;
                true
            }
            _ => return Err(reader.flaw("its scheme is neither ECDSA nor none")),
        };
        reader.expect(TPM_ECC_NIST_P256, "it is not on P-256")?;
        reader.expect(TPM_ALG_NULL, "it has a key derivation scheme")?;
        let (x, y) = (reader.number()?, reader.number()?);
        reader.end()?;
        let point = P256PublicKey::from_uncompressed(&[&[4][..], &x, &y].concat()).expect("65 bytes that begin with 4");
        Ok(Self { bytes, attributes, is_ecdsa, point })
    }

    /// What names the key and all that is said of it (TPM 2.0 Part 1 §16).
    pub(super) fn name(&self) -> Vec<u8> {
        sha256_name(self.bytes)
    }

    /// The name of a primary key that says which hierarchy it is in.
    pub(super) fn name_below_endorsement(&self) -> Vec<u8> {
        sha256_name(&[&TPM_RH_ENDORSEMENT.to_be_bytes()[..], &self.name()].concat())
    }
}

/// The hash behind the algorithm that made it.
fn sha256_name(bytes: &[u8]) -> Vec<u8> {
    [&TPM_ALG_SHA256.to_be_bytes()[..], digest(&SHA256, bytes).as_ref()].concat()
}

/// `TPMT_SIGNATURE` by ECDSA with SHA-256 (TPM 2.0 Part 2 §11.3.4).
pub(super) fn read_signature(bytes: &[u8]) -> Result<Signature, Flaw> {
    let mut reader = Reader { structure: "signature", rest: bytes };
    reader.expect(TPM_ALG_ECDSA, "it is not by ECDSA")?;
    reader.expect(TPM_ALG_SHA256, "it is not over SHA-256")?;
    let (r, s) = (reader.number()?, reader.number()?);
    reader.end()?;
    Ok([r, s].concat().try_into().expect("64 bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certification::read(&bytes).is_ok();
            let _ = PublicArea::read("public", &bytes).is_ok();
            let _ = read_signature(&bytes).is_ok();
        }
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        let signature = [&[0, 0x18, 0, 0x0b, 0, 2, 7, 8, 0, 1, 9][..]].concat();
        let mut expected = [0; 64];
        (expected[30], expected[31], expected[63]) = (7, 8, 9);
        assert_eq!(read_signature(&signature), Ok(expected));
        for length in 0..signature.len() {
            assert!(read_signature(&signature[..length]).is_err(), "{length}");
        }
        assert!(read_signature(&[&signature[..], &[0]].concat()).is_err());
        assert!(read_signature(&[&[0, 0x18, 0, 0x0b, 0, 33][..], &[1; 33], &[0, 1, 9]].concat()).is_err());
    }
}
