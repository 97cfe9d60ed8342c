//! What can be revoked: families, all that match a [`Selection`], and single access tokens.

use crate::clock::Timestamp;
use crate::store::{Family, FamilyId};

/// Bytes of an access token's name.
pub const TOKEN_ID_BYTES: usize = 16;

/// The random 128-bit name of one access token: its `jti`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenId(pub [u8; TOKEN_ID_BYTES]);

/// An access token that was revoked by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RevokedToken {
    /// Its name.
    pub jti: TokenId,
    /// When it ends; until then it has to be remembered.
    pub expires_at: Timestamp,
}

/// Families: all that match every member that is given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// That one.
    pub fid: Option<FamilyId>,
    /// Those of this client.
    pub client_id: Option<String>,
    /// Those that speak for this subject.
    pub subject: Option<String>,
    /// Those that began before this.
    pub issued_before: Option<Timestamp>,
}

impl Selection {
    /// The one family `fid`.
    pub fn of_family(fid: FamilyId) -> Self {
        Self { fid: Some(fid), ..Self::default() }
    }

    /// Whether it matches every family.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it matches `family`.
    pub fn matches(&self, family: &Family) -> bool {
        self.fid.is_none_or(|fid| fid == family.fid)
            && self.client_id.as_ref().is_none_or(|client_id| *client_id == family.client_id)
            && self.subject.as_ref().is_none_or(|subject| *subject == family.subject)
            && self.issued_before.is_none_or(|time| family.created_at < time)
    }
}

/// A part of a list of families, in the order of their handles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// Begin behind this one; from the start where it is left out.
    pub after: Option<FamilyId>,
    /// At the most this many.
    pub limit: u32,
}
