//! `mintkeep trust`: what the trust policies say, and what they say of one token. Nothing is started for it, and
//! nobody is asked: keys are at hand only where they are in a file.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Failure, Kind};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::jose::foreign::{ForeignClaims, ForeignKeySet, MAX_JWS_LENGTH, PresentedForeignJws, Untimely};
use crate::oauth::trust::claim::{ClaimMatch, ClaimValue, Expected};
use crate::oauth::trust::{KeyLocation, TrustPolicy, TrustedIssuer};

/// What the policies say of one token.
#[derive(Debug, Serialize)]
pub struct Trial {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`.
    pub audience: Vec<String>,
    /// `exp`, RFC 3339.
    pub expires_at: Option<String>,
    /// Why it is not good now, where it is not.
    pub untimely: Option<String>,
    /// Whether the issuer signed it.
    pub signature: Signature,
    /// What each policy says, in order.
    pub policies: Vec<PolicyTrial>,
    /// The policy that would be used.
    pub policy: Option<PolicyReport>,
}

/// What one policy says of a token.
#[derive(Debug, Serialize)]
pub struct PolicyTrial {
    /// The name of the policy.
    pub name: String,
    /// The first thing that is not as the policy wants it; absent where all is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
}

/// Whether the issuer signed a token.
#[derive(Debug, Serialize)]
#[serde(tag = "standing", content = "reason", rename_all = "snake_case")]
pub enum Signature {
    /// It did.
    Verified,
    /// It did not; why.
    Refused(String),
    /// Nobody looked; why.
    NotChecked(String),
}

/// A policy, as it is in force.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the settings of [[trust]]")]
pub struct PolicyReport {
    pub name: String,
    pub issuer: String,
    pub audience: String,
    #[serde(rename = "match")]
    pub claims: Map<String, Value>,
    pub client: String,
    pub scope: String,
    pub lifetime_seconds: u64,
    pub subject: Option<String>,
    pub actors: Vec<String>,
}

/// The policies, and their issuers.
#[derive(Debug, Serialize)]
pub struct TrustReport {
    /// In order.
    pub policies: Vec<PolicyReport>,
    /// Each once.
    pub issuers: Vec<IssuerReport>,
}

/// An issuer, and where its keys are.
#[derive(Debug, Serialize)]
pub struct IssuerReport {
    /// `iss`.
    pub issuer: String,
    /// `own`, `discovery`, or the place of a JWK Set.
    pub keys: String,
}

impl Trial {
    /// The exit code: 7 where no token would be issued for this one, however good its times.
    pub fn exit_code(&self) -> u8 {
        match (&self.policy, &self.signature) {
            (Some(_), Signature::Verified | Signature::NotChecked(_)) => 0,
            (None, _) | (_, Signature::Refused(_)) => Kind::Refused.exit_code(),
        }
    }
}

/// What the policies of `config` say of the token in the file `token`, or on standard input where that is `-`, as if
/// `client` presented it. Nothing of the token but its claims is in the answer or in an error.
///
/// # Errors
/// [`Failure`] where it cannot be read, or is not a JWT.
pub fn test(config: &Config, token: &Path, client: Option<&str>, now: Timestamp) -> Result<Trial, Failure> {
    if let Some(client) = client
        && !config.clients.iter().any(|known| known.id == client)
    {
        return Err(Failure::new(Kind::Refused, format!("no client has the id {client:?}")));
    }
    let text = read(token)?;
    let malformed = |error| Failure::new(Kind::Other, format!("{} is not a JWT: {error}", token.display()));
    let jws = PresentedForeignJws::parse(text.expose_secret().trim()).map_err(malformed)?;
    let claims = jws.claims().map_err(malformed)?;
    let issuer = claims.iss.as_deref().unwrap_or_default();
    let explanations = config.trust.explain(issuer, &claims.all, &claims.aud, client);
    let policies = explanations.into_iter().map(|explanation| PolicyTrial {
        name: explanation.policy.to_owned(),
        mismatch: explanation.outcome.err().map(|mismatch| mismatch.to_string()),
    });
    Ok(Trial {
        policies: policies.collect(),
        policy: config.trust.find(issuer, &claims.all, &claims.aud, client).map(PolicyReport::of),
        signature: signature(config, issuer, &jws)?,
        untimely: untimely(&claims, now),
        expires_at: claims.exp.map(|exp| exp.to_string()),
        issuer: issuer.to_owned(),
        subject: claims.sub,
        audience: claims.aud,
    })
}

/// The policies of `config`.
pub fn list(config: &Config) -> TrustReport {
    TrustReport {
        policies: config.trust.iter().map(PolicyReport::of).collect(),
        issuers: config.trusted_issuers.iter().map(IssuerReport::of).collect(),
    }
}

fn read(path: &Path) -> Result<SecretString, Failure> {
    let unreadable = |error| Failure::new(Kind::Other, format!("cannot read {}: {error}", path.display()));
    let file: Box<dyn std::io::Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).map_err(unreadable)?),
    };
    // Room for the line end of an editor; what is longer is refused by the parser.
    let most = u64::try_from(MAX_JWS_LENGTH).unwrap_or(u64::MAX).saturating_add(16);
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).map_err(unreadable)?;
    Ok(SecretString::from(text))
}

fn signature(config: &Config, issuer: &str, jws: &PresentedForeignJws<'_>) -> Result<Signature, Failure> {
    let not_checked = |reason: &str| Ok(Signature::NotChecked(reason.to_owned()));
    let Some(trusted) = config.trusted_issuers.iter().find(|trusted| trusted.issuer == issuer) else {
        return not_checked("no trust policy names the issuer");
    };
    let path = match &trusted.keys {
        KeyLocation::File(path) => path,
        KeyLocation::Discovery | KeyLocation::Uri(_) => return not_checked("only the mint fetches the issuer's keys"),
        KeyLocation::Own => return not_checked("the token is of this mint, which knows its keys"),
    };
    let wrong = |error: &dyn std::fmt::Display| {
        let message = format!("cannot use the keys of the issuer {issuer:?} in {}: {error}", path.display());
        Failure::new(Kind::Configuration, message)
    };
    let keys = std::fs::read(path).map_err(|error| wrong(&error))?;
    let keys = ForeignKeySet::parse(&keys).map_err(|error| wrong(&error))?;
    Ok(match keys.verify(jws) {
        Ok(_) => Signature::Verified,
        Err(reason) => Signature::Refused(reason.to_string()),
    })
}

fn untimely(claims: &ForeignClaims, now: Timestamp) -> Option<String> {
    let reason = claims.check_times(now, Duration::ZERO).err()?;
    let time = match reason {
        Untimely::Expired => claims.exp,
        Untimely::NotYetValid => claims.nbf,
        Untimely::IssuedInFuture => claims.iat,
        Untimely::NoExpiry => None,
    };
    Some(format!("{reason}{}", time.map(|time| format!(": {time}")).unwrap_or_default()))
}

impl PolicyReport {
    fn of(policy: &TrustPolicy) -> Self {
        let claims = policy.claims.iter();
        Self {
            name: policy.name.clone(),
            issuer: policy.issuer.clone(),
            audience: policy.audience.clone(),
            claims: claims
                .map(|ClaimMatch { claim, expected }| (claim.as_str().to_owned(), as_json(expected)))
                .collect(),
            client: policy.client.clone(),
            scope: policy.scope.as_str().to_owned(),
            lifetime_seconds: policy.lifetime.as_secs(),
            subject: policy.subject.clone(),
            actors: policy.actors.clone(),
        }
    }
}

impl IssuerReport {
    fn of(trusted: &TrustedIssuer) -> Self {
        let keys = match &trusted.keys {
            KeyLocation::Own => "own".to_owned(),
            KeyLocation::Discovery => "discovery".to_owned(),
            KeyLocation::Uri(uri) => uri.to_string(),
            KeyLocation::File(path) => path.display().to_string(),
        };
        Self { issuer: trusted.issuer.clone(), keys }
    }
}

/// As it is written in the configuration.
fn as_json(expected: &Expected) -> Value {
    let value = |value: &ClaimValue| match value {
        ClaimValue::Text(text) => json!(text),
        ClaimValue::Integer(integer) => json!(integer),
        ClaimValue::Boolean(boolean) => json!(boolean),
    };
    match expected {
        Expected::AnyOf(values) => match &values[..] {
            [only] => value(only),
            several => several.iter().map(value).collect(),
        },
        Expected::Pattern(pattern) => json!({ "pattern": pattern.as_str() }),
    }
}
