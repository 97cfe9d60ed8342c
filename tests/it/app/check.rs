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

#[test]
fn it_says_where_kubernetes_finds_the_mint() {
    let deployment = crate::kubernetes::deployment();
    let (code, found) = findings(&deployment);
    let last = found["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((code, &last["part"], &last["ok"]), (Some(0), &"kubernetes".into(), &Value::Bool(true)), "{found}");
    let text = last["found"].as_str().unwrap();
    assert!(text.ends_with("kubernetes.sock, signing profile \"kubernetes\", tokens of up to 1h"), "{text}");
    deployment.edit(|config| config["kubernetes"]["socket"] = toml_edit::value("nowhere/kubernetes.sock"));
    let (code, found) = findings(&deployment);
    let last = found["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((code, &last["part"], &last["ok"]), (Some(6), &"kubernetes".into(), &Value::Bool(false)), "{found}");
}
