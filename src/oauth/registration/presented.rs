//! Metadata as they are presented (RFC 7591 §2), and becoming ones that are registered.

use secrecy::SecretString;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::metadata::{AuthenticationMethod, ClientMetadata};
use super::rules::RegistrationRules;
use crate::jose::foreign::json::{self, Bounds};
use crate::oauth::OAuthError;
use crate::oauth::client::GrantType;
use crate::oauth::scope::Scope;

/// Certificates make for length; the body as a whole is limited already.
const BOUNDS: Bounds = Bounds { depth: 8, members: 1024 };
/// Bytes of what people read.
const LONGEST_NAME: usize = 255;
const MOST_CONTACTS: usize = 16;

/// Members of an answer that no update may have (RFC 7592 §2.2).
const ANSWERED_ONLY: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];

/// What somebody wants to register. What is `null` counts as left out, and what is not known is ignored.
#[derive(ToSchema)]
#[schema(description = "The metadata of a client (RFC 7591 §2), as it wants them. Others are ignored.")]
pub struct PresentedMetadata {
    /// How the client proves itself; client_secret_basic where it is left out.
    token_endpoint_auth_method: Option<String>,
    /// The grants that it wants to use; client_credentials where they are left out.
    grant_types: Option<Vec<String>>,
    /// Expected to be empty: there is no authorization endpoint.
    response_types: Option<Vec<String>>,
    /// The most scope that it wants; all that there is for those who register where it is left out.
    scope: Option<String>,
    /// What people call it.
    client_name: Option<String>,
    /// How the people behind it are reached.
    contacts: Option<Vec<String>>,
    /// The software that it is.
    software_id: Option<String>,
    /// The version of that.
    software_version: Option<String>,
    /// Its public keys, a JWK Set: for private_key_jwt, and with x5c for self_signed_tls_client_auth.
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// Where its public keys are, an https URL at a public address: for private_key_jwt.
    jwks_uri: Option<String>,
    /// For tls_client_auth: the subject of its certificate, as RFC 4514 writes it.
    tls_client_auth_subject_dn: Option<String>,
    /// Or its DNS name.
    tls_client_auth_san_dns: Option<String>,
    /// Or its URI.
    tls_client_auth_san_uri: Option<String>,
    /// Or its IP address.
    tls_client_auth_san_ip: Option<String>,
    /// Or its email address.
    tls_client_auth_san_email: Option<String>,
    /// Whether its access tokens are to be bound to its certificate; where it is left out, if that proves it.
    tls_client_certificate_bound_access_tokens: Option<bool>,
    /// Whether its access tokens have to be bound to a key by DPoP.
    dpop_bound_access_tokens: Option<bool>,
    /// Its id: required for an update, and ignored else.
    pub(super) client_id: Option<String>,
    /// Its secret: for an update that wants it checked, and ignored else.
    #[schema(value_type = Option<String>)]
    pub(super) client_secret: Option<SecretString>,
}

impl PresentedMetadata {
    /// Reads a registration.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for what is no JSON object, or names a member twice;
    /// [`OAuthError::InvalidClientMetadata`] for a member that is not of its kind.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        Self::of(Members::parse(body)?)
    }

    /// Reads an update.
    ///
    /// # Errors
    /// As [`Self::parse`], and for members that only answers have.
    pub fn parse_update(body: &[u8]) -> Result<Self, OAuthError> {
        let members = Members::parse(body)?;
        if ANSWERED_ONLY.iter().any(|name| members.0.contains_key(*name)) {
            return Err(OAuthError::InvalidRequest(
                "expected an update without registration_access_token, registration_client_uri, client_secret_expires_at and client_id_issued_at (RFC 7592 §2.2)",
            ));
        }
        Self::of(members)
    }

    fn of(mut members: Members) -> Result<Self, OAuthError> {
        Ok(Self {
            token_endpoint_auth_method: members
                .text("token_endpoint_auth_method", "token_endpoint_auth_method: expected a string")?,
            grant_types: members.texts("grant_types", "grant_types: expected a list of strings")?,
            response_types: members.texts("response_types", "response_types: expected an empty list")?,
            scope: members.text("scope", "scope: expected a string")?,
            client_name: members.name("client_name", "client_name: expected 1 to 255 bytes of text")?,
            contacts: members.texts("contacts", "contacts: expected a list of strings")?,
            software_id: members.name("software_id", "software_id: expected 1 to 255 bytes of text")?,
            software_version: members.name("software_version", "software_version: expected 1 to 255 bytes of text")?,
            jwks: members.take("jwks"),
            jwks_uri: members.text("jwks_uri", "jwks_uri: expected a string")?,
            tls_client_auth_subject_dn: members.text("tls_client_auth_subject_dn", CERTIFICATE_NAME)?,
            tls_client_auth_san_dns: members.text("tls_client_auth_san_dns", CERTIFICATE_NAME)?,
            tls_client_auth_san_uri: members.text("tls_client_auth_san_uri", CERTIFICATE_NAME)?,
            tls_client_auth_san_ip: members.text("tls_client_auth_san_ip", CERTIFICATE_NAME)?,
            tls_client_auth_san_email: members.text("tls_client_auth_san_email", CERTIFICATE_NAME)?,
            tls_client_certificate_bound_access_tokens: members.flag(
                "tls_client_certificate_bound_access_tokens",
                "tls_client_certificate_bound_access_tokens: expected true or false",
            )?,
            dpop_bound_access_tokens: members
                .flag("dpop_bound_access_tokens", "dpop_bound_access_tokens: expected true or false")?,
            client_id: members.text("client_id", "client_id: expected a string")?,
            client_secret: members.text("client_secret", "client_secret: expected a string")?.map(SecretString::from),
        })
    }

    /// What of this is registered, where `rules` allow it.
    ///
    /// # Errors
    /// [`OAuthError::InvalidClientMetadata`].
    pub fn checked(self, rules: &RegistrationRules) -> Result<ClientMetadata, OAuthError> {
        let refused = OAuthError::InvalidClientMetadata;
        let method = match self.token_endpoint_auth_method.as_deref() {
            None => Some(AuthenticationMethod::ClientSecretBasic),
            Some(name) => AuthenticationMethod::parse(name),
        };
        let token_endpoint_auth_method = method
            .filter(|method| rules.methods.contains(method))
            .ok_or(refused("token_endpoint_auth_method: expected one that is allowed to clients that register"))?;
        if self.response_types.is_some_and(|types| !types.is_empty()) {
            return Err(refused("response_types: expected an empty list"));
        }
        let dpop_bound_access_tokens = self.dpop_bound_access_tokens.unwrap_or(false);
        // Who presents a certificate anyway need not say so.
        let by_default = token_endpoint_auth_method.is_by_certificate() && !dpop_bound_access_tokens;
        let certificate_bound = self.tls_client_certificate_bound_access_tokens.unwrap_or(by_default);
        if certificate_bound && dpop_bound_access_tokens {
            return Err(refused(
                "dpop_bound_access_tokens and tls_client_certificate_bound_access_tokens: expected one of them",
            ));
        }
        let address =
            |text: String| text.parse().map_err(|_| refused("tls_client_auth_san_ip: expected an IP address"));
        let metadata = ClientMetadata {
            token_endpoint_auth_method,
            grant_types: grants(self.grant_types, rules)?,
            response_types: [],
            scope: scope(self.scope.as_deref(), rules)?,
            client_name: self.client_name,
            contacts: contacts(self.contacts)?,
            software_id: self.software_id,
            software_version: self.software_version,
            jwks: self.jwks,
            jwks_uri: self.jwks_uri,
            tls_client_auth_subject_dn: self.tls_client_auth_subject_dn,
            tls_client_auth_san_dns: self.tls_client_auth_san_dns,
            tls_client_auth_san_uri: self.tls_client_auth_san_uri,
            tls_client_auth_san_ip: self.tls_client_auth_san_ip.map(address).transpose()?,
            tls_client_auth_san_email: self.tls_client_auth_san_email,
            tls_client_certificate_bound_access_tokens: certificate_bound,
            dpop_bound_access_tokens,
        };
        metadata.proof()?;
        Ok(metadata)
    }
}

const CERTIFICATE_NAME: &str = "tls_client_auth_*: expected a string";

fn grants(presented: Option<Vec<String>>, rules: &RegistrationRules) -> Result<Vec<String>, OAuthError> {
    let mut grants = presented.unwrap_or_else(|| vec![GrantType::ClientCredentials.as_str().to_owned()]);
    let is_allowed = |name: &String| GrantType::parse(name).is_some_and(|grant| rules.grants.contains(&grant));
    if grants.is_empty() || !grants.iter().all(is_allowed) {
        return Err(OAuthError::InvalidClientMetadata(
            "grant_types: expected some that are allowed to clients that register",
        ));
    }
    grants.sort_unstable();
    grants.dedup();
    Ok(grants)
}

fn scope(presented: Option<&str>, rules: &RegistrationRules) -> Result<String, OAuthError> {
    let Some(text) = presented else { return Ok(rules.scope.as_str().to_owned()) };
    let scope = Scope::parse(text)
        .map_err(|_| OAuthError::InvalidClientMetadata("scope: expected values separated by one space each"))?;
    if !scope.is_within(&rules.scope) {
        return Err(OAuthError::InvalidClientMetadata("scope: more than a client that registers may have"));
    }
    Ok(scope.as_str().to_owned())
}

fn contacts(presented: Option<Vec<String>>) -> Result<Vec<String>, OAuthError> {
    let contacts = presented.unwrap_or_default();
    if contacts.len() > MOST_CONTACTS || !contacts.iter().all(|contact| is_name(contact)) {
        return Err(OAuthError::InvalidClientMetadata("contacts: expected at most 16, each 1 to 255 bytes of text"));
    }
    Ok(contacts)
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn is_name(text: &str) -> bool {
    is_text(text) && text.len() <= LONGEST_NAME
}

/// Members that nobody looked at yet.
struct Members(Map<String, Value>);

impl Members {
    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        json::object(body, BOUNDS)
            .map(Self)
            .map_err(|_| OAuthError::InvalidRequest("expected a JSON object that names each member once"))
    }

    /// RFC 7592 §2.2: what is null is left out.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str, expected: &'static str) -> Result<Option<String>, OAuthError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_text(&text) => Ok(Some(text)),
            Some(_) => Err(OAuthError::InvalidClientMetadata(expected)),
        }
    }

    fn name(&mut self, name: &str, expected: &'static str) -> Result<Option<String>, OAuthError> {
        let text = self.text(name, expected)?;
        if text.as_deref().is_none_or(is_name) { Ok(text) } else { Err(OAuthError::InvalidClientMetadata(expected)) }
    }

    fn texts(&mut self, name: &str, expected: &'static str) -> Result<Option<Vec<String>>, OAuthError> {
        let refused = OAuthError::InvalidClientMetadata(expected);
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = value else { return Err(refused) };
        let text = |item| match item {
            Value::String(text) => Ok(text),
            _ => Err(refused.clone()),
        };
        items.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    fn flag(&mut self, name: &str, expected: &'static str) -> Result<Option<bool>, OAuthError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(OAuthError::InvalidClientMetadata(expected)),
        }
    }
}
