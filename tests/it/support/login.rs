//! People who log in: clients that ask for it, the front-end that says who it was, and the browser between them.

use mintkeep::oauth::secret::SecretHash;
use serde_json::{Value, json};
use url::Url;

use super::running::{basic, form};
use super::{Answer, Deployment, RunningMint};

/// A public client that people log in to.
pub const WEB_APP: &str = "web-app";
/// A confidential one, with the secret of the deployment.
pub const WEB_SERVICE: &str = "web-service";
/// A client that another front-end logs people in for.
pub const OTHER_APP: &str = "other-app";

/// The redirect URI of all of them.
pub const CALLBACK: &str = "https://app.example.com/callback";
/// Who their tokens are for.
pub const AUDIENCE: &str = "https://api.example.com";

/// The example of RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The token of the front-end of [`WEB_APP`] and [`WEB_SERVICE`], and that of the other one.
pub const PEOPLE: &str = "mks_token-of-people";
pub const STRANGERS: &str = "mks_token-of-strangers";

impl Deployment {
    /// Registers the clients above, and their front-ends `people` and `strangers`.
    pub fn add_logins(&self) {
        let secret = format!(
            "[\"client_secret_basic\", \"client_secret_post\"]\nsecret_sha256 = \"{}\"",
            SecretHash::of(&self.secret).hexadecimal()
        );
        for (id, authentication) in [(WEB_APP, "\"none\""), (WEB_SERVICE, secret.as_str()), (OTHER_APP, "\"none\"")] {
            self.add_client(&format!(
                "id = \"{id}\"\nauthentication = {authentication}\ngrants = [\"authorization_code\", \"refresh_token\"]
scope = \"openid profile email read write\"\naudience = \"{AUDIENCE}\"
resources = [\"https://a.example\", \"https://b.example\"]\nredirect_uris = [\"{CALLBACK}\"]"
            ));
        }
        for (name, token, clients) in
            [("people", PEOPLE, &[WEB_APP, WEB_SERVICE][..]), ("strangers", STRANGERS, &[OTHER_APP])]
        {
            let token = SecretHash::of(token).hexadecimal();
            self.append(&format!(
                "[[frontend]]\nname = \"{name}\"\ntoken_sha256 = \"{token}\"\nclients = {clients:?}
login_url = \"https://{name}.example.com/login\""
            ));
        }
    }
}

/// The parameters of an authorization request of `client`, with further ones.
pub fn request<'a>(client: &'a str, further: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let needed = [
        ("client_id", client),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    needed.into_iter().chain(further.iter().copied()).collect()
}

/// Begins a login at `client`, and gives the handle that the browser brings to the front-end.
#[track_caller]
pub fn begin(mint: &RunningMint, client: &str, further: &[(&str, &str)]) -> String {
    let answer = mint.get(&format!("/oauth/authorize?{}", form(&request(client, further))));
    assert_eq!(answer.status, 303, "{answer:?}");
    parameter(answer.header("location").expect("a location"), "login").expect("a handle")
}

/// What the front-end whose token is `token` does with a login: `accept` or `refuse`.
pub fn decide(mint: &RunningMint, token: &str, handle: &str, decision: &str, said: &Value) -> Answer {
    mint.bear_to_admin("POST", &format!("/admin/v1/logins/{handle}/{decision}"), Some(token), Some(said))
}

/// What it reads of one.
pub fn read(mint: &RunningMint, token: &str, handle: &str) -> Answer {
    mint.bear_to_admin("GET", &format!("/admin/v1/logins/{handle}"), Some(token), None)
}

/// The code that the browser brings back from an accepted login.
#[track_caller]
pub fn code_of(accepted: &Answer) -> String {
    parameter(&accepted.text("redirect_to"), "code").expect("a code")
}

/// Somebody logs in to `client`, as the front-end says it; the code.
#[track_caller]
pub fn log_in(mint: &RunningMint, client: &str, further: &[(&str, &str)], said: &Value) -> String {
    let handle = begin(mint, client, further);
    code_of(&decide(mint, PEOPLE, &handle, "accept", said))
}

/// Alice, and nothing more.
pub fn alice() -> Value {
    json!({"subject": "alice"})
}

/// The token request of a public client.
pub fn redeem(mint: &RunningMint, client: &str, code: &str) -> Answer {
    mint.post_form(&[], &redemption(client, code, &[]))
}

/// That of [`WEB_SERVICE`].
pub fn redeem_for_service(mint: &RunningMint, secret: &str, code: &str) -> Answer {
    mint.post_form(&[&basic(WEB_SERVICE, secret)], &redemption("", code, &[]))
}

/// Its form, with other values; an empty one is left out.
pub fn redemption(client: &str, code: &str, changes: &[(&str, &str)]) -> String {
    let all = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let kept = all.into_iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let all: Vec<_> = kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
    form(&all)
}

/// The parameter `name` of the query of `url`.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).expect("an URL");
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
