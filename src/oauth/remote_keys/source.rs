//! Where keys are, and reading them there once.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use url::Url;

use crate::fetch::{DocumentSource, FetchError};
use crate::jose::foreign::{ForeignKeySet, JwkError, KeySetError, MAX_KEY_SET_LENGTH};

/// Where the keys of an issuer or a client are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In the configuration.
    Inline(Arc<ForeignKeySet>),
    /// In a file, a JWK Set, that is read again when it has changed.
    File(PathBuf),
    /// At this URL, a JWK Set.
    JwksUri(Url),
    /// Where the issuer's metadata say (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).
    Discovery {
        /// The issuer identifier, an https URL, exactly as its tokens write it.
        issuer: String,
    },
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("the configuration"),
            Self::File(path) => path.display().fmt(f),
            Self::JwksUri(url) => url.fmt(f),
            Self::Discovery { issuer } => f.write_str(issuer),
        }
    }
}

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the file could not be read: {0}")]
    File(#[from] io::Error),
    #[error("reading the file was given up")]
    GivenUp,
    #[error("expected an issuer that is an https URL without query and fragment")]
    Issuer,
    #[error("expected issuer metadata: a JSON object with `issuer` and `jwks_uri`")]
    Metadata,
    #[error("expected the metadata of this issuer, and they are of another one")]
    OtherIssuer,
    #[error("expected a `jwks_uri` that is an https URL")]
    JwksUri,
}

/// Keys, and for a file the state of it that they are from.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) keys: Arc<ForeignKeySet>,
    stamp: Option<Stamp>,
}

/// What a file looks like from outside: whoever changes it changes one of these.
type Stamp = (SystemTime, u64, u64);

/// One attempt to read keys.
pub(super) struct Reading<'a> {
    pub(super) source: &'a KeySource,
    pub(super) documents: &'a dyn DocumentSource,
    /// What was read before.
    pub(super) known: Option<Read>,
}

impl Reading<'_> {
    pub(super) async fn read(self) -> Result<Read, ReadError> {
        match self.source {
            KeySource::Inline(keys) => Ok(Read { keys: Arc::clone(keys), stamp: None }),
            KeySource::File(path) => {
                let (path, known) = (path.clone(), self.known);
                let read = tokio::task::spawn_blocking(move || read_file(&path, known)).await;
                read.unwrap_or(Err(ReadError::GivenUp))
            }
            KeySource::JwksUri(url) => self.fetch_keys(url).await,
            KeySource::Discovery { issuer } => self.fetch_keys(&self.jwks_uri(issuer).await?).await,
        }
    }

    async fn fetch_keys(&self, url: &Url) -> Result<Read, ReadError> {
        if url.scheme() != "https" {
            return Err(ReadError::JwksUri);
        }
        let json = self.documents.fetch(url).await?;
        Ok(Read { keys: parsed(self.source, &json)?, stamp: None })
    }

    /// The `jwks_uri` of the issuer's metadata, which are at one of two places.
    async fn jwks_uri(&self, issuer: &str) -> Result<Url, ReadError> {
        let [appended, inserted] = metadata_urls(issuer).ok_or(ReadError::Issuer)?;
        let json = match self.documents.fetch(&appended).await {
            // It is there and has no such document.
            Err(FetchError::Status(_)) => self.documents.fetch(&inserted).await?,
            other => other?,
        };
        let metadata: Metadata = serde_json::from_slice(&json).map_err(|_| ReadError::Metadata)?;
        // Else one issuer could speak for another one (RFC 8414 §3.3).
        if metadata.issuer != issuer {
            return Err(ReadError::OtherIssuer);
        }
        Url::parse(&metadata.jwks_uri).map_err(|_| ReadError::JwksUri)
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// `/.well-known/openid-configuration` after the issuer's path (OpenID Connect Discovery 1.0 §4.1), and
/// `/.well-known/oauth-authorization-server` before it (RFC 8414 §3.1).
fn metadata_urls(issuer: &str) -> Option<[Url; 2]> {
    let url = Url::parse(issuer).ok().filter(|url| url.scheme() == "https")?;
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let (mut appended, mut inserted) = (url.clone(), url.clone());
    appended.set_path(&format!("{path}/.well-known/openid-configuration"));
    inserted.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Some([appended, inserted])
}

fn parsed(source: &KeySource, json: &[u8]) -> Result<Arc<ForeignKeySet>, KeySetError> {
    let keys = ForeignKeySet::parse(json)?;
    if keys.skipped().iter().any(|error| matches!(error, JwkError::Private { .. })) {
        tracing::warn!(keys_of = %source, "a private key is published there, and not used here");
    }
    Ok(Arc::new(keys))
}

fn read_file(path: &Path, known: Option<Read>) -> Result<Read, ReadError> {
    use std::os::unix::fs::MetadataExt as _;

    // Opening a pipe would wait for somebody who writes.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("expected a regular file").into());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let stamp = Some((metadata.modified()?, metadata.len(), metadata.ino()));
    if let Some(known) = known.filter(|known| known.stamp == stamp) {
        return Ok(known);
    }
    let mut json = Vec::new();
    // One byte more shows that it is too long.
    file.take(MAX_KEY_SET_LENGTH as u64 + 1).read_to_end(&mut json)?;
    Ok(Read { keys: parsed(&KeySource::File(path.to_owned()), &json)?, stamp })
}
