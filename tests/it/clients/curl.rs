//! curl, as the README has it.

use std::process::Command;

use serde_json::Value;

use crate::support::jose::claims_of;
use crate::support::process::succeed;
use crate::support::tls::{Authority, Identity};
use crate::support::{API, Deployment, RunningMint};

/// The first command of the README that has all of `words`, without what goes before `curl`.
fn command(words: &[&str]) -> String {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut commands = blocks.filter_map(|block| block.find("curl ").map(|start| block[start..].to_owned()));
    commands.find(|command| words.iter().all(|word| command.contains(word))).expect("the README has it")
}

/// What `command` prints in a shell with `variables`, where the address of the README is that of `mint`.
fn run(mint: &RunningMint, command: &str, variables: &[(&str, &str)]) -> Vec<u8> {
    let command = command.replace("127.0.0.1:8080", &mint.address().to_string());
    let options = "--silent --show-error --fail ";
    let mut shell = Command::new("sh");
    shell.args(["-euc", &command.replace("curl ", &format!("curl {options}"))]);
    succeed(shell.envs(variables.iter().copied())).stdout
}

#[test]
fn the_curl_commands_of_the_readme_work() {
    let deployment = Deployment::new();
    deployment.add_resource_server("https://api.example.com");
    let mint = deployment.serve();
    let endpoint = format!("http://{}/oauth/token", mint.address());
    let refresh_token = deployment.grant();
    let json = |printed: Vec<u8>| serde_json::from_slice::<Value>(&printed).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    let refresh = command(&["grant_type=refresh_token", "application/x-www-form-urlencoded"]);
    let granted = json(run(&mint, &refresh, &[("TOKEN_ENDPOINT", &endpoint), ("REFRESH_TOKEN", &refresh_token)]));
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&"Bearer".into(), &300.into()));

    let introspect = command(&["/oauth/introspect"]).replace("api:", &format!("{API}:"));
    let access_token = text(&granted["access_token"]);
    let ask = || json(run(&mint, &introspect, &[("SECRET", &deployment.secret), ("ACCESS_TOKEN", &access_token)]));
    assert_eq!(ask()["active"], true);

    let next = text(&granted["refresh_token"]);
    assert_eq!(run(&mint, &command(&["/oauth/revoke"]), &[("REFRESH_TOKEN", &next)]), b"");
    assert_eq!(ask()["active"], false);
}

#[test]
fn curl_proves_a_client_by_its_certificate() {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    deployment.use_tls(&authority.vouch_for("127.0.0.1"));
    let ca = deployment.put_authority(&authority);
    deployment.edit(|config| config["listen"]["tls"]["client_ca"] = toml_edit::value(ca.display().to_string()));
    deployment.add_client(
        "id = \"robot\"\nauthentication = \"tls_client_auth\"\ntls_client_auth_san_dns = \"robot.example.com\"
grants = [\"client_credentials\"]\nscope = \"read\"\naudience = \"https://api.example.com\"",
    );
    let identity = authority.vouch_for("robot.example.com");
    std::fs::create_dir(deployment.path("robot")).unwrap();
    deployment.put_identity("robot", &identity);
    let mint = deployment.serve();
    let ask = |identity: Option<&str>| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--cacert"]).arg(&ca);
        if let Some(folder) = identity {
            curl.arg("--cert").arg(deployment.path(folder).join("certificate.pem"));
            curl.arg("--key").arg(deployment.path(folder).join("key.pem"));
        }
        curl.args(["-d", "grant_type=client_credentials", "-d", "client_id=robot"]);
        curl.arg(format!("https://{}/oauth/token", mint.address()));
        serde_json::from_slice::<Value>(&succeed(&mut curl).stdout).unwrap()
    };
    let granted = ask(Some("robot"));
    let claims = claims_of(granted["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["x5t#S256"], Identity::thumbprint(&identity));
    assert_eq!(ask(None)["error"], "invalid_client");
}
