//! What the keeper signs for the mint itself.

use std::time::Duration;

use super::Config;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, INTROSPECTION_TYPE};
use crate::jose::id_token::ID_TOKEN_TYPE;
use crate::jose::logout_token::LOGOUT_TOKEN_TYPE;
use crate::keeper::policy::{
    ACCESS_TOKEN_PROFILE, ClaimRules, ID_TOKEN_PROFILE, INTROSPECTION_PROFILE, LOGOUT_TOKEN_PROFILE, Profile,
};
use crate::oauth::client::Client;
use crate::oauth::registration::RegistrationRules;
use crate::oauth::scope::Scope;
use crate::oauth::trust::TrustPolicies;

impl Config {
    /// The signing profiles of what the mint makes, which the keeper enforces: as strict as the lifetimes of clients and
    /// trust policies allow.
    pub fn token_profiles(&self) -> Vec<Profile> {
        let profile = |name: &str, typ: &str, rules| Profile {
            name: name.to_owned(),
            issuer: self.issuer.as_str().to_owned(),
            typ: typ.to_owned(),
            rules,
        };
        let max_lifetime = longest_access_token(&self.clients, &self.trust, self.registration.as_ref());
        let access_token = ClaimRules::AccessToken { max_lifetime };
        let mut profiles = vec![profile(ACCESS_TOKEN_PROFILE, ACCESS_TOKEN_TYPE, access_token)];
        // Nobody can ask where no resource server is registered, so nothing is signed for anybody.
        if !self.resource_servers.is_empty() {
            profiles.push(profile(INTROSPECTION_PROFILE, INTROSPECTION_TYPE, ClaimRules::Introspection));
        }
        // The same of ID tokens, which are for clients that may ask who logged in.
        let of_registered = self.registration.iter().map(|rules| &rules.scope);
        if self.clients.iter().map(|client| &client.scope).chain(of_registered).any(Scope::is_openid) {
            profiles.push(profile(ID_TOKEN_PROFILE, ID_TOKEN_TYPE, ClaimRules::IdToken { max_lifetime }));
        }
        if self.clients.iter().any(|client| client.backchannel_logout_uri.is_some()) {
            profiles.push(profile(LOGOUT_TOKEN_PROFILE, LOGOUT_TOKEN_TYPE, ClaimRules::LogoutToken));
        }
        profiles
    }
}

/// How long an access token may live, whoever it is for; zero where nobody gets one.
pub(super) fn longest_access_token(
    clients: &[Client],
    trust: &TrustPolicies,
    registration: Option<&RegistrationRules>,
) -> Duration {
    let of_clients = clients.iter().map(|client| client.access_token_lifetime);
    let of_clients = of_clients.chain(registration.map(|rules| rules.access_token_lifetime)).max().unwrap_or_default();
    of_clients.max(trust.longest_lifetime())
}
