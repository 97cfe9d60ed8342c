//! What is remembered of a PIN whose success is not known: it was refused, or the process ended while it was tried.
//! It is not tried again on the same token, whatever is restarted how often, until it changes or somebody vouches.
//!
//! It is on the disk before a PIN is tried, and gone when the PIN was right. So what lies there for longer is the hash
//! of a PIN that did not work.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::pbkdf2;
use nix::fcntl::{Flock, FlockArg};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Error, PinTrust};
use crate::entropy::Entropy;
use crate::jose::base64url;

/// PBKDF2-HMAC-SHA-256 of this many rounds: a PIN is short, so each guess has to cost something. So does each start.
const ROUNDS: NonZeroU32 = NonZeroU32::new(200_000).expect("it is not zero");

/// A PIN that is being tried. Others who want to try one on a token of the same folder wait meanwhile.
pub(super) struct PinTrial {
    file: PathBuf,
    record: Record,
    _lock: Flock<File>,
}

/// How a trial went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The PIN is right.
    Right,
    /// The token did not look at it.
    NotTried,
    /// It is wrong, or may be.
    Refused,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Of the token.
    serial: String,
    rounds: NonZeroU32,
    salt: String,
    /// Of the PIN.
    hash: String,
    /// False while it is being tried, and for good where the process ended before there was an answer.
    refused: bool,
}

impl PinTrial {
    /// Remembers in `folder` that `pin` is about to be tried on the token `serial`. Waits where somebody else is
    /// trying one.
    ///
    /// # Errors
    /// [`TrialRefused::Remembered`] where it was tried before and `trust` is not enough to try it again;
    /// [`TrialRefused::Io`] where that cannot be known or remembered. The PIN must then not be tried.
    pub(super) fn begin(
        folder: &Path,
        serial: &str,
        pin: &SecretString,
        trust: PinTrust,
        entropy: &dyn Entropy,
    ) -> Result<Self, TrialRefused> {
        // A lock on the folder itself leaves no file behind.
        let lock = Flock::lock(File::open(folder)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        // A serial number may have any character.
        let file = folder.join(format!("pin-trial-{}", base64url::encode(serial)));
        let before = match fs::read(&file) {
            Ok(bytes) => Some(serde_json::from_slice::<Record>(&bytes).map_err(io::Error::other)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let same = before.filter(|before| before.serial == serial && before.is_of(pin));
        let may_be_tried = match (&same, trust) {
            (None, _) | (Some(_), PinTrust::Vouched) => true,
            // Ended by somebody else's hand, which the mint knows: it brings back no other.
            (Some(before), PinTrust::WorkedBefore) => !before.refused,
            (Some(_), PinTrust::Unproven) => false,
        };
        if !may_be_tried {
            return Err(TrialRefused::Remembered);
        }
        let record = same.unwrap_or_else(|| Record::new(serial, pin, entropy));
        let trial = Self { file, record: Record { refused: false, ..record }, _lock: lock };
        trial.write()?;
        Ok(trial)
    }

    /// Remembers, or forgets, what came of it.
    ///
    /// # Errors
    /// The disk's. What was remembered at the beginning is then still there.
    pub(super) fn end(mut self, outcome: Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Right | Outcome::NotTried => {
                fs::remove_file(&self.file)?;
                sync_folder(&self.file)
            }
            Outcome::Refused => {
                self.record.refused = true;
                self.write()
            }
        }
    }

    /// Whole or not at all, and on the disk.
    fn write(&self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        // What a crash left of one would keep its mode.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&self.record)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        sync_folder(&self.file)
    }
}

fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(file.parent().expect("it is in a folder"))?.sync_all()
}

impl Record {
    fn new(serial: &str, pin: &SecretString, entropy: &dyn Entropy) -> Self {
        let salt = base64url::encode(entropy.bytes::<16>());
        let hash = hash(ROUNDS, &salt, pin);
        Self { serial: serial.to_owned(), rounds: ROUNDS, salt, hash, refused: false }
    }

    fn is_of(&self, pin: &SecretString) -> bool {
        hash(self.rounds, &self.salt, pin) == self.hash
    }
}

fn hash(rounds: NonZeroU32, salt: &str, pin: &SecretString) -> String {
    let mut hash = [0; 32];
    let pin = pin.expose_secret().as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt.as_bytes(), pin, &mut hash);
    base64url::encode(hash)
}

/// Why a PIN must not be tried now.
#[derive(Debug)]
pub(super) enum TrialRefused {
    /// It was before.
    Remembered,
    /// The folder cannot be read or written.
    Io(io::Error),
}

impl TrialRefused {
    /// The same, for the operator: of the PIN that `origin` has, and of `folder`.
    pub(super) fn into_error(self, origin: &str, folder: &Path) -> Error {
        match self {
            Self::Remembered => Error::PinRemembered { origin: origin.to_owned() },
            Self::Io(error) => Error::PinMemory { folder: folder.display().to_string(), reason: error.to_string() },
        }
    }
}

impl From<io::Error> for TrialRefused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<nix::errno::Errno> for TrialRefused {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Io(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::entropy::SystemEntropy;

    fn begin(folder: &Path, pin: &str, trust: PinTrust) -> Result<PinTrial, TrialRefused> {
        PinTrial::begin(folder, "a/b", &SecretString::from(pin), trust, &SystemEntropy::new())
    }

    fn is_remembered(begun: Result<PinTrial, TrialRefused>) -> bool {
        matches!(begun, Err(TrialRefused::Remembered))
    }

    #[test]
    fn a_pin_that_was_refused_is_tried_again_only_where_an_operator_vouches() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path(), "1234", PinTrust::Unproven).unwrap().end(Outcome::Refused).unwrap();
        assert!(is_remembered(begin(folder.path(), "1234", PinTrust::Unproven)));
        assert!(is_remembered(begin(folder.path(), "1234", PinTrust::WorkedBefore)));
        begin(folder.path(), "1234", PinTrust::Vouched).unwrap().end(Outcome::Right).unwrap();
        begin(folder.path(), "1234", PinTrust::Unproven).unwrap().end(Outcome::NotTried).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of a PIN that is right");
    }

    #[test]
    fn a_trial_without_an_end_counts_until_the_pin_changes() {
        let folder = tempfile::tempdir().unwrap();
        drop(begin(folder.path(), "1234", PinTrust::Unproven).unwrap());
        assert!(is_remembered(begin(folder.path(), "1234", PinTrust::Unproven)));
        drop(begin(folder.path(), "1234", PinTrust::WorkedBefore).unwrap());
        begin(folder.path(), "5678", PinTrust::Unproven).unwrap().end(Outcome::Right).unwrap();
    }

    #[test]
    fn the_record_is_its_owners_only_and_does_not_have_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        drop(begin(folder.path(), "314159", PinTrust::Unproven).unwrap());
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(file.path()).unwrap().contains("314159"));
    }

    #[test]
    fn without_a_memory_nothing_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let begun = begin(&folder.path().join("missing"), "1234", PinTrust::Vouched);
        assert!(matches!(begun, Err(TrialRefused::Io(_))));
        fs::write(folder.path().join(format!("pin-trial-{}", base64url::encode("a/b"))), "half a rec").unwrap();
        assert!(matches!(begin(folder.path(), "1234", PinTrust::Unproven), Err(TrialRefused::Io(_))));
    }
}
