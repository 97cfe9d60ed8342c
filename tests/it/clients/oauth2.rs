//! The crate `oauth2`.

use std::convert::Infallible;

use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenType};
use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IntrospectionUrl, RefreshToken, RequestTokenError, RevocationUrl, Scope, StandardRevocableToken,
    TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
};

use crate::support::{API, Deployment, RunningMint, SERVICE, WORKLOAD, jose};

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointSet>;

/// A client of the mint at its issuer identifier.
fn client(id: &str) -> Client {
    let at = |path: &str| format!("https://mint.example.com{path}");
    BasicClient::new(ClientId::new(id.to_owned()))
        .set_introspection_url(IntrospectionUrl::new(at("/oauth/introspect")).unwrap())
        .set_revocation_url(RevocationUrl::new(at("/oauth/revoke")).unwrap())
        .set_token_uri(TokenUrl::new(at("/oauth/token")).unwrap())
}

fn secret(deployment: &Deployment) -> ClientSecret {
    ClientSecret::new(deployment.secret.clone())
}

/// Takes requests to `mint`, as the TLS proxy of mint.example.com would.
fn proxy(mint: &RunningMint) -> impl Fn(HttpRequest) -> Result<HttpResponse, Infallible> {
    |request| {
        let (head, body) = request.into_parts();
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n", head.method, head.uri.path());
        for (name, value) in &head.headers {
            bytes.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        bytes.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let answer = mint.raw(&[bytes.into_bytes(), body].concat());
        let mut response = oauth2::http::Response::builder().status(answer.status);
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        Ok(response.body(answer.body.into_bytes()).unwrap())
    }
}

#[test]
fn the_crate_oauth2_gets_tokens_by_a_secret_in_the_header_and_in_the_form() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    for place in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = client(SERVICE).set_client_secret(secret(&deployment)).set_auth_type(place);
        let scope = Scope::new("read:invoices".to_owned());
        let answer = client.exchange_client_credentials().add_scope(scope.clone()).request(&proxy(&mint)).unwrap();
        assert_eq!((answer.token_type(), answer.scopes()), (&BasicTokenType::Bearer, Some(&vec![scope])));
        assert!(answer.refresh_token().is_none());
        let claims = jose::verified(&mint, answer.access_token().secret(), "https://billing.example.com");
        assert_eq!(claims["sub"], SERVICE);
    }
    let stranger = client(SERVICE).set_client_secret(ClientSecret::new("wrong".to_owned()));
    let refused = stranger.exchange_client_credentials().request(&proxy(&mint)).unwrap_err();
    let RequestTokenError::ServerResponse(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.error(), &BasicErrorResponseType::InvalidClient);
}

#[test]
fn the_crate_oauth2_rotates_introspects_and_gives_back() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let http = proxy(&mint);
    let workload = client(WORKLOAD).set_auth_type(AuthType::RequestBody);
    let granted = RefreshToken::new(deployment.grant());
    let first = workload.exchange_refresh_token(&granted).request(&http).unwrap();
    let second = workload.exchange_refresh_token(first.refresh_token().unwrap()).request(&http).unwrap();

    let api = client(API).set_client_secret(secret(&deployment));
    let introspect = |token: &AccessToken| api.introspect(token).request(&http).unwrap();
    let told = introspect(second.access_token());
    assert!(told.active());
    assert_eq!(told.sub(), Some("deploy@example.com"));
    assert_eq!(told.client_id().map(|id| id.as_str()), Some(WORKLOAD));
    assert_eq!(told.aud(), Some(&vec!["https://api.example.com".to_owned()]));
    assert_eq!(told.scopes().map(Vec::len), Some(2));

    let revoke = |token: StandardRevocableToken| workload.revoke_token(token).unwrap().request(&http).unwrap();
    revoke(second.access_token().clone().into());
    assert_eq!([&first, &second].map(|answer| introspect(answer.access_token()).active()), [true, false]);
    revoke(second.refresh_token().unwrap().clone().into());
    assert!(!introspect(first.access_token()).active());
    let refused = workload.exchange_refresh_token(second.refresh_token().unwrap()).request(&http).unwrap_err();
    let RequestTokenError::ServerResponse(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.error(), &BasicErrorResponseType::InvalidGrant);
}
