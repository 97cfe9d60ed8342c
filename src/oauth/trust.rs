//! Trust policies: which tokens of other issuers are taken for which client. Pure matching: the signature and the
//! lifetime of a token were verified before anybody asks here.

pub mod claim;
mod index;
pub mod mismatch;
pub mod pattern;
mod reusable;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use self::claim::ClaimMatch;
use self::index::ClaimIndex;
use self::mismatch::{Explanation, Mismatch};
use super::key_sets::KeyPlace;
use super::remote_keys::KeySource;
use super::scope::Scope;
use crate::fetch::HttpsSettings;

/// Which tokens are trusted, and what they are good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustPolicy {
    /// Its name, for the log and other policies.
    pub name: String,
    /// `iss` of the tokens.
    pub issuer: String,
    /// The one value of `aud` that they carry.
    pub audience: String,
    /// What their claims have to be, all of it; at least one.
    pub claims: Vec<ClaimMatch>,
    /// The id of the client that access tokens are issued to.
    pub client: String,
    /// The most scope that they get, within the client's.
    pub scope: Scope,
    /// How long they live.
    pub lifetime: Duration,
    /// Their `sub`, in the place of the presented token's.
    pub subject: Option<String>,
    /// For delegation (RFC 8693 §4.1): the names of policies, one of which the actor's token has to match. Empty for a
    /// policy that takes no actor.
    pub actors: Vec<String>,
}

/// An issuer whose tokens are trusted where a policy matches them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedIssuer {
    /// `iss`, compared exactly.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeyLocation,
    /// A PEM file of authorities that its TLS certificate may come from, besides those of the system.
    pub ca: Option<PathBuf>,
    /// Whether its host may be at an address that is not of the public network.
    pub allow_private_addresses: bool,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyLocation {
    /// They are mintkeep's own: the issuer is this mint.
    Own,
    /// Where its metadata say (`/.well-known/openid-configuration`).
    Discovery,
    /// A JWK Set at this URL.
    Uri(Url),
    /// A JWK Set in this file.
    File(PathBuf),
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug)]
pub enum IssuerKeys {
    /// Here: it is this mint.
    Own,
    /// Elsewhere.
    At(KeyPlace),
}

impl TrustedIssuer {
    /// Where its keys are, and how to get there.
    pub fn place(&self) -> IssuerKeys {
        let source = match &self.keys {
            KeyLocation::Own => return IssuerKeys::Own,
            KeyLocation::Discovery => KeySource::Discovery { issuer: self.issuer.clone() },
            KeyLocation::Uri(url) => KeySource::JwksUri(url.clone()),
            KeyLocation::File(path) => KeySource::File(path.clone()),
        };
        let settings = HttpsSettings {
            authorities: self.ca.clone(),
            allow_private: self.allow_private_addresses,
            ..HttpsSettings::default()
        };
        IssuerKeys::At(KeyPlace::new(source, settings))
    }
}

impl TrustPolicy {
    /// Whether it trusts a token of `issuer` with these claims and audiences, presented by `client` where that is known;
    /// the first thing that is wrong otherwise.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn check<'a>(
        &'a self,
        issuer: &'a str,
        claims: &'a Map<String, Value>,
        audience: &'a [String],
        client: Option<&'a str>,
    ) -> Result<(), Mismatch<'a>> {
        if let Some(found) = client.filter(|client| *client != self.client) {
            return Err(Mismatch::Client { expected: &self.client, found });
        }
        if issuer != self.issuer {
            return Err(Mismatch::Issuer { expected: &self.issuer, found: issuer });
        }
        // A token that is for others too may have come here by way of them.
        if !matches!(audience, [only] if *only == self.audience) {
            return Err(Mismatch::Audience { expected: &self.audience, found: audience });
        }
        self.claims.iter().try_for_each(|expected| match expected.claim.find(claims) {
            Some(found) if expected.expected.is_met_by(found) => Ok(()),
            found => Err(Mismatch::Claim { expected, found }),
        })
    }

    /// What an operator should know of it: names that can pass to somebody else.
    pub fn warnings(&self) -> Vec<String> {
        reusable::warnings(self)
    }
}

/// All trust policies, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct TrustPolicies {
    policies: Vec<TrustPolicy>,
    by_name: HashMap<String, usize>,
    by_issuer: HashMap<String, ClaimIndex>,
}

impl TrustPolicies {
    /// The first policy that trusts a token of `issuer` with these claims and audiences; of those for `client` only,
    /// where that is known.
    pub fn find(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
        audience: &[String],
        client: Option<&str>,
    ) -> Option<&TrustPolicy> {
        let candidates = self.by_issuer.get(issuer)?.candidates(claims);
        let mut candidates = candidates.into_iter().filter_map(|position| self.policies.get(position));
        candidates.find(|policy| policy.check(issuer, claims, audience, client).is_ok())
    }

    /// The first of the policies that `policy` names for its actors which trusts the actor's token.
    pub fn find_actor(
        &self,
        policy: &TrustPolicy,
        issuer: &str,
        claims: &Map<String, Value>,
        audience: &[String],
    ) -> Option<&TrustPolicy> {
        let mut actors = policy.actors.iter().filter_map(|name| self.named(name));
        actors.find(|actor| actor.check(issuer, claims, audience, None).is_ok())
    }

    /// For every policy, in order, whether it matches, or the first thing that does not.
    pub fn explain<'a>(
        &'a self,
        issuer: &'a str,
        claims: &'a Map<String, Value>,
        audience: &'a [String],
        client: Option<&'a str>,
    ) -> Vec<Explanation<'a>> {
        let explain = |policy: &'a TrustPolicy| Explanation {
            policy: &policy.name,
            outcome: policy.check(issuer, claims, audience, client),
        };
        self.policies.iter().map(explain).collect()
    }

    /// The policy `name`.
    pub fn named(&self, name: &str) -> Option<&TrustPolicy> {
        self.by_name.get(name).and_then(|position| self.policies.get(*position))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &TrustPolicy> {
        self.policies.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// How long an access token by any of them may live; zero where there are none.
    pub fn longest_lifetime(&self) -> Duration {
        self.policies.iter().map(|policy| policy.lifetime).max().unwrap_or_default()
    }
}

impl FromIterator<TrustPolicy> for TrustPolicies {
    fn from_iter<Policies: IntoIterator<Item = TrustPolicy>>(policies: Policies) -> Self {
        let policies: Vec<TrustPolicy> = policies.into_iter().collect();
        let by_name = policies.iter().enumerate().map(|(position, policy)| (policy.name.clone(), position)).collect();
        let mut of_issuer: HashMap<String, Vec<(usize, &TrustPolicy)>> = HashMap::new();
        for (position, policy) in policies.iter().enumerate() {
            of_issuer.entry(policy.issuer.clone()).or_default().push((position, policy));
        }
        let by_issuer = of_issuer.into_iter().map(|(issuer, policies)| (issuer, ClaimIndex::new(&policies))).collect();
        Self { policies, by_name, by_issuer }
    }
}

#[cfg(test)]
mod tests;
