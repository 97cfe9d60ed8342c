//! Completing claims.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::keeper::policy::{Content, DelegatedProfile};
use crate::oauth::frontend::SigningRights;

/// Adds to `claims` what they leave out and can be told at `now`: `iat`, `exp`, and `iss` where `profile` and `rights`
/// leave one. Those of a profile of any content say themselves what they mean.
pub(super) fn complete(
    claims: &mut Map<String, Value>,
    profile: &DelegatedProfile,
    rights: &SigningRights,
    now: Timestamp,
) {
    let Content::Jwt { issuers, max_lifetime, .. } = &profile.content else { return };
    if !claims.contains_key("iss")
        && let Some(issuer) = only(issuers, rights.issuers.as_deref())
    {
        claims.insert("iss".to_owned(), issuer.into());
    }
    let iat = claims.entry("iat").or_insert_with(|| now.unix_seconds().into());
    // What is no time is the keeper's to refuse.
    let Some(iat) = iat.as_i64() else { return };
    let lifetime = rights.max_lifetime.map_or(*max_lifetime, |most| most.min(*max_lifetime));
    claims.entry("exp").or_insert_with(|| after(iat, lifetime).into());
}

/// The one of `issuers` that is among those `allowed` too, where it is one.
fn only<'a>(issuers: &'a [String], allowed: Option<&[String]>) -> Option<&'a str> {
    let mut left = issuers.iter().filter(|issuer| allowed.is_none_or(|allowed| allowed.contains(issuer)));
    left.next().filter(|_| left.next().is_none()).map(String::as_str)
}

fn after(iat: i64, lifetime: Duration) -> i64 {
    iat.saturating_add_unsigned(lifetime.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hardware::{DelegatedKeys, KeyName};

    fn profile(content: Content) -> DelegatedProfile {
        DelegatedProfile {
            name: KeyName::parse("p").unwrap(),
            content,
            prehashed_per_second: None,
            keys: DelegatedKeys::One,
        }
    }

    fn completed(issuers: &[&str], rights: &SigningRights, claims: Value) -> Value {
        let content = Content::Jwt {
            issuers: issuers.iter().map(|&issuer| issuer.to_owned()).collect(),
            audiences: None,
            types: vec!["JWT".to_owned()],
            max_lifetime: Duration::from_secs(600),
        };
        let Value::Object(mut claims) = claims else { panic!("an object") };
        complete(&mut claims, &profile(content), rights, Timestamp::from_unix_seconds(1000));
        claims.into()
    }

    #[test]
    fn what_is_left_out_is_added_and_nothing_is_changed() {
        let all = SigningRights::default();
        let claims = json!({"iss": "a", "iat": 1000, "exp": 1600});
        assert_eq!(completed(&["a"], &all, json!({})), claims);
        let said = json!({"iss": "x", "iat": 5, "exp": 6, "sub": "s"});
        assert_eq!(completed(&["a"], &all, said.clone()), said);
        assert_eq!(completed(&["a"], &all, json!({"iat": 1}))["exp"], 601);
        assert_eq!(completed(&["a"], &all, json!({"iat": i64::MAX}))["exp"], i64::MAX);
        assert!(completed(&["a"], &all, json!({"iat": "x"})).get("exp").is_none());
        assert!(completed(&["a", "b"], &all, json!({})).get("iss").is_none());
    }

    #[test]
    fn what_is_added_is_within_the_rights_too() {
        let rights = SigningRights {
            issuers: Some(vec!["b".to_owned(), "c".to_owned()]),
            max_lifetime: Some(Duration::from_secs(60)),
            ..SigningRights::default()
        };
        assert_eq!(completed(&["a", "b"], &rights, json!({})), json!({"iss": "b", "iat": 1000, "exp": 1060}));
        assert!(completed(&["a"], &rights, json!({})).get("iss").is_none());
    }

    #[test]
    fn claims_of_any_content_stay_as_they_are() {
        let mut claims = Map::new();
        complete(&mut claims, &profile(Content::Any), &SigningRights::default(), Timestamp::from_unix_seconds(1));
        assert!(claims.is_empty());
    }
}
