//! Where a secret is kept, outside of the configuration, and how it is read from there: the PIN of a token,
//! the password of a database. The secret itself is never configuration.

mod terminal;

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

/// Where a secret is read from, right before it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A variable of the environment of the process that uses it.
    Environment(String),
    /// A credential that systemd placed in `$CREDENTIALS_DIRECTORY`.
    SystemdCredential(String),
    /// A person at the terminal of the process that uses it.
    Prompt,
}

/// Why a secret could not be read; what to do about it, and nothing of the secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl SecretSource {
    /// The secret, without the line end that an editor may have left.
    ///
    /// # Errors
    /// [`Unavailable`] where it is not there, is empty, or is a file that others can read.
    pub fn read(&self) -> Result<SecretString, Unavailable> {
        let told = |error: &dyn fmt::Display| Unavailable(error.to_string());
        let text = match self {
            Self::File(path) => read_guarded(path)?,
            Self::Environment(name) => std::env::var(name).map(Zeroizing::new).map_err(|error| told(&error))?,
            Self::Prompt => terminal::ask("PIN").map_err(|error| told(&error))?,
            Self::SystemdCredential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    told(&"$CREDENTIALS_DIRECTORY is not set; add LoadCredential= to the unit that reads it")
                })?;
                // systemd guards its folder itself, by an ACL that the mode bits do not show.
                read_text(&PathBuf::from(folder).join(name))?
            }
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(told(&"it is empty"));
        }
        Ok(SecretString::from(secret))
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::SystemdCredential(name) => write!(f, "the systemd credential {name}"),
            Self::Prompt => write!(f, "the answer at the terminal"),
        }
    }
}

fn read_guarded(path: &Path) -> Result<Zeroizing<String>, Unavailable> {
    let mode = std::fs::metadata(path).map_err(|error| Unavailable(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        return Err(Unavailable(format!("others than its owner may read it (mode {mode:04o}); run `chmod 600`")));
    }
    read_text(path)
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Unavailable> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| Unavailable(error.to_string()))
}
