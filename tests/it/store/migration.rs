//! A store that the release before made.

use std::path::Path;
use std::time::Duration;

use mintkeep::store::postgres::{PostgresStore, PostgresUrl};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{AddedClient, BegunLogin, Claimed, Family, Redeemed, Redemption, Store};
use refinery::Target;

use super::contract::binding::key;
use super::contract::claims::claim;
use super::contract::clients::client;
use super::contract::{NOW, family, logins, present};
use crate::support::Postgres;

mod sqlite {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

mod postgres {
    refinery::embed_migrations!("src/store/postgres/migrations");
}

/// A family as it was written when none could be bound.
const FAMILY: &str = "INSERT INTO family (fid, client_id, subject, scope, generation, current_used, superseded_at,
                    created_at, last_used_at, expires_at, revoked_at)
    VALUES (FID, 'robot', 'deploy', 'read', 3, FALSE, 1800000000, 1800000000, 1800000000, 1800001000, NULL)";

fn written() -> Family {
    Family {
        subject: "deploy".to_owned(),
        scope: "read".to_owned(),
        generation: 3,
        superseded_at: Some(NOW),
        expires_at: NOW.plus(Duration::from_secs(1000)),
        ..family(1)
    }
}

/// Its families are not bound, and what is new works.
async fn goes_on(store: &dyn Store) {
    assert_eq!(store.family(written().fid).await.unwrap(), Some(written()));
    let redemption = Redemption { jkt: key(1), binds: true, ..present(3) };
    let granted = Some(Redeemed::Granted { generation: 4, renewed: true });
    assert_eq!(store.redeem(written(), redemption).await.unwrap(), granted);
    assert_eq!(store.redeem(written(), present(4)).await.unwrap(), Some(Redeemed::WrongKey));
    assert_eq!(store.claim(claim(1, 10)).await.unwrap(), Claimed::First);
    assert_eq!(store.shared_secret("nonces", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.add_client(client("a", 1), 1).await.unwrap(), AddedClient::Added);
    assert_eq!(store.begin_login(logins::device(1), 1).await.unwrap(), BegunLogin::Begun);
    assert!(store.push_request(logins::pushed(1), 1).await.unwrap());
}

fn make_sqlite_of_version_3(path: &Path) {
    let mut connection = rusqlite::Connection::open(path).unwrap();
    sqlite::migrations::runner().set_target(Target::Version(3)).run(&mut connection).unwrap();
    connection.execute(&FAMILY.replace("FID", "x'01010101010101010101010101010101'"), []).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_store_of_the_release_before_is_opened_and_its_families_are_unbound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    make_sqlite_of_version_3(&path);
    goes_on(&SqliteStore::open(&path).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_store_of_the_release_before_is_migrated_and_its_families_are_unbound() {
    let server = Postgres::start();
    let (mut client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut runner = postgres::migrations::runner();
    runner.set_migration_table_name("mintkeep_schema_history");
    runner.set_target(Target::Version(2)).run_async(&mut client).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    server.sql(&FAMILY.replace("FID", "'01010101-0101-0101-0101-010101010101'"));
    let url = PostgresUrl::parse(&server.url()).unwrap();
    let error = PostgresStore::open(&url).await.err().expect("it is refused").to_string();
    assert!(error.contains("run `mintkeep store migrate`"), "{error}");
    assert_eq!(PostgresStore::migrate(&url).await, Ok(3));
    goes_on(&PostgresStore::open(&url).await.unwrap()).await;
}
