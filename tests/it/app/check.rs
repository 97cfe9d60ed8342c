use std::fs;

use serde_json::Value;

use crate::support::Deployment;

fn findings(deployment: &Deployment) -> (Option<i32>, Value) {
    let output = deployment.run(&["check", "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn it_says_for_each_part_what_it_found() {
    let deployment = Deployment::new();
    let (code, found) = findings(&deployment);
    assert_eq!((code, &found["ok"]), (Some(0), &Value::Bool(true)), "{found}");
    let parts: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["configuration", "store", "hardware", "keys", "signature"]);
    assert!(found["findings"][2]["found"].as_str().unwrap().contains("SoftHSM"), "{found}");
    let text = String::from_utf8(deployment.run(&["check"]).stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("ok ")).count(), 5, "{text}");
}

#[test]
fn the_first_part_that_fails_decides_the_exit_code() {
    let deployment = Deployment::new();
    fs::write(deployment.path("softhsm/pin"), "wrong").unwrap();
    let (code, found) = findings(&deployment);
    assert_eq!((code, &found["ok"]), (Some(8), &Value::Bool(false)));
    let last = found["findings"].as_array().unwrap().last().unwrap();
    assert!(last["found"].as_str().unwrap().contains("the PIN is wrong"), "{last}");

    let deployment = Deployment::new();
    deployment.edit(|config| config["store"]["url"] = toml_edit::value("sqlite:/nowhere/mintkeep.db"));
    assert_eq!(findings(&deployment).0, Some(5));

    let deployment = Deployment::new();
    deployment.edit(|config| config["isuer"] = toml_edit::value("x"));
    assert_eq!(findings(&deployment).0, Some(3));
}

#[test]
fn it_works_beside_a_running_mint() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    assert_eq!(findings(&deployment).0, Some(0));
    mint.client_credentials().text("access_token");
}
