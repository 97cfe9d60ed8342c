//! A request as it was presented: a form, and what proves who sent it, wherever that was.

use std::sync::Arc;

use super::authentication::PresentedBasic;
use super::certificate::PresentedCertificate;
use super::parameters::PresentedParameters;
use super::refresh_cookie::PresentedBrowser;

/// What a request presents, and no judgement on it.
#[derive(Debug, Default)]
pub struct PresentedRequest<'a> {
    /// The form.
    pub parameters: PresentedParameters<'a>,
    /// The credentials of an `Authorization: Basic` header.
    pub basic: Option<PresentedBasic>,
    /// The `DPoP` header (RFC 9449 §4.1).
    pub dpop: Option<&'a str>,
    /// The certificate of the connection.
    pub certificate: Option<Arc<PresentedCertificate>>,
    /// What a browser adds.
    pub browser: PresentedBrowser<'a>,
}

impl PresentedRequest<'_> {
    /// Whether it says who sends it.
    pub fn has_credentials(&self) -> bool {
        let in_form = ["client_id", "client_secret", "client_assertion"];
        self.basic.is_some() || in_form.iter().any(|name| self.parameters.find(name).is_some())
    }
}
