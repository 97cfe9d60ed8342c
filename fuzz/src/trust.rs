//! Trust policies in TOML, then `---` on a line, then the claims of a token in JSON.

use std::path::Path;
use std::str;

use mintkeep::config::Config;
use mintkeep::oauth::trust::claim::{ClaimMatch, ClaimValue, Expected};
use mintkeep::oauth::trust::{TrustPolicies, TrustPolicy};
use serde_json::{Map, Value};

use super::reading::{audience, text};
use super::scene::CONFIGURATION;

const BETWEEN: &str = "\n---\n";

/// Reads the policies, and finds those that match.
pub fn run(data: &[u8]) -> bool {
    let Ok(data) = str::from_utf8(data) else { return false };
    let (tables, claims) = data.split_once(BETWEEN).unwrap_or((data, "{}"));
    // The one setting of a client whose file is read at once: whatever is on this machine is not for here.
    if tables.contains("certificates") {
        return false;
    }
    let configuration = format!("{CONFIGURATION}\n{tables}");
    let config = match Config::parse(Path::new("/etc/mintkeep/mintkeep.toml"), &configuration) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "an error of several lines: {error}");
            return false;
        }
    };
    config.warnings();
    config.token_profiles();
    for policy in config.trust.iter() {
        check_policy(policy, &config);
    }
    if let Ok(Value::Object(claims)) = serde_json::from_str(claims) {
        check_found(&config.trust, &claims);
    }
    !config.trust.is_empty()
}

fn check_policy(policy: &TrustPolicy, config: &Config) {
    let client = config.clients.iter().find(|client| client.id == policy.client).expect("the client is registered");
    assert!(policy.scope.is_within(&client.scope), "{policy:?}");
    assert!(policy.lifetime.as_secs() <= 24 * 60 * 60, "{policy:?}");
    assert!(!policy.claims.is_empty() && !policy.audience.is_empty(), "{policy:?}");
    assert!(policy.actors.iter().all(|name| config.trust.named(name).is_some()), "{policy:?}");
    let (named, issuers) = (config.trust.named(&policy.name), config.trusted_issuers.iter());
    assert_eq!(named, Some(policy), "two policies of one name");
    assert_eq!(issuers.filter(|issuer| issuer.issuer == policy.issuer).count(), 1, "{policy:?}");
}

/// What is found is the first that matches, whoever asks.
fn check_found(policies: &TrustPolicies, claims: &Map<String, Value>) {
    let audience: Vec<String> = audience(claims).into_iter().map(str::to_owned).collect();
    let issuer = text(claims, "iss").unwrap_or_default();
    for client in [None, text(claims, "client"), Some("ci")] {
        let explained = policies.explain(issuer, claims, &audience, client);
        let first = explained.iter().find(|explanation| explanation.outcome.is_ok()).map(|found| found.policy);
        let found = policies.find(issuer, claims, &audience, client);
        assert_eq!(found.map(|policy| policy.name.as_str()), first);
        for explanation in &explained {
            let told = explanation.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(!told.contains(char::is_control), "{told:?}");
        }
        if let Some(policy) = found {
            assert!(policy.issuer == issuer && audience == [policy.audience.as_str()]);
            assert!(client.is_none_or(|client| client == policy.client));
            assert!(policy.claims.iter().all(|claim| is_met(claim, claims)), "{policy:?}");
        }
    }
    for policy in policies.iter() {
        if let Some(actor) = policies.find_actor(policy, issuer, claims, &audience) {
            assert!(policy.actors.contains(&actor.name));
            assert!(actor.claims.iter().all(|claim| is_met(claim, claims)), "{actor:?}");
        }
    }
}

fn is_met(ClaimMatch { claim, expected }: &ClaimMatch, claims: &Map<String, Value>) -> bool {
    let name = claim.as_str();
    let object = Value::Object(claims.clone());
    // RFC 6901, as serde_json reads it.
    let found = if name.starts_with('/') { object.pointer(name) } else { object.get(name) };
    match (expected, found) {
        (Expected::AnyOf(values), Some(found)) => values.iter().any(|value| match value {
            ClaimValue::Text(text) => found == text,
            ClaimValue::Integer(integer) => found == integer,
            ClaimValue::Boolean(boolean) => found == boolean,
        }),
        (Expected::Pattern(pattern), Some(Value::String(text))) => {
            // As many levels, each with what the pattern's own characters are.
            let (levels, found) = (pattern.as_str().split('/'), text.split('/'));
            let own = |level: &str| level.chars().filter(|character| *character != '*').count();
            levels.clone().count() == found.clone().count()
                && levels.zip(found).all(|(level, text)| own(level) <= text.chars().count())
        }
        _ => false,
    }
}
