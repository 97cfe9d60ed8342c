//! What a front-end may have signed: narrower than the profiles, which the keeper enforces.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{FrontendError, SigningRights};

impl SigningRights {
    /// Fails where the profile `profile` is not among them.
    ///
    /// # Errors
    /// [`FrontendError::Forbidden`].
    pub fn check_profile(&self, profile: &str) -> Result<(), FrontendError> {
        let is_known = self.profiles.iter().any(|known| known == profile);
        permit(is_known, "the front-end may not use this signing profile")
    }

    /// Fails where `claims` go beyond them: in `iss`, in `aud`, or in the time between `iat` and `exp`. Where one of these
    /// is limited it has to be there, in a form that can be judged.
    ///
    /// # Errors
    /// [`FrontendError::Forbidden`].
    pub fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), FrontendError> {
        if let Some(issuers) = &self.issuers {
            let is_one =
                claims.get("iss").and_then(Value::as_str).is_some_and(|iss| issuers.iter().any(|one| one == iss));
            permit(is_one, "the front-end may not sign for this issuer")?;
        }
        if let Some(audiences) = &self.audiences {
            permit(is_within(claims.get("aud"), audiences), "the front-end may not sign for this audience")?;
        }
        if let Some(most) = self.max_lifetime {
            let lifetime =
                lifetime(claims).ok_or(FrontendError::Forbidden("the front-end has to say iat, and exp after it"))?;
            permit(lifetime <= most, "the front-end may not sign for so long a lifetime")?;
        }
        Ok(())
    }

    /// Whether some claims that the profile allows are not allowed here.
    pub fn limits_claims(&self) -> bool {
        self.issuers.is_some() || self.audiences.is_some() || self.max_lifetime.is_some()
    }

    /// Fails where it may not have digests signed.
    ///
    /// # Errors
    /// [`FrontendError::Forbidden`].
    pub fn check_prehashed(&self) -> Result<(), FrontendError> {
        permit(self.prehashed, "the front-end may not have digests signed")
    }

    /// Fails where it may not create or destroy keys.
    ///
    /// # Errors
    /// [`FrontendError::Forbidden`].
    pub fn check_creates_keys(&self) -> Result<(), FrontendError> {
        permit(self.creates_keys, "the front-end may not create or destroy keys")
    }
}

fn permit(is_permitted: bool, reason: &'static str) -> Result<(), FrontendError> {
    if is_permitted { Ok(()) } else { Err(FrontendError::Forbidden(reason)) }
}

/// Whether `aud` is one of `audiences`, or a list of nothing else (RFC 7519 §4.1.3).
fn is_within(aud: Option<&Value>, audiences: &[String]) -> bool {
    let is_one = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|one| one == text));
    match aud {
        Some(Value::Array(values)) => !values.is_empty() && values.iter().all(is_one),
        Some(value) => is_one(value),
        None => false,
    }
}

/// From `iat` to `exp`, where both are integers; nothing where `exp` is before `iat`.
fn lifetime(claims: &Map<String, Value>) -> Option<Duration> {
    let time = |name| claims.get(name).and_then(Value::as_i64);
    let seconds = i128::from(time("exp")?) - i128::from(time("iat")?);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(rights: &SigningRights, claims: Value) -> Option<&'static str> {
        let Value::Object(claims) = claims else { panic!("an object") };
        match rights.check_claims(&claims) {
            Ok(()) => None,
            Err(FrontendError::Forbidden(reason)) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn without_limits_all_is_the_profiles_to_judge() {
        for claims in [json!({}), json!({"iss": 1, "aud": {}, "exp": "soon"})] {
            assert_eq!(said(&SigningRights::default(), claims), None);
        }
    }

    #[test]
    fn what_is_limited_has_to_be_there_and_within() {
        let issuers = SigningRights { issuers: names(&["https://a"]), ..SigningRights::default() };
        assert_eq!(said(&issuers, json!({"iss": "https://a"})), None);
        for iss in [json!("https://b"), json!(["https://a"]), json!(""), json!("https://a/"), Value::Null] {
            assert_eq!(said(&issuers, json!({"iss": iss})), Some("the front-end may not sign for this issuer"));
        }
        let audiences = SigningRights { audiences: names(&["x", "y"]), ..SigningRights::default() };
        for aud in [json!("x"), json!(["y"]), json!(["x", "y"])] {
            assert_eq!(said(&audiences, json!({"aud": aud})), None);
        }
        for aud in [json!("z"), json!(["x", "z"]), json!([]), json!([["x"]]), Value::Null, json!({"x": "x"})] {
            assert_eq!(said(&audiences, json!({"aud": aud})), Some("the front-end may not sign for this audience"));
        }
        let minute = SigningRights { max_lifetime: Some(Duration::from_secs(60)), ..SigningRights::default() };
        assert_eq!(said(&minute, json!({"iat": 1000, "exp": 1060})), None);
        let long = Some("the front-end may not sign for so long a lifetime");
        assert_eq!(said(&minute, json!({"iat": 1000, "exp": 1061})), long);
        assert_eq!(said(&minute, json!({"iat": i64::MIN, "exp": i64::MAX})), long);
        for claims in [json!({"exp": 1060}), json!({"iat": 1000}), json!({"iat": 1000.5, "exp": 1060}), json!({})] {
            assert_eq!(said(&minute, claims), Some("the front-end has to say iat, and exp after it"));
        }
        assert_eq!(
            said(&minute, json!({"iat": "1000", "exp": 1060})),
            Some("the front-end has to say iat, and exp after it")
        );
    }

    #[test]
    fn profiles_digests_and_keys_are_nobodys_unless_they_are_given() {
        let none = SigningRights::default();
        let all = SigningRights {
            profiles: vec!["p".to_owned()],
            prehashed: true,
            creates_keys: true,
            ..SigningRights::default()
        };
        assert!(
            none.check_profile("p").is_err() && none.check_prehashed().is_err() && none.check_creates_keys().is_err()
        );
        assert!(all.check_profile("p").is_ok() && all.check_prehashed().is_ok() && all.check_creates_keys().is_ok());
        assert_eq!(
            all.check_profile("P"),
            Err(FrontendError::Forbidden("the front-end may not use this signing profile"))
        );
    }
}
