use std::os::unix::fs::PermissionsExt as _;

use crate::support::Deployment;
use crate::support::process::runs;

#[test]
fn health_readiness_and_metrics_are_on_the_admin_socket_only() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    assert_eq!(mint.admin("/healthz").body, "ok\n");
    let ready = mint.admin("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        serde_json::json!({ "ready": true, "keeper": "ok", "store": "ok", "devices": { "softhsm": "ok" } })
    );
    let before = mint.metric("mintkeep_keeper_signatures_requested_total");
    mint.client_credentials().text("access_token");
    assert_eq!(mint.metric("mintkeep_keeper_signatures_requested_total"), before + 1);
    for path in ["/healthz", "/readyz", "/metrics", "/admin/v1/grants"] {
        assert_eq!(mint.get(path).status, 404, "{path} is not public");
    }
    let mode = std::fs::metadata(deployment.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_end_leaves_no_process_and_no_socket() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let keeper = mint.keeper_pid();
    assert!(mint.terminate().success());
    assert!(!runs(keeper));
    assert!(!deployment.path("admin.sock").exists());
}
