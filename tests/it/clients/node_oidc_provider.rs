//! node-oidc-provider, as `examples/node-oidc-provider` sets it up, with its keys in the hardware of a mint.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::process::succeed;
use crate::support::swtpm::free_ports;
use crate::support::{Deployment, node};

const AUDIENCE: &str = "https://api.example.com";

#[test]
fn node_oidc_provider_signs_by_a_key_in_the_hardware() {
    let provider_issuer = format!("http://127.0.0.1:{}", free_ports().expect("a free port"));
    let deployment = Deployment::without_keys();
    deployment.append(&format!(
        r#"[[signing_profile]]
        name = "oidc-provider"
        content = "jwt"
        issuers = ["{provider_issuer}"]
        audiences = ["demo", "{AUDIENCE}"]
        types = ["", "at+jwt"]
        max_lifetime = "1h""#
    ));
    deployment.add_example("oidc-provider", "profiles = [\"oidc-provider\"]");
    succeed(&mut deployment.command(&["keys", "init"]));
    let (_mint, _) = deployment.serve_at_issuer("");
    let provider = deployment.start_example("node-oidc-provider", &[("ISSUER", &provider_issuer)]);

    let told =
        node::run("node_oidc_provider", &json!({ "issuer": provider_issuer, "id": "demo", "audience": AUDIENCE }));
    let [id_token, access_token] = ["id_token", "access_token"].map(|name| &told[name]);
    assert_eq!([&id_token["claims"]["sub"], &id_token["claims"]["iss"]], ["alice", &provider_issuer]);
    assert_eq!(access_token["claims"]["scope"], "openid read:invoices");
    assert_eq!(told["keys"].as_array().map(Vec::len), Some(1), "{}", provider.log());
    let key = &told["keys"][0];
    assert_eq!([&id_token["header"]["kid"], &access_token["header"]["kid"]], [&key["kid"]; 2]);

    // The key is in the device, as PKCS#11 shows it: `04` and both coordinates, at the end of what it is.
    let point = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap()).concat();
    let shown = succeed(&mut deployment.pkcs11_tool(&["--list-objects", "--type", "pubkey"]));
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains(&format!("04{}", hex(&point))), "{shown}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
