//! Tokens that a front-end asks for by itself, for somebody who logged in there without a client that asked.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::OAuthError;
use super::acceptance::{Acceptance, LoginTerms, read};
use super::authorized::{Asked, Authorized, Beginning};
use super::client::{Client, GrantType};
use super::frontend::CallingFrontend;
use super::login_record::LoginGrant;
use super::scope::Scope;
use super::target::Target;
use crate::clock::Timestamp;
use crate::jose::claims::{Audience, Confirmation};

/// What a front-end asks for: a client's tokens, and what is said of a login ([`Acceptance`]). Written out, because serde
/// cannot refuse unknown members of a type inside another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontendGrantRequest {
    /// The client.
    client_id: String,
    /// Who the tokens are to be for (RFC 8707); the client's audience where it is left out.
    #[serde(default)]
    resource: Option<Audience>,
    subject: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    auth_time: Option<Timestamp>,
    #[serde(default)]
    acr: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    claims: Map<String, Value>,
    #[serde(default)]
    session: Option<String>,
}

impl FrontendGrantRequest {
    /// Reads one, in which no name is there twice.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`].
    pub fn parse(json: &[u8]) -> Result<Self, OAuthError> {
        read(json).ok_or(OAuthError::InvalidRequest(
            "expected JSON with client_id, subject and, optionally, scope, auth_time, acr, amr, claims, session and resource",
        ))
    }

    /// What it allows, on the word of `caller`.
    ///
    /// # Errors
    /// [`OAuthError::Forbidden`] for another one's client; what goes beyond the client's registration.
    pub(super) fn authorize(
        self,
        caller: &CallingFrontend,
        bound: impl FnOnce(&Client) -> Result<Option<Confirmation>, OAuthError>,
        now: Timestamp,
    ) -> Result<Authorized, OAuthError> {
        let Self { client_id, resource, subject, scope, auth_time, acr, amr, claims, session } = self;
        let login = Acceptance { subject, scope, auth_time, acr, amr, claims, session };
        caller.check_client(&client_id)?;
        let registered = caller.registered();
        let unknown = OAuthError::InvalidRequest("client_id: no client of that id is registered");
        let client = registered.clients.find(&client_id).ok_or(unknown)?;
        let speaks_for_people = [GrantType::RefreshToken, GrantType::AuthorizationCode, GrantType::DeviceCode];
        if !speaks_for_people.into_iter().any(|grant| client.may_use(grant)) {
            return Err(OAuthError::UnauthorizedClient(
                "the client is registered for none of refresh_token, authorization_code and device_code",
            ));
        }
        let target = Target::of_named(
            client,
            resource.iter().flat_map(Audience::values).map(String::as_str),
            &registered.resources,
        )?;
        let confirmation = bound(client)?;
        let terms = LoginTerms {
            client,
            scope: client.scope.clone(),
            audience: resource.is_some().then(|| target.audience.clone()),
            subject: None,
            authenticated_since: None,
        };
        let grant = login.judged(terms, caller.frontend(), &registered.clients, now)?;
        let LoginGrant { subject, scope, session, record } = grant;
        let granted = Scope::parse(&scope).map_err(|_| OAuthError::ServerError)?;
        let scope = granted.intersection(&target.scope);
        tracing::info!(frontend = caller.name, client = client_id, subject, "tokens were granted by a front-end");
        let beginning = Beginning { code: None, nonce: None, session, granted };
        let asked = Asked { scope: None, target, confirmation };
        Ok(Authorized {
            login: Some(Box::new(record)),
            beginning: Some(Box::new(beginning)),
            ..Authorized::new(client.clone(), subject, scope, asked)
        })
    }
}
