//! The permission to issue: made by a grant, used up by the issuer.

use super::client::Client;
use super::scope::Scope;
use crate::sealing::FamilySecret;
use crate::store::{Family, Redemption};

/// What a grant allowed. It cannot be cloned, and nothing outside the grants can make one.
#[derive(Debug)]
pub struct Authorized<'a> {
    pub(super) client: &'a Client,
    pub(super) subject: String,
    pub(super) scope: Scope,
    pub(super) renewal: Option<Renewal>,
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

/// What an operator allowed: a new refresh family for a workload.
#[derive(Debug)]
pub struct AuthorizedWorkload<'a> {
    pub(super) client: &'a Client,
    pub(super) subject: String,
    pub(super) scope: Scope,
}
