//! Reading a PIN from where the configuration says it is. It is read once, right before the login,
//! and wiped right after.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use crate::hardware::{Error, Pin, PinSource};

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name} of the keeper"),
            Self::SystemdCredential(name) => write!(f, "the systemd credential {name}"),
        }
    }
}

/// The PIN at `source`, without the line end that an editor may have left.
pub(super) fn read(source: &PinSource) -> Result<Pin, Error> {
    let unavailable = |reason: String| Error::PinUnavailable { origin: source.to_string(), reason };
    let text = match source {
        PinSource::File(path) => read_guarded(path).map_err(unavailable)?,
        PinSource::Environment(name) => {
            std::env::var(name).map(Zeroizing::new).map_err(|error| unavailable(error.to_string()))?
        }
        PinSource::SystemdCredential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                unavailable("$CREDENTIALS_DIRECTORY is not set; add LoadCredential= to the keeper's unit".to_owned())
            })?;
            // systemd guards its folder itself, by an ACL that the mode bits do not show.
            let path = PathBuf::from(folder).join(name);
            std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| unavailable(error.to_string()))?
        }
    };
    let pin = text.trim_end_matches(['\r', '\n']);
    if pin.is_empty() {
        return Err(unavailable("it is empty".to_owned()));
    }
    Ok(Pin::from(pin))
}

fn read_guarded(path: &Path) -> Result<Zeroizing<String>, String> {
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others than its owner may read it (mode {:04o}); run `chmod 600`", mode & 0o7777));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string())
}
