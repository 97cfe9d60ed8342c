//! An issuer of its own keys, with its metadata on a real HTTPS server, whose tokens have the form of those that
//! platforms give their workloads.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Deployment;
use super::client_key::{ClientKey, now, random};
use super::https_server::HttpsServer;

/// The audience that its tokens are for.
pub const AUDIENCE: &str = "https://mint.example.com";

pub struct Issuer {
    pub server: HttpsServer,
    key: Mutex<ClientKey>,
    published: Arc<Mutex<Value>>,
}

impl Issuer {
    /// One that signs with the key of `number`, and publishes it.
    pub fn start(number: u8) -> Self {
        let published = Arc::new(Mutex::new(Value::Null));
        let keys = Arc::clone(&published);
        let server = HttpsServer::start(move |path, stream| {
            let host = std::str::from_utf8(path.as_bytes()).expect("ASCII");
            let document = match host {
                "/jwks" => keys.lock().unwrap()["jwks"].to_string(),
                "/.well-known/openid-configuration" => keys.lock().unwrap()["metadata"].to_string(),
                _ => return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            };
            let length = document.len();
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{document}").as_bytes())
        });
        let issuer = Self { server, key: Mutex::new(ClientKey::new(number)), published };
        issuer.use_key(number);
        issuer
    }

    /// Signs with the key of `number` from now on, and publishes no other.
    pub fn use_key(&self, number: u8) {
        let key = ClientKey::new(number);
        let mut jwk = key.jwk();
        jwk["kid"] = key.thumbprint().into();
        let name = self.name();
        *self.published.lock().unwrap() = json!({
            "jwks": {"keys": [jwk]},
            "metadata": {"issuer": name, "jwks_uri": format!("{name}/jwks")},
        });
        *self.key.lock().unwrap() = key;
    }

    /// Its identifier.
    pub fn name(&self) -> String {
        format!("https://localhost:{}", self.server.port)
    }

    /// A token with `claims` besides those that every token has; `change` has the last word.
    pub fn token(&self, claims: Value, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let key = self.key.lock().unwrap();
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": key.thumbprint()});
        let mut all = json!({"iss": self.name(), "aud": AUDIENCE, "iat": now(), "exp": now() + 300, "jti": random()});
        all.as_object_mut().unwrap().extend(claims.as_object().expect("an object").clone());
        change(&mut header, &mut all);
        key.sign(&header, &all)
    }

    /// Has `deployment` trust it, by policies and clients in TOML; `ISSUER` in them is its name.
    pub fn trusted_by(&self, deployment: &Deployment, tables: &str) {
        let (name, ca) = (self.name(), self.server.authority());
        let tables = tables.replace("ISSUER", &name);
        deployment.append(&format!(
            "[[trusted_issuer]]\nissuer = \"{name}\"\nca = {ca:?}\nallow_private_addresses = true\n{tables}"
        ));
    }
}

/// What GitHub Actions says of a job.
pub fn github_job() -> Value {
    json!({
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "ref": "refs/heads/main", "ref_type": "branch",
        "repository": "octo-org/octo-repo", "repository_id": "123456", "repository_owner": "octo-org",
        "repository_owner_id": "65", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "event_name": "push", "actor": "octocat", "actor_id": "12", "run_id": "30433642", "runner_environment": "github-hosted",
    })
}

/// What GitLab says of a job.
pub fn gitlab_job() -> Value {
    json!({
        "sub": "project_path:group/project:ref_type:branch:ref:main", "project_id": "42", "namespace_id": "72",
        "project_path": "group/project", "namespace_path": "group", "ref": "main", "ref_type": "branch",
        "ref_protected": "true", "pipeline_source": "push", "job_id": "302", "user_login": "sample",
    })
}

/// What Kubernetes says of a pod, in a projected service account token.
pub fn kubernetes_pod() -> Value {
    json!({
        "sub": "system:serviceaccount:payments:ledger", "aud": [AUDIENCE], "nbf": now(),
        "kubernetes.io": {
            "namespace": "payments",
            "pod": {"name": "ledger-7d4b", "uid": "bf7a5e0c-0f5b-4d5b-8c1f-2b1d7d1f0c11"},
            "serviceaccount": {"name": "ledger", "uid": "0c9f3a52-9a46-4b1c-8e35-8b1d3c8f5c01"},
        },
    })
}
