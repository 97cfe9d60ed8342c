//! What a front-end says of somebody who logged in, held against what the client asked for. It is the same for a login in
//! a browser, for a device, and for tokens that a front-end asks for by itself.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::OAuthError;
use super::client::{Client, ClientRegistry};
use super::frontend::Frontend;
use super::login_record::{LoginGrant, LoginRecord};
use super::scope::Scope;
use super::workload;
use crate::clock::Timestamp;
use crate::jose::claims::Audience;
use crate::jose::foreign::json::{self, Bounds};
use crate::jose::id_token::{ExtraClaims, RefusedClaims};

/// How far the clock of a front-end may be ahead of ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// How much of a message is read: of the claims in it, one less deep.
const BOUNDS: Bounds = Bounds { depth: 17, members: 600 };

/// Characters of an `acr`, of a method of `amr`, and of a session's name.
const LONGEST_NAME: usize = 255;
/// Methods of one login.
const MOST_METHODS: usize = 16;

/// A front-end's word on a login, read and not yet judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Who logged in.
    pub subject: String,
    /// What was granted, space-separated; all that was asked for where it is left out.
    #[serde(default)]
    pub scope: Option<String>,
    /// When the person proved who it is, in seconds since the epoch.
    #[serde(default)]
    pub auth_time: Option<Timestamp>,
    /// How sure that was.
    #[serde(default)]
    pub acr: Option<String>,
    /// How it was done (RFC 8176).
    #[serde(default)]
    pub amr: Vec<String>,
    /// What else is known of the person.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub claims: Map<String, Value>,
    /// The front-end's own name for its session.
    #[serde(default)]
    pub session: Option<String>,
}

/// What a login has to keep to.
#[derive(Debug)]
pub struct LoginTerms<'a> {
    /// The client.
    pub client: &'a Client,
    /// The scope that it asked for.
    pub scope: Scope,
    /// Who it asked to have tokens for; none where it did not say.
    pub audience: Option<Audience>,
    /// Whom it expects, where it said so.
    pub subject: Option<&'a str>,
    /// The time before which the person must not have proved who it is.
    pub authenticated_since: Option<Timestamp>,
}

impl Acceptance {
    /// Reads one, in which no name is there twice.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`].
    pub fn parse(json: &[u8]) -> Result<Self, OAuthError> {
        read(json).ok_or(OAuthError::InvalidRequest(
            "expected JSON with subject and, optionally, scope, auth_time, acr, amr, claims and session",
        ))
    }

    /// What is granted on `terms`, on the word of `frontend`.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] or [`OAuthError::InvalidScope`], for what goes beyond them.
    pub fn judged(
        self,
        terms: LoginTerms<'_>,
        frontend: &Frontend,
        clients: &ClientRegistry,
        now: Timestamp,
    ) -> Result<LoginGrant, OAuthError> {
        let Self { subject, scope, auth_time, acr, amr, claims, session } = self;
        workload::check_subject(clients, terms.client, &subject)?;
        // OpenID Connect Core 1.0 §3.1.2.1, id_token_hint.
        require(terms.subject.is_none_or(|expected| expected == subject), "the client asked for another subject")?;
        let scope = terms.scope.intersection(&terms.client.scope).narrowed(scope.as_deref())?;
        let auth_time = auth_time.map(|at| check_time(at, now)).transpose()?;
        if let Some(since) = terms.authenticated_since {
            let at = auth_time
                .ok_or(OAuthError::InvalidRequest("auth_time is required: the client asked for max_age or a login"))?;
            require(at >= since, "auth_time is longer ago than the client asked for")?;
        }
        require(acr.as_deref().is_none_or(is_name), "expected acr to be a string of 1 to 255 characters")?;
        let is_list = amr.len() <= MOST_METHODS && amr.iter().all(|method| is_name(method));
        require(is_list, "expected amr to be at the most 16 strings of 1 to 255 characters")?;
        require(session.as_deref().is_none_or(is_name), "expected session to be a string of 1 to 255 characters")?;
        let claims = ExtraClaims::new(claims).map_err(|refused| match refused {
            RefusedClaims::Reserved => OAuthError::InvalidRequest("claims: one of them is only the mint's to say"),
            RefusedClaims::TooLarge => OAuthError::InvalidRequest("claims: longer than 8 KiB, too deep or too many"),
        })?;
        Ok(LoginGrant {
            subject,
            scope: scope.as_str().to_owned(),
            session: session.map(|session| session_name(frontend, &session)),
            record: LoginRecord { auth_time, acr, amr, claims, audience: terms.audience },
        })
    }
}

/// What the store calls the session of `frontend` that is `session` to it: no front-end has another one's.
pub fn session_name(frontend: &Frontend, session: &str) -> String {
    format!("{}/{session}", frontend.name)
}

/// Reads a JSON object of a front-end's, in which no name is there twice.
pub(super) fn read<Message: for<'de> Deserialize<'de>>(json: &[u8]) -> Option<Message> {
    let object = json::object(json, BOUNDS).ok()?;
    serde_json::from_value(Value::Object(object)).ok()
}

/// `at`, which is not to come: one that the front-end's clock is ahead by is now.
fn check_time(at: Timestamp, now: Timestamp) -> Result<Timestamp, OAuthError> {
    require(at <= now.plus(LEEWAY), "auth_time is in the future")?;
    require(at.unix_seconds() > 0, "expected auth_time in seconds since the epoch")?;
    Ok(at.min(now))
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn require(holds: bool, expected: &'static str) -> Result<(), OAuthError> {
    if holds { Ok(()) } else { Err(OAuthError::InvalidRequest(expected)) }
}
