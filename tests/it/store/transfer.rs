use std::sync::Arc;

use mintkeep::store::postgres::{PostgresStore, PostgresUrl};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::transfer::{TransferError, Transferred, transfer};
use mintkeep::store::{Family, Records, RegisteredClient, RevokedToken, Selection, SharedSecret, Store, TokenId};

use super::contract::binding::key;
use super::contract::claims::claim;
use super::contract::clients::client;
use super::contract::logins;
use super::contract::{NOW, family};
use crate::support::process::{one_line_of_error, succeed};
use crate::support::{Deployment, Postgres};

/// More than a page of families, some of them used, revoked or bound, and some of everything else.
async fn fill(store: &dyn Store, count: u16) {
    let numbered = |number: u16| {
        let mut fid = family(0).fid;
        fid.0[..2].copy_from_slice(&number.wrapping_mul(40_503).to_be_bytes());
        let revoked_at = (number.is_multiple_of(7)).then_some(NOW);
        let jkt = if number.is_multiple_of(5) { key(1) } else { None };
        Family { fid, generation: number.into(), current_used: number.is_multiple_of(2), revoked_at, jkt, ..family(0) }
    };
    let revoked_tokens = (0..9).map(|number| RevokedToken { jti: TokenId([number; 16]), expires_at: NOW }).collect();
    let families = (0..count).map(numbered).collect();
    let claims = (0..8).map(|number| claim(number, 10)).collect();
    let shared_secrets = ["a", "b"].map(|name| SharedSecret { name: name.to_owned(), value: [3; 32] }).into();
    let used = RegisteredClient { last_used_at: Some(NOW), ..client("used", 1) };
    let clients = vec![client("unused", 2), used, client("third", 3)];
    let (logins, pushed_requests) = (logins::of_every_state(), vec![logins::pushed(1), logins::pushed(2)]);
    let records = Records { families, revoked_tokens, claims, shared_secrets, clients, logins, pushed_requests };
    store.restore(records).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_also_after_an_interruption_and_over_and_back() {
    let (folder, postgres) = (tempfile::tempdir().unwrap(), Postgres::start());
    let url = PostgresUrl::parse(&postgres.url()).unwrap();
    PostgresStore::migrate(&url).await.unwrap();
    let sqlite = |name: &str| Arc::new(SqliteStore::open(&folder.path().join(name)).unwrap());
    let (source, target, back) = (sqlite("source"), PostgresStore::open(&url).await.unwrap(), sqlite("back"));
    fill(source.as_ref(), 2500).await;
    // What an interrupted copy left.
    fill(&target, 700).await;
    let all = Transferred {
        families: 2500,
        revoked_tokens: 9,
        keys: 0,
        claims: 8,
        shared_secrets: 2,
        clients: 3,
        logins: logins::of_every_state().len(),
        pushed_requests: 2,
    };
    assert_eq!(transfer(source.as_ref(), &target).await, Ok(all));
    assert_eq!(transfer(&target, back.as_ref()).await, Ok(all));
    assert_eq!(transfer(back.as_ref(), source.as_ref()).await, Ok(all), "nothing was changed on the way");
}

#[tokio::test]
async fn a_store_with_sessions_of_its_own_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = |name: &str| SqliteStore::open(&folder.path().join(name)).unwrap();
    for (number, foreign) in [
        family(200),
        // The same session, which went on there.
        Family { generation: 5, ..family(100) },
    ]
    .into_iter()
    .enumerate()
    {
        let (source, target) = (sqlite(&format!("source-{number}")), sqlite(&format!("target-{number}")));
        source.begin_family(family(100)).await.unwrap();
        target.begin_family(foreign.clone()).await.unwrap();
        assert_eq!(transfer(&source, &target).await, Err(TransferError::TargetInUse));
        let all = mintkeep::store::Page { after: None, limit: 9 };
        assert_eq!(target.families(Selection::default(), all).await.unwrap(), [foreign]);
    }
}

#[tokio::test]
async fn a_store_with_claims_secrets_or_clients_of_its_own_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = |name: &str| SqliteStore::open(&folder.path().join(name)).unwrap();
    let secret = |value| SharedSecret { name: "nonces".to_owned(), value: [value; 32] };
    let held = Records {
        claims: vec![claim(1, 10)],
        shared_secrets: vec![secret(1)],
        clients: vec![client("a", 1)],
        logins: vec![logins::device(1)],
        pushed_requests: vec![logins::pushed(1)],
        ..Records::default()
    };
    let foreign = [
        Records { claims: vec![claim(2, 10)], ..Records::default() },
        Records { shared_secrets: vec![secret(2)], ..Records::default() },
        Records { clients: vec![client("a", 2)], ..Records::default() },
        Records { logins: vec![logins::device(2)], ..Records::default() },
        Records { pushed_requests: vec![logins::pushed(2)], ..Records::default() },
    ];
    for (number, foreign) in foreign.into_iter().enumerate() {
        let (source, target) = (sqlite(&format!("source-{number}")), sqlite(&format!("target-{number}")));
        source.restore(held.clone()).await.unwrap();
        target.restore(foreign).await.unwrap();
        assert_eq!(transfer(&source, &target).await, Err(TransferError::TargetInUse));
        let empty = sqlite(&format!("empty-{number}"));
        let all = Transferred {
            families: 0,
            revoked_tokens: 0,
            keys: 0,
            claims: 1,
            shared_secrets: 1,
            clients: 1,
            logins: 1,
            pushed_requests: 1,
        };
        assert_eq!(transfer(&source, &empty).await, Ok(all));
    }
}

#[test]
fn a_deployment_moves_to_postgres_and_no_client_notices() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    let mint = deployment.serve();
    let (replaced, revoked) = (deployment.grant(), deployment.grant());
    let held = mint.refresh(&replaced).text("refresh_token");
    deployment.run_json(&["sessions", "revoke", "--family", &handle(&revoked)]);
    let from = format!("sqlite:{}", deployment.path("mintkeep.db").display());
    let copy = || deployment.command_without_config(&["store", "copy", "--from", &from, "--to", &postgres.url()]);
    let error = one_line_of_error(&copy().output().unwrap(), 5);
    assert!(error.contains("end the mint that uses it"), "{error}");
    mint.refresh(&held);
    drop(mint);
    let output = succeed(&mut copy());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "copied and compared: sessions 2, revoked access tokens 0, keys 2, registered clients 0, used assertions and proofs 0, shared secrets 1, logins under way 0, pushed requests 0\n"
    );
    deployment.use_postgres(&postgres);
    let mint = deployment.serve();
    // The answer that the client did not get before the move.
    let held = mint.refresh(&held).text("refresh_token");
    mint.refresh(&held).text("refresh_token");
    mint.refresh(&revoked).assert_error(400, "invalid_grant");
    let error = one_line_of_error(&copy().output().unwrap(), 7);
    assert!(error.contains("of its own"), "{error}");
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let deployment = Deployment::new();
    let (from, to) = (deployment.path("none.db"), deployment.path("to.db"));
    let urls = [&from, &to].map(|path| format!("sqlite:{}", path.display()));
    let copy = |from: &str, to: &str| {
        deployment.command_without_config(&["store", "copy", "--from", from, "--to", to]).output().unwrap()
    };
    one_line_of_error(&copy(&urls[0], &urls[1]), 5);
    assert!(!from.exists() && !to.exists());
    one_line_of_error(&copy(&urls[0], &urls[0]), 7);
    let error = one_line_of_error(&copy(&urls[0], "postgres://mint:hunter2@db/mint?sslmode=prefer"), 3);
    assert!(!error.contains("hunter2"), "{error}");
}

/// The handle of the family of a refresh token: `fid` in its header.
fn handle(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["fid"].as_str().unwrap().to_owned()
}
