//! The files that keys are kept in: `TSS2 PRIVATE KEY`, as tpm2-openssl and others read it. The private half
//! in it is encrypted by the TPM; the file is of no use without that TPM and the authorization value.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use der::asn1::{ObjectIdentifier, OctetString};
use der::pem::{LineEnding, PemLabel};
use der::{DecodePem as _, EncodePem as _, Sequence};

use super::TpmSettings;
use crate::hardware::{Error, KeyName, Role};
use crate::jose::base64url;

/// `id-loadablekey` (TPM 2.0 Key Files §3.1).
const LOADABLE_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");

/// `TPM_RH_OWNER`: the parent is the standard storage key below the owner hierarchy, made anew for each use.
const OWNER: u32 = 0x4000_0001;

/// The files of the keys of `role`: `LABEL.pem` and `LABEL.KID.pem`. None where there are none.
pub(super) fn files(settings: &TpmSettings, role: Role) -> Result<Vec<PathBuf>, Error> {
    let label = settings.label(role);
    let names = names(settings)?.into_iter().filter(|name| is_key_of(name, &label));
    Ok(names.map(|name| settings.keys.join(name)).collect())
}

/// The files of all keys for front-ends: `LABEL:PROFILE.KID.pem` and `LABEL:PROFILE:NAME.KID.pem`.
pub(super) fn delegated_files(settings: &TpmSettings) -> Result<Vec<(KeyName, PathBuf)>, Error> {
    let names = names(settings)?.into_iter();
    let delegated = names.filter_map(|file| Some((name_in(&file, &settings.delegated_label)?, file)));
    Ok(delegated.map(|(name, file)| (name, settings.keys.join(file))).collect())
}

/// All names in the folder, in order: that of a folder is none.
fn names(settings: &TpmSettings) -> Result<Vec<String>, Error> {
    let folder = &settings.keys;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // What is not text is none of ours.
        names.extend(entry.map_err(|error| refused(folder, error))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn is_key_of(name: &str, label: &str) -> bool {
    let Some(between) = name.strip_prefix(label).and_then(|rest| rest.strip_suffix(".pem")) else { return false };
    // A label may have dots of its own; no other label ends like a thumbprint.
    between.is_empty() || between.strip_prefix('.').is_some_and(is_kid)
}

/// The name of the key for front-ends that is kept in the file `file`, where that is one. Such a file is always called
/// by its `kid` too, because a name may end like one.
fn name_in(file: &str, label: &str) -> Option<KeyName> {
    let (name, kid) = file.strip_prefix(label)?.strip_prefix(':')?.strip_suffix(".pem")?.rsplit_once('.')?;
    if !is_kid(kid) {
        return None;
    }
    match name.split_once(':') {
        Some((profile, created)) => KeyName::created(profile, created).ok(),
        None => KeyName::parse(name).ok().filter(|name| name.created_name().is_none()),
    }
}

fn is_kid(text: &str) -> bool {
    base64url::decode_array::<32>(text).is_ok()
}

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
        write_private(path, text.as_bytes()).map_err(|error| refused(path, error))
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

/// Writes a new file that only its owner can read. It has its name only when it is complete.
pub(super) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    // Unlike a rename this fails where somebody else was quicker.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked?;
    sync_folder(path)
}

/// Removes a key for good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).and_then(|()| sync_folder(path)).map_err(|error| refused(path, error))
}

/// Without this a name, or that it is gone, may not outlive a power cut.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What is wrong with the file at `path`.
pub(super) fn refused(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::KeyFile { path: path.display().to_string(), reason: reason.to_string() }
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

    #[test]
    fn the_files_of_a_label_are_its_own() {
        let kid = base64url::encode([7; 32]);
        for (name, is_one) in [
            ("a.b.pem".to_owned(), true),
            (format!("a.b.{kid}.pem"), true),
            (format!("a.{kid}.pem"), false),
            ("a.pem".to_owned(), false),
            ("a.b.c.pem".to_owned(), false),
            ("a.b.pem.new".to_owned(), false),
            (format!("a.b{kid}.pem"), false),
        ] {
            assert_eq!(is_key_of(&name, "a.b"), is_one, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_key_for_front_ends_is_in_its_file() {
        let kid = base64url::encode([7; 32]);
        for (file, name) in [
            (format!("d:dex.{kid}.pem"), Some("dex")),
            (format!("d:spire:a.b.{kid}.pem"), Some("spire/a.b")),
            // A name that ends like a thumbprint is told apart by the one after it.
            (format!("d:dex.{kid}.{kid}.pem"), Some(&*format!("dex.{kid}"))),
            ("d:dex.pem".to_owned(), None),
            (format!("d:dex:a:b.{kid}.pem"), None),
            (format!("d:dex/a.{kid}.pem"), None),
            (format!("d:.{kid}.pem"), None),
            (format!("e:dex.{kid}.pem"), None),
        ] {
            assert_eq!(name_in(&file, "d").map(|name| name.to_string()).as_deref(), name, "{file}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(body in "[A-Za-z0-9+/=\n]{0,200}") {
            let _ = KeyFile::parse(&format!("-----BEGIN TSS2 PRIVATE KEY-----\n{body}\n-----END TSS2 PRIVATE KEY-----\n"));
        }
    }
}
