//! Documents that mintkeep asks others for: the keys of an issuer or a client, and where they are.
//!
//! What is fetched is public and judged by whoever asked; what is defended here is where the mint connects to, and how
//! much of its time and memory an answer takes.

mod address;
mod delivery;
mod https;

use std::pin::Pin;

use url::Url;

pub use delivery::{Delivering, FormDelivery};
pub use https::{HttpsSettings, HttpsSource};

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;

/// Where documents come from: the network, or a test. Many may be fetched at a time; nothing is kept between two
/// fetches, and nothing is tried again.
pub trait DocumentSource: Send + Sync {
    /// Fetches the document at `url`: its body, whole.
    ///
    /// # Errors
    /// [`FetchError`].
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a>;
}

/// Why there is no document. None of these tells what an answer contained.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchError {
    /// The URL is not one that is fetched.
    #[error("expected an https URL with a host, and without a user or a password")]
    Url,
    /// The host is at an address that only we can reach, such as our own.
    #[error("its host is at no public address, and private ones are not allowed")]
    Address,
    /// No connection, or one that ended early: the text names the reason.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    /// Another status than 200. Redirects are not followed.
    #[error("expected the status 200, and it answered {0}")]
    Status(u16),
    /// The document is longer than any that is read.
    #[error("it answered with more than {most} bytes")]
    TooLong {
        /// The limit in bytes.
        most: usize,
    },
    /// It took too long, all in all.
    #[error("it did not answer in time")]
    TooSlow,
}
