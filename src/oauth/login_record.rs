//! A login that a front-end performed: what it said of it, and what the mint keeps of that.

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::clock::Timestamp;
use crate::jose::claims::Audience;
use crate::jose::id_token::ExtraClaims;

/// What a front-end said of a login. It is kept with the refresh family that began with it (`Family::login`, as JSON).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginRecord {
    /// When the person proved who it is, where the front-end told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How sure that was (OpenID Connect Core 1.0 §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// How it was done (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// What else is known of the person.
    #[serde(default, skip_serializing_if = "ExtraClaims::is_empty")]
    pub claims: ExtraClaims,
    /// Who its tokens may be for, where the client asked for less than it is registered for (RFC 8707 §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// What a login allows whoever redeems its code. It is stored with the code, as JSON, beside what the client asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginGrant {
    /// Who logged in.
    pub subject: String,
    /// What was granted, space-separated.
    pub scope: String,
    /// The session of the front-end that it belongs to, with the front-end's name before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the front-end said of the login.
    pub record: LoginRecord,
}

/// The scope values that ask for claims, and the claims that each asks for (OpenID Connect Core 1.0 §5.4).
pub const SCOPE_CLAIMS: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

impl LoginRecord {
    /// The claims for who was granted `scope`: those that no scope value asks for are for everybody who may know who it
    /// is, because the front-end said them to this client.
    pub fn claims_for(&self, scope: &Scope) -> ExtraClaims {
        let asks = |value: &str| scope.values().any(|granted| granted == value);
        self.claims.limited_to(|claim| {
            let asker = SCOPE_CLAIMS.iter().find(|(_, claims)| claims.contains(&claim));
            asker.is_none_or(|(value, _)| asks(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_for_who_was_granted_its_scope() {
        let claims = json!({"name": "Alice", "email": "a@example.com", "phone_number": "1", "groups": ["a"]});
        let record: LoginRecord = serde_json::from_value(json!({ "claims": claims })).unwrap();
        let told = |scope: &str| {
            let claims = record.claims_for(&Scope::parse(scope).unwrap());
            serde_json::to_value(claims).unwrap()
        };
        assert_eq!(told("openid"), json!({"groups": ["a"]}));
        assert_eq!(told("openid email"), json!({"email": "a@example.com", "groups": ["a"]}));
        assert_eq!(told("openid profile email phone address"), claims);
    }
}
