//! curl, as the README has it.

use std::process::Command;

use serde_json::Value;

use crate::support::process::succeed;
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
