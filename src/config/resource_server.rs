//! `[[resource_server]]`.

use serde::Deserialize;
use toml::Spanned;

use super::client::{Method, authentication, is_name};
use super::problem::Problem;
use super::values::{OneOrSeveral, SecretHashText};
use crate::oauth::resource_server::ResourceServer;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceServerTable {
    id: Spanned<String>,
    authentication: Spanned<OneOrSeveral<Method>>,
    secret_sha256: Option<OneOrSeveral<SecretHashText>>,
    audience: Spanned<OneOrSeveral<String>>,
}

impl ResourceServerTable {
    pub(super) fn id(&self) -> &Spanned<String> {
        &self.id
    }

    pub(super) fn into_resource_server(self) -> Result<ResourceServer, Problem> {
        let span = self.authentication.span();
        let proof = authentication(self.authentication.into_inner().0, self.secret_sha256)
            .map_err(|message| Problem::at(span.clone(), message))?;
        if proof.is_none() {
            let message =
                "a resource server proves itself (RFC 7662 §2.1); expected client_secret_basic or client_secret_post";
            return Err(Problem::at(span, message));
        }
        if !is_name(self.id.get_ref()) {
            return Err(Problem::at(self.id.span(), "expected an id of 1 to 255 printable ASCII characters"));
        }
        let (span, audiences) = (self.audience.span(), self.audience.into_inner().0);
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(Problem::at(span, "expected the audiences of the tokens that it may ask about"));
        }
        Ok(ResourceServer { id: self.id.into_inner(), authentication: proof, audiences })
    }
}
