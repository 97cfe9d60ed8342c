//! The permission to issue: made by a grant, used up by the issuer.

use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::login_record::LoginRecord;
use super::scope::Scope;
use super::target::Target;
use crate::jose::claims::{Actor, Audience, Confirmation};
use crate::sealing::FamilySecret;
use crate::store::{Family, LoginId, Redemption};

/// What a client asks a grant for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The scope; what it may have where it is left out.
    pub scope: Option<&'a str>,
    /// Who the token is to be for.
    pub target: Target,
    /// What the token is to be bound to: the client proved that it holds it.
    pub confirmation: Option<Confirmation>,
}

/// What a grant allowed. It cannot be cloned, and nothing outside the grants can make one.
#[derive(Debug)]
pub struct Authorized {
    pub(super) client: Arc<Client>,
    pub(super) subject: String,
    pub(super) scope: Scope,
    pub(super) audience: Audience,
    /// How long the access token lives, at the most.
    pub(super) lifetime: Duration,
    pub(super) confirmation: Option<Confirmation>,
    pub(super) actor: Option<Actor>,
    /// The login behind the subject, where a front-end performed one.
    pub(super) login: Option<Box<LoginRecord>>,
    pub(super) renewal: Option<Renewal>,
    /// The family that begins with it, where one does.
    pub(super) beginning: Option<Box<Beginning>>,
}

impl Authorized {
    /// For `client`, with `scope` of what it asked for.
    pub(super) fn new(client: Arc<Client>, subject: String, scope: Scope, asked: Asked<'_>) -> Self {
        let Asked { target, confirmation, .. } = asked;
        let lifetime = client.access_token_lifetime;
        let audience = target.audience;
        Self {
            client,
            subject,
            scope,
            audience,
            lifetime,
            confirmation,
            actor: None,
            login: None,
            renewal: None,
            beginning: None,
        }
    }
}

/// The refresh family that an authorization came from.
#[derive(Debug)]
pub(super) struct Renewal {
    /// The family as it was read.
    pub(super) family: Family,
    /// What is committed when the tokens are made.
    pub(super) redemption: Redemption,
    /// The generation that the client is to hold then, by the record as it was read.
    pub(super) generation: u32,
    /// Whether it needs a refresh token of that generation.
    pub(super) renewed: bool,
    /// What that token has to carry.
    pub(super) secret: Option<FamilySecret>,
}

/// The refresh family that begins with an authorization: somebody logged in.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The code that is used up for it; none where a front-end asks by itself.
    pub(super) code: Option<LoginId>,
    /// What the client knows its ID token by.
    pub(super) nonce: Option<String>,
    /// The session of the front-end.
    pub(super) session: Option<String>,
    /// All that was granted; the first access token may have less.
    pub(super) granted: Scope,
}

/// What an operator allowed: a new refresh family for a workload.
#[derive(Debug)]
pub struct AuthorizedWorkload {
    pub(super) client: Arc<Client>,
    pub(super) subject: String,
    pub(super) scope: Scope,
}
