//! What an authorization request has to be, in the order in which it is looked at.

use super::endpoint::{AuthorizationEndpoint, login_page};
use super::request::{self, AuthorizationRequest, Prompt};
use crate::jose::thumbprint::Thumbprint;
use crate::oauth::OAuthError;
use crate::oauth::client::{Client, GrantType};
use crate::oauth::parameters::PresentedParameters;
use crate::oauth::registrations::Registrations;
use crate::oauth::scope::Scope;
use crate::oauth::target::Target;

/// Bytes of one parameter that is kept and comes back.
const LONGEST: usize = 2048;

/// Bytes of all that is kept.
const LONGEST_STORED: usize = 8 * 1024;

/// The longest `max_age`, in seconds: a hundred years.
const LONGEST_AGE: u64 = 100 * 366 * 24 * 60 * 60;

/// Scope that is for us, whatever the resources know (OpenID Connect Core §5.4 and §11).
const OPENID_SCOPE: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// Why no login begins.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorizationError {
    /// Nobody knows where the browser may go, so it stays, and shows this (RFC 6749 §4.1.2.1).
    #[error("{0}")]
    Page(OAuthError),
    /// The client is told.
    #[error("{error}")]
    Redirect {
        /// Where the browser goes.
        location: String,
        /// What it says there.
        error: OAuthError,
    },
}

impl AuthorizationError {
    /// That `request` is refused by `error`.
    pub(super) fn of(request: &AuthorizationRequest, issuer: &str, error: OAuthError) -> Self {
        let location = request.refused(issuer, error.code(), Some(error.description()));
        Self::Redirect { location, error }
    }

    /// What was wrong.
    pub fn into_error(self) -> OAuthError {
        match self {
            Self::Page(error) | Self::Redirect { error, .. } => error,
        }
    }
}

/// How a request comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// A browser brings it.
    Browser,
    /// The client pushes it.
    Pushed,
}

impl AuthorizationEndpoint {
    /// The request of `client` that `presented` is, or that the object in it is.
    ///
    /// # Errors
    /// [`AuthorizationError`].
    pub(super) async fn checked(
        &self,
        registered: &Registrations,
        client: &Client,
        presented: &PresentedParameters<'_>,
        way: Way,
    ) -> Result<AuthorizationRequest, AuthorizationError> {
        let object = presented.find_once("request").map_err(AuthorizationError::Page)?;
        let within;
        let parameters = match object {
            None => presented,
            Some(object) => {
                let parameters = self.parameters_of(client, object, &registered.key_sets).await;
                within = parameters.map_err(AuthorizationError::Page)?;
                &within
            }
        };
        let redirect_uri = redirect_uri(client, parameters).map_err(AuthorizationError::Page)?;
        // Twice, nobody knows which one comes back.
        let state = parameters.find_once("state").ok().flatten();
        let refused = |error: OAuthError| {
            let state = state.filter(|state| state.len() <= LONGEST);
            let description = Some(error.description());
            let location = request::refused(redirect_uri, state, &self.issuer, error.code(), description);
            AuthorizationError::Redirect { location, error }
        };
        let is_signed = object.is_some();
        self.rules(registered, client, parameters, redirect_uri, (way, is_signed)).map_err(refused)
    }

    /// What follows once it is known whom to tell of errors.
    fn rules(
        &self,
        registered: &Registrations,
        client: &Client,
        parameters: &PresentedParameters<'_>,
        redirect_uri: &str,
        (way, is_signed): (Way, bool),
    ) -> Result<AuthorizationRequest, OAuthError> {
        let refused = |expected| Err(OAuthError::InvalidRequest(expected));
        if parameters.has_repeated() {
            return refused("a parameter is included more than once");
        }
        match parameters.find("response_type") {
            Some("code") => {}
            None => return refused("response_type is required"),
            Some(_) => return Err(OAuthError::UnsupportedResponseType("expected response_type to be code")),
        }
        if parameters.find("response_mode").is_some_and(|mode| mode != "query") {
            return refused("expected response_mode to be query, or none");
        }
        if !client.may_use(GrantType::AuthorizationCode) {
            return Err(OAuthError::UnauthorizedClient("the client may not use the grant authorization_code"));
        }
        if client.require_pushed_authorization_requests && way == Way::Browser {
            return refused("the client is registered to push its authorization requests");
        }
        if client.require_signed_request_object && !is_signed {
            return refused("the client is registered to sign its authorization requests");
        }
        login_page(registered, client)?;
        let target = Target::of_authorization(client, parameters, &registered.resources)?;
        let request = AuthorizationRequest {
            client_id: client.id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            scope: login_scope(client, &target.scope, parameters)?,
            code_challenge: code_challenge(parameters)?,
            state: text(parameters.find("state"))?,
            nonce: text(parameters.find("nonce"))?,
            prompt: prompt(parameters)?,
            max_age: max_age(parameters)?,
            login_hint: text(parameters.find("login_hint"))?,
            ui_locales: text(parameters.find("ui_locales"))?,
            acr_values: text(parameters.find("acr_values"))?,
            resources: match parameters.find_all("resource").next() {
                None => Vec::new(),
                Some(_) => target.audience.values().to_vec(),
            },
            dpop_jkt: dpop_jkt(parameters)?,
            subject: self.subject(client, parameters)?,
        };
        request.stored()?;
        Ok(request)
    }

    /// Whom `id_token_hint` means.
    fn subject(&self, client: &Client, parameters: &PresentedParameters<'_>) -> Result<Option<String>, OAuthError> {
        let Some(text) = parameters.find("id_token_hint") else { return Ok(None) };
        let hint = self.hints.read(text).filter(|hint| hint.is_for(&client.id));
        let hint =
            hint.ok_or(OAuthError::InvalidRequest("id_token_hint: expected an ID token of ours for the client"))?;
        Ok(Some(hint.sub))
    }
}

impl AuthorizationRequest {
    /// As the store has it.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where it is too long.
    pub(super) fn stored(&self) -> Result<String, OAuthError> {
        let json = serde_json::to_string(self).map_err(|_| OAuthError::ServerError)?;
        if json.len() > LONGEST_STORED {
            return Err(OAuthError::InvalidRequest("the request is too long"));
        }
        Ok(json)
    }
}

/// Where the answer goes, which has to be said each time and be registered (RFC 9700 §4.1.3).
fn redirect_uri<'a>(client: &Client, parameters: &'a PresentedParameters<'_>) -> Result<&'a str, OAuthError> {
    let uri = parameters.find_once("redirect_uri")?.ok_or(OAuthError::InvalidRequest("redirect_uri is required"))?;
    if !client.is_redirected_to(uri) {
        return Err(OAuthError::InvalidRequest(
            "redirect_uri: expected one that is registered, character for character",
        ));
    }
    Ok(uri)
}

/// RFC 7636 §4.3. What is left out means `plain`, which anybody who reads the request can answer (§7.2).
fn code_challenge(parameters: &PresentedParameters<'_>) -> Result<Thumbprint, OAuthError> {
    let challenge =
        parameters.find("code_challenge").ok_or(OAuthError::InvalidRequest("code_challenge is required"))?;
    if parameters.find("code_challenge_method") != Some("S256") {
        return Err(OAuthError::InvalidRequest("expected code_challenge_method to be S256"));
    }
    let expected = "code_challenge: expected the 43 characters of a SHA-256 in base64url";
    Thumbprint::parse(challenge).ok_or(OAuthError::InvalidRequest(expected))
}

/// What a login of `client` is asked for, where all of its resources together know `known`.
pub(in crate::oauth) fn login_scope(
    client: &Client,
    known: &Scope,
    parameters: &PresentedParameters<'_>,
) -> Result<String, OAuthError> {
    let known = client.scope.limited_to(|value| OPENID_SCOPE.contains(&value) || known.values().any(|it| it == value));
    Ok(known.narrowed(parameters.find("scope"))?.as_str().to_owned())
}

fn prompt(parameters: &PresentedParameters<'_>) -> Result<Vec<Prompt>, OAuthError> {
    let mut prompts = Vec::new();
    for value in parameters.find("prompt").into_iter().flat_map(|text| text.split(' ')) {
        let expected = "prompt: expected none, or some of login, consent and select_account";
        let prompt = Prompt::parse(value).ok_or(OAuthError::InvalidRequest(expected))?;
        if !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
    }
    if prompts.len() > 1 && prompts.contains(&Prompt::None) {
        return Err(OAuthError::InvalidRequest("prompt: expected none to be alone"));
    }
    Ok(prompts)
}

fn max_age(parameters: &PresentedParameters<'_>) -> Result<Option<u64>, OAuthError> {
    let Some(text) = parameters.find("max_age") else { return Ok(None) };
    // No sign, which Rust's reader would take.
    let seconds = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match seconds.filter(|seconds| *seconds <= LONGEST_AGE) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(OAuthError::InvalidRequest("max_age: expected seconds")),
    }
}

fn dpop_jkt(parameters: &PresentedParameters<'_>) -> Result<Option<Thumbprint>, OAuthError> {
    let Some(text) = parameters.find("dpop_jkt") else { return Ok(None) };
    let expected = "dpop_jkt: expected the 43 characters of a SHA-256 in base64url";
    Thumbprint::parse(text).map(Some).ok_or(OAuthError::InvalidRequest(expected))
}

/// What is kept as it came.
fn text(presented: Option<&str>) -> Result<Option<String>, OAuthError> {
    let Some(text) = presented else { return Ok(None) };
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(OAuthError::InvalidRequest(
            "state, nonce, login_hint, ui_locales, acr_values: expected at the most 2048 bytes of text each",
        ));
    }
    Ok(Some(text.to_owned()))
}
