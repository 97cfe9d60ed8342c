//! Who a token is to be for (RFC 8707), and what scope makes sense there.

use std::collections::HashMap;

use url::Url;

use super::OAuthError;
use super::client::Client;
use super::parameters::PresentedParameters;
use super::scope::{Scope, is_of_login};
use crate::jose::claims::Audience;

/// The scope that each protected resource knows. One that is not here takes whatever its clients may have.
pub type ResourceScopes = HashMap<String, Scope>;

const ONE_AT_A_TIME: &str = "the client may have a token for one resource at a time";

/// Who a token is to be for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// `aud` of the token.
    pub audience: Audience,
    /// What of the client's scope one of these at least knows.
    pub scope: Scope,
    /// Whether the request named them.
    is_named: bool,
}

impl Target {
    /// What the request names by `resource` (RFC 8707 §2), as far as `client` may have tokens for it; all that the
    /// client is registered for where it names nothing.
    ///
    /// # Errors
    /// [`OAuthError::InvalidTarget`] for what is no absolute URI or has a fragment, for one that the client is not
    /// registered for, and for several at once where the client has to ask for one at a time.
    pub fn of(
        client: &Client,
        parameters: &PresentedParameters<'_>,
        resources: &ResourceScopes,
    ) -> Result<Self, OAuthError> {
        Self::of_named(client, parameters.find_all("resource"), resources)
    }

    /// As [`Self::of`], where `audience` may name it too (RFC 8693 §2.1).
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_exchange(
        client: &Client,
        parameters: &PresentedParameters<'_>,
        resources: &ResourceScopes,
    ) -> Result<Self, OAuthError> {
        Self::of_named(client, parameters.find_all("resource").chain(parameters.find_all("audience")), resources)
    }

    /// As [`Self::of`], for an authorization request: it may name all that its client may have tokens for, of which each
    /// token request then names some (RFC 8707 §2.2).
    ///
    /// # Errors
    /// As [`Self::of`], but for several.
    pub fn of_authorization(
        client: &Client,
        parameters: &PresentedParameters<'_>,
        resources: &ResourceScopes,
    ) -> Result<Self, OAuthError> {
        Ok(Self::for_all(client, named(client, parameters.find_all("resource"))?, resources))
    }

    /// As [`Self::of`], of what is named by `names`.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_named<'a>(
        client: &Client,
        names: impl Iterator<Item = &'a str>,
        resources: &ResourceScopes,
    ) -> Result<Self, OAuthError> {
        let named = named(client, names)?;
        if named.len() > 1 && !client.several_audiences {
            return Err(OAuthError::InvalidTarget(ONE_AT_A_TIME));
        }
        Ok(Self::for_all(client, named, resources))
    }

    fn for_all(client: &Client, named: Vec<String>, resources: &ResourceScopes) -> Self {
        let is_named = !named.is_empty();
        let audience = match <[String; 1]>::try_from(named) {
            Ok([one]) => Audience::One(one),
            Err(none) if none.is_empty() => client.audience.clone(),
            Err(several) => Audience::Several(several),
        };
        Self { scope: known_scope(&client.scope, &audience, resources), audience, is_named }
    }

    /// The same within what was `granted` once: all of that where the request names nothing (RFC 8707 §2.2).
    ///
    /// # Errors
    /// [`OAuthError::InvalidTarget`] for what was not granted, and for several at once where the client has to ask for
    /// one at a time.
    pub fn within(self, granted: &Audience, client: &Client, resources: &ResourceScopes) -> Result<Self, OAuthError> {
        if self.is_named {
            let is_granted = |named: &String| granted.values().contains(named);
            return match self.audience.values().iter().all(is_granted) {
                true => Ok(self),
                false => Err(OAuthError::InvalidTarget("this resource was not granted")),
            };
        }
        // The client may be registered otherwise by now.
        if !granted.values().iter().all(|resource| client.may_target(resource)) {
            return Err(OAuthError::InvalidTarget("the client may have no token any more for what was granted"));
        }
        if granted.values().len() > 1 && !client.several_audiences {
            return Err(OAuthError::InvalidTarget(ONE_AT_A_TIME));
        }
        Ok(Self { scope: known_scope(&client.scope, granted, resources), audience: granted.clone(), is_named: false })
    }
}

/// Each of `names` once, where `client` may have tokens for all of them.
fn named<'a>(client: &Client, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, OAuthError> {
    let mut named: Vec<String> = Vec::new();
    for resource in names {
        // What is registered is good as it stands: an audience does not have to be an URI.
        if !client.may_target(resource) {
            return Err(OAuthError::InvalidTarget(if is_indicator(resource) {
                "the client may have no token for this resource"
            } else {
                "expected resource to be an absolute URI without a fragment"
            }));
        }
        if !named.iter().any(|known| known == resource) {
            named.push(resource.to_owned());
        }
    }
    Ok(named)
}

fn is_indicator(resource: &str) -> bool {
    Url::parse(resource).is_ok_and(|url| url.fragment().is_none())
}

fn known_scope(scope: &Scope, audience: &Audience, resources: &ResourceScopes) -> Scope {
    // The usual case, on the hot path.
    if resources.is_empty() {
        return scope.clone();
    }
    let knows = |value: &str, resource: &String| {
        resources.get(resource).is_none_or(|known| known.values().any(|known| known == value))
    };
    // What asks who logged in is for the mint itself, whoever the token is for.
    scope.limited_to(|value| is_of_login(value) || audience.values().iter().any(|resource| knows(value, resource)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client::tests::client;

    fn target(client: &Client, form: &str) -> Result<Target, OAuthError> {
        let known = |resource: &str, scope: &str| (resource.to_owned(), Scope::parse(scope).unwrap());
        let resources = HashMap::from([known("https://a.example", "read"), known("https://b.example", "write")]);
        Target::of(client, &PresentedParameters::parse(form.as_bytes()).unwrap(), &resources)
    }

    fn registered() -> Client {
        Client {
            audience: Audience::One("https://a.example".to_owned()),
            resources: vec!["https://b.example".to_owned(), "https://c.example".to_owned()],
            scope: Scope::parse("read write").unwrap(),
            ..client("robot")
        }
    }

    #[test]
    fn what_is_named_is_the_audience_and_limits_the_scope_to_what_is_known_there() {
        let client = registered();
        let is = |form: &str, audience: &str, scope: &str| {
            let target = target(&client, form).unwrap();
            assert_eq!(
                (target.audience.values(), target.scope.as_str()),
                (&[audience.to_owned()][..], scope),
                "{form}"
            );
        };
        is("", "https://a.example", "read");
        is("resource=https://b.example", "https://b.example", "write");
        is("resource=https://b.example&resource=https://b.example", "https://b.example", "write");
        is("resource=https://c.example", "https://c.example", "read write");
    }

    #[test]
    fn several_are_for_who_is_registered_so() {
        let form = "resource=https://a.example&resource=https://b.example";
        let one_at_a_time = registered();
        assert!(matches!(target(&one_at_a_time, form), Err(OAuthError::InvalidTarget(_))));
        let several = Client { several_audiences: true, ..one_at_a_time };
        let both = target(&several, form).unwrap();
        assert_eq!(both.audience.values(), ["https://a.example", "https://b.example"]);
        assert_eq!(both.scope.as_str(), "read write");
    }

    #[test]
    fn what_is_not_registered_is_no_target() {
        for resource in ["https://d.example", "https://a.example/", "https://a.example%23part", "a", "/a", ""] {
            let outcome = target(&registered(), &format!("resource=https://a.example&resource={resource}"));
            // An empty parameter counts as left out.
            assert_eq!(outcome.is_err(), !resource.is_empty(), "{resource}");
        }
    }
}
