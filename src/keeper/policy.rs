//! The signing policy: what the keeper is willing to sign, whoever asks.
//!
//! It is enforced here, behind the hardware boundary, and not in the process that parses HTTP: even
//! somebody who owns that process cannot have a ten-year token signed, or one for another issuer.

mod access_token;
pub mod delegated;
mod id_token;
mod introspection;
mod logout_token;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::clock::{Clock, Timestamp};
use crate::hardware::Role;
use crate::jose::Malformed;
use crate::jose::claims::Actor;
use crate::jose::jws::{ES256, PresentedSigningInput};

pub use self::delegated::{Content, DelegatedKeys, DelegatedProfile};
pub use self::logout_token::LOGOUT_TOKEN_LIFETIME;

/// How far `iat` may be from the keeper's own clock.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The profile of the access tokens that the mint issues.
pub const ACCESS_TOKEN_PROFILE: &str = "access-token";

/// The profile of signed introspection answers (RFC 9701).
pub const INTROSPECTION_PROFILE: &str = "token-introspection";

/// The profile of ID tokens (OpenID Connect Core 1.0 §2).
pub const ID_TOKEN_PROFILE: &str = "id-token";

/// The profile of logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4).
pub const LOGOUT_TOKEN_PROFILE: &str = "logout-token";

/// What one kind of token must look like to be signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Profile {
    /// The name by which a request asks for it.
    pub name: String,
    /// The one `iss` allowed.
    pub issuer: String,
    /// The one `typ` allowed.
    pub typ: String,
    /// What its claims must say.
    pub rules: ClaimRules,
}

/// What the claims of one kind of token must say, beyond `iss` and `iat`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ClaimRules {
    /// An access token (RFC 9068 §2.2).
    AccessToken {
        /// The longest `exp - iat` allowed.
        max_lifetime: Duration,
    },
    /// A signed introspection answer (RFC 9701 §5): for the resource server that asked, with a
    /// `token_introspection`, and with neither `sub` nor `exp`, so that nobody takes it for a token.
    Introspection,
    /// An ID token: for the client that is on record.
    IdToken {
        /// The longest `exp - iat` allowed.
        max_lifetime: Duration,
    },
    /// A logout token: for the client that is on record.
    LogoutToken,
}

/// The rule that a JWT broke.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rule {
    /// No profile of this name.
    #[error("profile: no signing profile of that name")]
    Profile,
    /// The key is not one of the profile's.
    #[error("key: this profile signs by other keys")]
    Key,
    /// Not a JWS signing input with a header of just `alg`, `typ`, `kid` and JSON claims.
    #[error("format: {0}")]
    Format(#[from] Malformed),
    /// `alg` is not ES256.
    #[error("alg: expected ES256")]
    Algorithm,
    /// `typ` is not the profile's.
    #[error("typ: expected the profile's")]
    Type,
    /// `kid` is not the key that was asked to sign.
    #[error("kid: expected that of the key that is to sign")]
    KeyId,
    /// `iss` is not the profile's.
    #[error("iss: expected the profile's issuer")]
    Issuer,
    /// A claim that every token must have is absent or empty.
    #[error("{0}: required, and absent or empty")]
    Required(&'static str),
    /// `aud` is not exactly the resource server, or the client, that the request is on record for.
    #[error("aud: expected the one on whose behalf the request is made")]
    Audience,
    /// A claim is not of the type that it has to be, or is empty.
    #[error("{0}: not of its type, or empty")]
    Claim(&'static str),
    /// A claim that only the mint says is among those that a front-end said.
    #[error("claims: one is there that this kind of token does not have")]
    Reserved,
    /// `auth_time` is to come.
    #[error("auth_time: later than the keeper's clock")]
    AuthenticatedAt,
    /// `client_id` is not the client that the request is on record for.
    #[error("client_id: expected the client on whose behalf the request is made")]
    Client,
    /// `act` names nobody, or too many.
    #[error("act: expected at the most {} actors, each with a sub", Actor::MOST)]
    Actor,
    /// `iat` is not within [`CLOCK_TOLERANCE`] of the keeper's clock.
    #[error("iat: more than 60 s off the keeper's clock")]
    IssuedAt,
    /// `exp` is not after `iat`, or too long after it.
    #[error("lifetime: exp - iat is not between 1 s and the profile's maximum")]
    Lifetime,
    /// `aud` is not one or several of the profile's audiences.
    #[error("aud: expected one or several of the profile's audiences, and no others")]
    Audiences,
    /// A time is not an integer.
    #[error("{0}: expected whole seconds since the epoch, an integer")]
    Seconds(&'static str),
    /// `nbf` is after `exp`.
    #[error("nbf: expected a time that is not after exp")]
    NotBefore,
    /// A claim is there that differs from one that has a rule in upper and lower case only.
    #[error("{0}: there in another spelling, which some verifiers would read in its place")]
    Spelling(&'static str),
    /// What is to be signed would pass for evidence of a key.
    #[error("input: it begins as evidence of a key does")]
    Evidence,
    /// The profile signs nothing that it cannot look at.
    #[error("digest: this profile signs no digests, see prehashed_per_second")]
    Digest,
    /// More digests than the profile allows.
    #[error("rate: more digests than prehashed_per_second")]
    Rate,
    /// A key is to be made that no profile has.
    #[error("keys: no signing profile has keys of that name")]
    NoSuchKeys,
    /// A key is to be destroyed that no front-end had made.
    #[error("keys: only those are destroyed that front-ends have made")]
    NotCreated,
}

/// Who wants something signed, under which profile, and by which key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SigningRequest<'a> {
    /// The client, resource server or front-end on whose behalf the request is made.
    pub client: &'a str,
    /// The name of the profile.
    pub profile: &'a str,
    /// The key.
    pub kid: &'a str,
    /// What the device says that the key is for.
    pub role: Role,
}

/// The profiles that a keeper knows.
pub struct Policy {
    profiles: Vec<Profile>,
    delegated: Vec<Delegated>,
}

/// A profile for front-ends, and how many digests it has left.
struct Delegated {
    profile: DelegatedProfile,
    digests: Option<Budget>,
}

impl Policy {
    /// A policy of exactly `profiles`.
    pub fn new(profiles: Vec<Profile>) -> Self {
        Self { profiles, delegated: Vec::new() }
    }

    /// The same with `profiles` for front-ends, which sign digests by the time of `clock`.
    #[must_use]
    pub fn with_delegated(self, profiles: Vec<DelegatedProfile>, clock: &Arc<dyn Clock>) -> Self {
        let delegated = profiles.into_iter().map(|profile| {
            let digests = profile.prehashed_per_second.map(|number| Budget::per_second(number, clock));
            Delegated { profile, digests }
        });
        Self { delegated: delegated.collect(), ..self }
    }

    /// The profiles of what the mint makes.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The profiles for front-ends.
    pub fn delegated_profiles(&self) -> impl Iterator<Item = &DelegatedProfile> {
        self.delegated.iter().map(|delegated| &delegated.profile)
    }

    /// Whether `signing_input` may be signed at `now`.
    ///
    /// # Errors
    /// The first [`Rule`] that it breaks.
    pub fn check(&self, request: &SigningRequest<'_>, signing_input: &[u8], now: Timestamp) -> Result<(), Rule> {
        let Some(profile) = self.profiles.iter().find(|known| known.name == request.profile) else {
            return self.delegated(request)?.profile.check(request, signing_input, now);
        };
        require(request.role == Role::Signing, Rule::Key)?;
        let presented = PresentedSigningInput::parse(signing_input)?;
        let header = presented.header()?;
        require(header.alg == ES256, Rule::Algorithm)?;
        require(header.typ == profile.typ, Rule::Type)?;
        require(header.kid == request.kid, Rule::KeyId)?;
        let (issuer, client) = (&profile.issuer, request.client);
        match profile.rules {
            ClaimRules::AccessToken { max_lifetime } => {
                access_token::check(&presented.claims()?, issuer, client, now, max_lifetime)
            }
            ClaimRules::Introspection => introspection::check(&presented.claims()?, issuer, client, now),
            ClaimRules::IdToken { max_lifetime } => {
                id_token::check(presented.claims_json(), issuer, client, now, max_lifetime)
            }
            ClaimRules::LogoutToken => logout_token::check(presented.claims_json(), issuer, client, now),
        }
    }

    /// Whether a digest may be signed, whatever it is of. One that may be is counted.
    ///
    /// # Errors
    /// The first [`Rule`] that it breaks.
    pub fn check_digest(&self, request: &SigningRequest<'_>) -> Result<(), Rule> {
        // What the mint makes can be looked at.
        require(self.profiles.iter().all(|known| known.name != request.profile), Rule::Digest)?;
        let digests = self.delegated(request)?.digests.as_ref().ok_or(Rule::Digest)?;
        require(digests.take(), Rule::Rate)
    }

    /// Whether a key of `role` may be made.
    ///
    /// # Errors
    /// [`Rule::NoSuchKeys`].
    pub fn check_generate(&self, role: Role) -> Result<(), Rule> {
        let is_known = match role {
            Role::Signing | Role::Sealing => true,
            Role::Delegated(_) => self.delegated_profiles().any(|profile| profile.has(role)),
        };
        require(is_known, Rule::NoSuchKeys)
    }

    /// Whether a key of `role` may be destroyed.
    ///
    /// # Errors
    /// [`Rule::NotCreated`].
    pub fn check_destroy(&self, role: Role) -> Result<(), Rule> {
        let mut created = self.delegated_profiles().filter(|profile| profile.keys == DelegatedKeys::Created);
        require(created.any(|profile| profile.has(role)), Rule::NotCreated)
    }

    /// The profile for front-ends that `request` names, where the key is one of its own.
    fn delegated(&self, request: &SigningRequest<'_>) -> Result<&Delegated, Rule> {
        let mut known = self.delegated.iter();
        let known = known.find(|known| known.profile.name.as_str() == request.profile).ok_or(Rule::Profile)?;
        require(known.profile.has(request.role), Rule::Key)?;
        Ok(known)
    }
}

fn check_issued_at(issued_at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Rule> {
    let issued_at = issued_at.ok_or(Rule::Required("iat"))?;
    let off_clock = issued_at.since(now).max(now.since(issued_at));
    require(off_clock <= CLOCK_TOLERANCE, Rule::IssuedAt)?;
    Ok(issued_at)
}

fn require(holds: bool, rule: Rule) -> Result<(), Rule> {
    if holds { Ok(()) } else { Err(rule) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jose::base64url;
    use crate::jose::claims::PresentedAccessTokenClaims;

    const NOW: i64 = 1_800_000_000;

    fn request(profile: &str) -> SigningRequest<'_> {
        SigningRequest { client: "robot", profile, kid: "active", role: Role::Signing }
    }

    fn check(header: &Value, claims: &Value) -> Result<(), Rule> {
        let policy = Policy::new(vec![Profile {
            name: ACCESS_TOKEN_PROFILE.to_owned(),
            issuer: "https://mint.example".to_owned(),
            typ: "at+jwt".to_owned(),
            rules: ClaimRules::AccessToken { max_lifetime: Duration::from_secs(300) },
        }]);
        let input = format!("{}.{}", base64url::encode(header.to_string()), base64url::encode(claims.to_string()));
        let now = Timestamp::from_unix_seconds(NOW);
        policy.check(&request(ACCESS_TOKEN_PROFILE), input.as_bytes(), now)
    }

    fn header() -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": "active"})
    }

    fn claims() -> Value {
        json!({
            "iss": "https://mint.example", "sub": "deploy", "aud": "https://api.example", "client_id": "robot",
            "iat": NOW, "exp": NOW + 300, "jti": "one", "scope": "read",
        })
    }

    #[test]
    fn what_the_profile_describes_is_signed() {
        assert_eq!(check(&header(), &claims()), Ok(()));
        let mut claims = claims();
        claims["cnf"] = json!({"jkt": "A".repeat(43)});
        claims["act"] = json!({"sub": "robot", "iss": "https://issuer.example", "act": {"sub": "another"}});
        assert_eq!(check(&header(), &claims), Ok(()));
        claims["cnf"] = json!({"x5t#S256": "A".repeat(43)});
        assert_eq!(check(&header(), &claims), Ok(()));
        claims["auth_time"] = json!(NOW - 3600);
        claims["acr"] = json!("urn:mfa");
        claims["amr"] = json!(["pwd", "otp"]);
        assert_eq!(check(&header(), &claims), Ok(()));
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        let broken = |member: &str, value: Value| {
            let mut claims = claims();
            claims[member] = value;
            check(&header(), &claims).unwrap_err()
        };
        assert_eq!(broken("iss", json!("https://other.example")), Rule::Issuer);
        assert_eq!(broken("iss", Value::Null), Rule::Issuer);
        assert_eq!(broken("client_id", json!("somebody-else")), Rule::Client);
        assert_eq!(broken("exp", json!(NOW + 301)), Rule::Lifetime);
        assert_eq!(broken("exp", json!(NOW)), Rule::Lifetime);
        assert_eq!(broken("exp", json!(i64::MAX)), Rule::Lifetime);
        assert_eq!(broken("iat", json!(NOW + 61)), Rule::IssuedAt);
        assert_eq!(broken("iat", json!(NOW - 61)), Rule::IssuedAt);
        assert_eq!(broken("iat", json!(i64::MIN)), Rule::IssuedAt);
        assert_eq!(broken("iss", json!(["https://mint.example"])), Rule::Format(Malformed::Json));
        // Another spelling, for a verifier that does not look at the case; and a claim that no rule knows.
        for claim in ["EXP", "Iss", "nbf", "token_introspection"] {
            assert_eq!(broken(claim, json!(NOW)), Rule::Format(Malformed::Json));
        }
        for cnf in [json!({}), json!({"jkt": "short"}), json!({"jwk": {}}), json!({"jkt": "A".repeat(43), "kid": "x"})]
        {
            assert_eq!(broken("cnf", cnf), Rule::Format(Malformed::Json));
        }
        assert_eq!(broken("act", json!({"sub": "a", "act": {"sub": ""}})), Rule::Actor);
        assert_eq!(broken("act", json!({"sub": "a", "exp": NOW})), Rule::Format(Malformed::Json));
        assert_eq!(broken("act", json!(["a"])), Rule::Format(Malformed::Json));
        assert_eq!(broken("auth_time", json!(NOW + 61)), Rule::AuthenticatedAt);
        assert_eq!(broken("auth_time", json!("today")), Rule::Format(Malformed::Json));
        assert_eq!(broken("acr", json!("")), Rule::Claim("acr"));
        for amr in [json!([]), json!([""])] {
            assert_eq!(broken("amr", amr), Rule::Claim("amr"));
        }
        assert_eq!(broken("amr", json!("pwd")), Rule::Format(Malformed::Json));
        let crowd = (0..=Actor::MOST).fold(Value::Null, |act, _| json!({"sub": "a", "act": act}));
        assert_eq!(broken("act", crowd), Rule::Actor);
        for claim in ["sub", "aud", "client_id", "jti"] {
            assert_eq!(broken(claim, json!("")), Rule::Required(claim));
        }
        for claim in ["sub", "aud", "client_id", "jti", "iat", "exp"] {
            assert_eq!(broken(claim, Value::Null), Rule::Required(claim));
        }
        let mut header = header();
        header["kid"] = json!("retired");
        assert_eq!(check(&header, &claims()), Err(Rule::KeyId));
        header["kid"] = json!("active");
        header["typ"] = json!("JWT");
        assert_eq!(check(&header, &claims()), Err(Rule::Type));
        header["alg"] = json!("none");
        assert_eq!(check(&header, &claims()), Err(Rule::Algorithm));
    }

    #[test]
    fn a_claim_named_twice_is_refused() {
        let claims = claims().to_string().replacen('{', r#"{"exp":1800000001,"#, 1);
        let policy = Policy::new(vec![]);
        let input = format!("{}.{}", base64url::encode(header().to_string()), base64url::encode(&claims));
        let presented = PresentedSigningInput::parse(input.as_bytes()).unwrap();
        assert!(presented.claims::<PresentedAccessTokenClaims<'_>>().is_err());
        let now = Timestamp::from_unix_seconds(NOW);
        assert_eq!(policy.check(&request("unknown"), input.as_bytes(), now), Err(Rule::Profile));
    }
}
