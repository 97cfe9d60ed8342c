//! The files that keys are kept in: `TSS2 PRIVATE KEY`, as tpm2-openssl and others read it. The private half
//! in it is encrypted by the TPM; the file is of no use without that TPM and the authorization value.

use std::fs;
use std::path::Path;

use der::asn1::{ObjectIdentifier, OctetString};
use der::pem::{LineEnding, PemLabel};
use der::{DecodePem as _, EncodePem as _, Sequence};

use super::folder::{refused, write};
use crate::hardware::Error;

/// `id-loadablekey` (TPM 2.0 Key Files §3.1).
const LOADABLE_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");

/// `TPM_RH_OWNER`: the parent is the standard storage key below the owner hierarchy, made anew for each use.
const OWNER: u32 = 0x4000_0001;

/// A key as the TPM gave it out: `TPM2B_PUBLIC` and `TPM2B_PRIVATE`, lengths included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KeyFile {
    pub(super) public: Vec<u8>,
    pub(super) private: Vec<u8>,
}

/// `TPMKey` of "ASN.1 Specification for TPM 2.0 Key Files", without what our keys do not have.
#[derive(Sequence)]
struct TpmKey {
    key_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    empty_auth: Option<bool>,
    parent: u32,
    public: OctetString,
    private: OctetString,
}

impl PemLabel for TpmKey {
    const PEM_LABEL: &'static str = "TSS2 PRIVATE KEY";
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| refused(path, error))?;
        Self::parse(&text).map_err(|reason| refused(path, reason))
    }

    /// Writes it to `path`, where nothing must be yet, readable by its owner only.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = self.to_pem().map_err(|error| refused(path, error))?;
        write(path, text.as_bytes())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let key = TpmKey::from_pem(text).map_err(|error| format!("not a TSS2 PRIVATE KEY: {error}"))?;
        if key.key_type != LOADABLE_KEY {
            return Err(format!("a key of type {}, expected a loadable one ({LOADABLE_KEY})", key.key_type));
        }
        if key.parent != OWNER {
            return Err(format!("its parent is {:#010x}, expected the owner hierarchy ({OWNER:#010x})", key.parent));
        }
        Ok(Self { public: key.public.into_bytes().into_vec(), private: key.private.into_bytes().into_vec() })
    }

    fn to_pem(&self) -> der::Result<String> {
        let key = TpmKey {
            key_type: LOADABLE_KEY,
            empty_auth: Some(false),
            parent: OWNER,
            public: OctetString::new(self.public.clone())?,
            private: OctetString::new(self.private.clone())?,
        };
        key.to_pem(LineEnding::LF)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let file = KeyFile { public: vec![0, 1, 2], private: vec![3; 100] };
        let text = file.to_pem().unwrap();
        assert!(text.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"), "{text}");
        assert_eq!(KeyFile::parse(&text), Ok(file));
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        let text = KeyFile { public: vec![1], private: vec![2] }.to_pem().unwrap();
        assert!(KeyFile::parse(&text.replace("TSS2 PRIVATE KEY", "PRIVATE KEY")).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(body in "[A-Za-z0-9+/=\n]{0,200}") {
            let _ = KeyFile::parse(&format!("-----BEGIN TSS2 PRIVATE KEY-----\n{body}\n-----END TSS2 PRIVATE KEY-----\n"));
        }
    }
}
