use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use mintkeep::store::postgres::{PostgresStore, PostgresUrl};
use mintkeep::store::{Claimed, Records, Redeemed, Store};
use nix::sys::signal::Signal;
use toml_edit::value;

use super::contract::claims::claim;
use super::contract::{contract, family, present};
use crate::support::jose::verified;
use crate::support::postgres::Tls;
use crate::support::process::{one_line_of_error, succeed};
use crate::support::running::basic;
use crate::support::{API, Answer, Deployment, Postgres, RunningMint};

/// Opens handles to the store of `postgres`, each as another node would have it. They are used within a runtime.
pub fn empty_store(postgres: &Postgres) -> impl Fn() -> Arc<dyn Store> + use<> {
    let url = url(postgres);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(PostgresStore::migrate(&url)).expect("it takes the schema");
    move || {
        let opening = PostgresStore::open(&url);
        let opened = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opening));
        Arc::new(opened.expect("it opens"))
    }
}

fn url(postgres: &Postgres) -> PostgresUrl {
    PostgresUrl::parse(&postgres.url()).expect("a good URL")
}

#[test]
fn it_keeps_the_contract() {
    let postgres = Postgres::start();
    let open = empty_store(&postgres);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(contract(&open));
    drop(runtime);
    assert_eq!(postgres.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'mintkeep'"), "0");
}

/// Where transactions are serializable, as they always are in some databases of this protocol, conflicts are refused
/// by the database, and have to be tried again.
#[test]
fn it_keeps_the_contract_also_where_conflicts_are_refused() {
    let postgres = Postgres::start();
    let open = empty_store(&postgres);
    postgres.sql("ALTER DATABASE mintkeep SET default_transaction_isolation = 'serializable'");
    let rolled_back = || -> u64 {
        let count = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'mintkeep'";
        postgres.sql(count).parse().unwrap()
    };
    let before = rolled_back();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(contract(&open));
    drop(runtime);
    assert!(rolled_back() > before, "nothing was refused, so nothing was tried again");
}

#[test]
fn a_mint_needs_the_schema_of_its_release_and_says_how_to_get_it() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.edit(|config| config["store"]["url"] = value(postgres.url()));
    let error = one_line_of_error(&deployment.run(&["serve"]), 5);
    assert!(error.contains("no schema yet; run `mintkeep store migrate`"), "{error}");
    // Several nodes of a deployment may be told to at the same moment.
    let migrations: Vec<_> = (0..4).map(|_| deployment.command(&["store", "migrate"]).spawn().unwrap()).collect();
    for mut migration in migrations {
        assert!(migration.wait().unwrap().success());
    }
    deployment.serve();
    assert!(deployment.run_json(&["check"])["ok"].as_bool().unwrap());
    postgres.sql("INSERT INTO mintkeep_schema_history VALUES (99, 'later', '2026-01-01T00:00:00Z', '1')");
    for command in [["serve"].as_slice(), &["store", "migrate"]] {
        let error = one_line_of_error(&deployment.run(command), 5);
        assert!(error.contains("of a newer mintkeep"), "{error}");
    }
    let error = one_line_of_error(&deployment.run(&["store", "backup", "--to", "backup"]), 7);
    assert!(error.contains("pg_dump"), "{error}");
}

#[test]
fn over_a_network_the_server_has_to_prove_itself() {
    let (deployment, (_postgres, tls)) = (Deployment::new(), Postgres::start_with_tls());
    let password = deployment.path("password");
    fs::write(&password, Tls::PASSWORD).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let serve_by = |url: &str| {
        deployment.edit(|config| {
            config["store"]["url"] = value(url);
            config["store"]["password"]["file"] = value("password");
        });
    };
    let verified = format!("{}&sslrootcert={}", tls.url, tls.authority.display());
    // The authority is unknown; the name is another one; TLS is what the server wants.
    for (url, complaint) in [
        (format!("{}&sslmode=verify-full", tls.url), "certificate"),
        (verified.replace("@localhost", "@db.example.com"), "certificate"),
        (format!("{}&sslmode=disable", tls.url), "no encryption"),
        (format!("{}&sslrootcert={}", tls.url, password.display()), "no certificate of an authority"),
    ] {
        serve_by(&url);
        let error = one_line_of_error(&deployment.run(&["store", "migrate"]), 5);
        assert!(error.contains(complaint), "{error}");
        assert!(!error.contains(Tls::PASSWORD), "{error}");
    }
    serve_by(&verified);
    succeed(&mut deployment.command(&["store", "migrate"]));
    let mint = deployment.serve();
    let token = deployment.grant();
    mint.refresh(&token).text("access_token");
    assert!(!mint.log().contains(Tls::PASSWORD));
    drop(mint);
    fs::write(&password, "wrong").unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 5);
    assert!(error.contains("password authentication failed"), "{error}");
}

#[test]
fn what_one_node_did_the_other_one_knows_at_once() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.add_resource_server("https://api.example.com");
    deployment.use_postgres(&postgres);
    let nodes = [deployment.serve(), deployment.serve_beside(|_| {})];
    let first = deployment.grant();
    let mut held = first.clone();
    for step in 0..10 {
        held = nodes[step % 2].refresh(&held).text("refresh_token");
    }
    let tokens = nodes[0].refresh(&held);
    let form = format!("token={}", tokens.text("access_token"));
    let is_active = |node: &RunningMint| {
        let answer = node.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form);
        answer.json()["active"].as_bool().unwrap()
    };
    assert!(nodes.iter().all(is_active));
    nodes[1].refresh(&first).assert_error(400, "invalid_grant");
    nodes[0].refresh(&tokens.text("refresh_token")).assert_error(400, "invalid_grant");
    assert!(!nodes.iter().any(is_active), "the replay ended the family on both");
}

#[test]
fn a_database_that_is_gone_is_a_503_and_loses_no_refresh_token() {
    let (deployment, mut postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    let mint = deployment.serve();
    let held = mint.refresh(&deployment.grant()).text("refresh_token");
    postgres.kill();
    let refused = mint.refresh(&held);
    refused.assert_error(503, "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(mint.admin("/readyz").status, 503);
    assert_eq!(mint.get("/.well-known/jwks.json").status, 200);
    mint.client_credentials().text("access_token");
    postgres.start_again();
    let held = mint.refresh(&held).text("refresh_token");
    assert_eq!(mint.admin("/readyz").status, 200);
    // A restart between two requests is not even noticed.
    postgres.kill();
    postgres.start_again();
    mint.refresh(&held).text("refresh_token");
}

#[test]
fn a_database_that_takes_no_writes_is_a_503_and_what_only_reads_goes_on() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.add_resource_server("https://api.example.com");
    deployment.use_postgres(&postgres);
    let mint = deployment.serve();
    let tokens = mint.refresh(&deployment.grant());
    let (held, form) = (tokens.text("refresh_token"), format!("token={}", tokens.text("access_token")));
    postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    postgres.sql("SELECT pg_reload_conf()");
    // The backends take the change over when they next wait for a statement.
    let refused = (0..1000).map(|_| mint.admin("/readyz")).find(|answer| answer.status == 503);
    refused.expect("it is noticed");
    mint.refresh(&held).assert_error(503, "temporarily_unavailable");
    let answer = mint.post_form_to("/oauth/introspect", &[&basic(API, &deployment.secret)], &form);
    assert_eq!(answer.json()["active"], true);
    postgres.sql("ALTER SYSTEM RESET default_transaction_read_only");
    postgres.sql("SELECT pg_reload_conf()");
    (0..1000).map(|_| mint.admin("/readyz")).find(|answer| answer.status == 200).expect("it is back");
    mint.refresh(&held).text("refresh_token");
}

#[test]
fn a_database_that_hangs_is_a_503_and_is_used_again_when_it_goes_on() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    let mint = deployment.serve();
    let held = mint.refresh(&deployment.grant()).text("refresh_token");
    postgres.signal(Signal::SIGSTOP);
    mint.refresh(&held).assert_error(503, "temporarily_unavailable");
    mint.client_credentials().text("access_token");
    postgres.signal(Signal::SIGCONT);
    mint.refresh(&held).text("refresh_token");
}

/// What the database's administrator chose for others must not cost a client its session.
#[test]
fn a_commit_is_durable_also_where_the_database_does_not_do_that_by_itself() {
    let (deployment, mut postgres) = (Deployment::new(), Postgres::start());
    deployment.use_postgres(&postgres);
    postgres.sql("ALTER DATABASE mintkeep SET synchronous_commit = off");
    // What a commit did not wait for stays in the memory of the server for that long.
    postgres.sql("ALTER SYSTEM SET wal_writer_delay = '10s'");
    postgres.sql("SELECT pg_reload_conf()");
    let mint = deployment.serve();
    let mut held = deployment.grant();
    for _ in 0..3 {
        held = mint.refresh(&held).text("refresh_token");
        held = mint.refresh(&held).text("refresh_token");
        postgres.kill();
        postgres.start_again();
    }
    mint.refresh(&held).text("refresh_token");
}

/// The clock of one node is five seconds ahead of the other's.
#[test]
fn clocks_that_are_apart_do_no_harm() {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let library = places.map(|place| format!("/usr/lib/{place}/faketime/libfaketimeMT.so.1"));
    let library = library.into_iter().find(|library| Path::new(library).exists()).expect("libfaketime is installed");
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.edit(|config| {
        config["tokens"]["retry_window"] = value("1s");
        config["tokens"]["refresh_token_idle_lifetime"] = value("3s");
    });
    deployment.use_postgres(&postgres);
    let behind = deployment.serve();
    let ahead = deployment.serve_beside(|command| {
        command.env("LD_PRELOAD", library).env("FAKETIME", "+5s").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    });
    for _ in 0..3 {
        let first = deployment.grant();
        let lost = behind.refresh(&first);
        let iat = |answer: &Answer| {
            let claims = verified(&behind, &answer.text("access_token"), "https://api.example.com");
            claims["iat"].as_i64().unwrap()
        };
        let again = ahead.refresh(&first);
        assert!(iat(&again) - iat(&lost) >= 4, "the clocks are apart");
        let next = ahead.refresh(&again.text("refresh_token"));
        // The answer of that one is lost too, and the client goes to the other node.
        behind.refresh(&again.text("refresh_token")).text("refresh_token");
        behind.refresh(&next.text("refresh_token")).text("refresh_token");
        ahead.refresh(&first).assert_error(400, "invalid_grant");
    }
}

/// What was said to be the first use of something must not be forgotten, or it could be used twice.
#[test]
fn a_claim_that_was_first_is_replayed_after_the_database_was_killed() {
    let mut postgres = Postgres::start();
    let open = empty_store(&postgres);
    postgres.sql("ALTER DATABASE mintkeep SET synchronous_commit = off");
    postgres.sql("ALTER SYSTEM SET wal_writer_delay = '10s'");
    postgres.sql("SELECT pg_reload_conf()");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..3 {
        let claims = || (0..50).map(move |number| claim(50 * round + number, 1000));
        let claim_all = |expected| {
            runtime.block_on(async {
                let store = open();
                let steps: Vec<_> = claims().map(|claim| store.claim(claim)).collect();
                for step in steps {
                    assert_eq!(step.await.unwrap(), expected);
                }
            });
        };
        claim_all(Claimed::First);
        postgres.kill();
        postgres.start_again();
        claim_all(Claimed::Replayed);
    }
}

/// How many transactions the server counted: each statement is one, and those of a connection count when that ends.
fn transactions(postgres: &Postgres) -> u64 {
    let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'mintkeep'";
    postgres.sql(count).parse().unwrap()
}

#[test]
fn claims_that_wait_share_a_round_trip() {
    const CLAIMS: u8 = 200;
    let postgres = Postgres::start();
    let open = empty_store(&postgres);
    let before = transactions(&postgres);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = open();
        let steps: Vec<_> = (0..CLAIMS).map(|number| store.claim(claim(number, 10))).collect();
        for step in steps {
            assert_eq!(step.await.unwrap(), Claimed::First);
        }
    });
    let made = transactions(&postgres) - before;
    assert!(made < u64::from(CLAIMS) / 4, "{made} transactions for {CLAIMS} claims");
}

#[test]
fn redemptions_that_wait_share_a_round_trip() {
    const REDEMPTIONS: u8 = 200;
    let postgres = Postgres::start();
    let open = empty_store(&postgres);
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    runtime().block_on(async {
        let families = (0..REDEMPTIONS).map(family).collect();
        open().restore(Records { families, ..Records::default() }).await.unwrap();
    });
    let before = transactions(&postgres);
    runtime().block_on(async {
        let store = open();
        let steps: Vec<_> = (0..REDEMPTIONS).map(|number| store.redeem(family(number), present(0))).collect();
        for step in steps {
            assert_eq!(step.await.unwrap(), Some(Redeemed::Granted { generation: 1, renewed: true }));
        }
    });
    let made = transactions(&postgres) - before;
    assert!(made < u64::from(REDEMPTIONS) / 4, "{made} transactions for {REDEMPTIONS} redemptions");
}
