//! The client of front-ends: what they ask of a running mint, over its Unix socket or over HTTP(S).
//!
//! It needs tokio, and nothing else of this crate. A client keeps its connections; clones share them.
//!
//! ```no_run
//! use mintkeep::client::Client;
//! use serde_json::json;
//!
//! # async fn run() -> Result<(), mintkeep::client::ClientError> {
//! // By the uid of this process, as `uid = …` in the [[frontend]] says.
//! let mint = Client::at_socket("/run/mintkeep-mint/frontend.sock").build()?;
//! let signed = mint.sign("dex", &json!({ "iss": "https://dex.example.com", "sub": "ada", "aud": "web" })).await?;
//! assert_eq!(signed.jws.split('.').count(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! With a token, over HTTPS:
//!
//! ```no_run
//! # fn run(token: secrecy::SecretString) -> Result<(), mintkeep::client::ClientError> {
//! let url = "https://mint.example.com:8443".parse().expect("an URL");
//! let mint = mintkeep::client::Client::at_url(url).token(token).build()?;
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod login;
mod tls;

use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

pub use self::connection::ClientBuilder;
use self::connection::{Connection, Place};
pub use self::error::ClientError;
pub use self::login::{
    Acceptance, AfterLogout, Device, EndedSession, FrontendGrant, IssuedTokens, Login, Logout, Redirection, Refusal,
};
pub use crate::oauth::delegated::{SignRequest, SignedClaims};

/// A way to a mint.
#[derive(Clone, Debug)]
pub struct Client(Connection);

impl Client {
    /// To the mint whose `listen.frontend.socket`, or admin socket, is at `path`.
    pub fn at_socket(path: impl Into<std::path::PathBuf>) -> ClientBuilder {
        ClientBuilder::new(Place::Socket(path.into()))
    }

    /// To the mint whose `listen.frontend.address` `url` leads to: https, or http to a loopback host.
    pub fn at_url(url: Url) -> ClientBuilder {
        ClientBuilder::new(Place::Url(url))
    }

    /// Has `claims`, which are written as a JSON object, signed under `profile`. What they leave out of `iat`, `exp` and
    /// `iss` the mint adds.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where neither rights nor profile allow it, or another [`ClientError`].
    pub async fn sign(&self, profile: &str, claims: &impl Serialize) -> Result<SignedClaims, ClientError> {
        let claims = match serde_json::to_value(claims) {
            Ok(Value::Object(claims)) => claims,
            Ok(_) | Err(_) => return Err(ClientError::Settings("expected claims that are a JSON object".to_owned())),
        };
        self.sign_request(&SignRequest { profile: profile.to_owned(), claims, key: None, typ: None }).await
    }

    /// The same, by the key and of the type that `request` names.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub async fn sign_request(&self, request: &SignRequest) -> Result<SignedClaims, ClientError> {
        self.0.post(&["admin", "v1", "sign"], request).await
    }

    /// The keys that verify what is signed under `profile`: a JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn jwks(&self, profile: &str) -> Result<Map<String, Value>, ClientError> {
        self.0.get(&["admin", "v1", "sign", profile, "jwks"]).await
    }

    /// Has tokens issued to a client of this front-end, for somebody whom it vouches for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn grant(&self, grant: &FrontendGrant) -> Result<IssuedTokens, ClientError> {
        self.0.post(&["admin", "v1", "grants"], grant).await
    }

    /// What is asked for by the login whose handle came with the browser (`?login=`).
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the status 404 where it is over, or never was; or another [`ClientError`].
    pub async fn login(&self, handle: &str) -> Result<Login, ClientError> {
        self.0.get(&["admin", "v1", "logins", handle]).await
    }

    /// Decides a login: the person is `acceptance.subject`, and agrees.
    ///
    /// # Errors
    /// As [`Self::login`], and with the status 409 where it was decided before.
    pub async fn accept(&self, handle: &str, acceptance: &Acceptance) -> Result<Redirection, ClientError> {
        self.0.post(&["admin", "v1", "logins", handle, "accept"], acceptance).await
    }

    /// Decides a login: it is refused.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn refuse(&self, handle: &str, refusal: &Refusal) -> Result<Redirection, ClientError> {
        self.0.post(&["admin", "v1", "logins", handle, "refuse"], refusal).await
    }

    /// What is asked for by the device whose code somebody typed.
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn device(&self, user_code: &str) -> Result<Device, ClientError> {
        self.0.get(&["admin", "v1", "devices", user_code]).await
    }

    /// Decides on a device: the person is `acceptance.subject`, and agrees.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_device(&self, user_code: &str, acceptance: &Acceptance) -> Result<(), ClientError> {
        let done: Result<Map<String, Value>, _> =
            self.0.post(&["admin", "v1", "devices", user_code, "accept"], acceptance).await;
        done.map(drop)
    }

    /// Decides on a device: it is refused.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn refuse_device(&self, user_code: &str, refusal: &Refusal) -> Result<(), ClientError> {
        let done: Result<Map<String, Value>, _> =
            self.0.post(&["admin", "v1", "devices", user_code, "refuse"], refusal).await;
        done.map(drop)
    }

    /// What is asked for by the logout whose handle came with the browser (`?logout=`).
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn logout(&self, handle: &str) -> Result<Logout, ClientError> {
        self.0.get(&["admin", "v1", "logouts", handle]).await
    }

    /// Says that the person logged out: of `session`, by the front-end's own name, or of the session of the ID token that
    /// the client showed.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_logout(&self, handle: &str, session: Option<&str>) -> Result<AfterLogout, ClientError> {
        let body: Map<String, Value> =
            session.map(|session| ("session".to_owned(), session.into())).into_iter().collect();
        self.0.post(&["admin", "v1", "logouts", handle, "accept"], &body).await
    }

    /// Ends `session`, by the front-end's own name, and has its clients told.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn end_session(&self, session: &str) -> Result<EndedSession, ClientError> {
        self.0.post(&["admin", "v1", "sessions", "end"], &json!({ "session": session })).await
    }
}
