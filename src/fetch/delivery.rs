//! Forms that are delivered to clients: the other direction of the same connections.

use std::pin::Pin;

use url::Url;

use super::FetchError;

/// A delivery under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<(), FetchError>> + Send + 'a>>;

/// Where forms are delivered: the network, or a test. Many may be under way at a time, and nothing is tried again.
pub trait FormDelivery: Send + Sync {
    /// Posts `form`, in the encoding of a form, to `url`. What is answered is not read; a status of success is one.
    ///
    /// # Errors
    /// [`FetchError`].
    fn post<'a>(&'a self, url: &'a Url, form: String) -> Delivering<'a>;
}
