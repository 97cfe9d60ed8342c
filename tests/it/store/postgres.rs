use std::sync::Arc;

use mintkeep::store::Store;
use mintkeep::store::postgres::{PostgresStore, PostgresUrl};

use super::contract::contract;
use crate::support::Postgres;

/// A handle as another node would have it.
fn open(url: &PostgresUrl) -> Arc<dyn Store> {
    let opened = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(PostgresStore::open(url)));
    Arc::new(opened.expect("it opens"))
}

fn url(postgres: &Postgres) -> PostgresUrl {
    PostgresUrl::parse(&postgres.url()).expect("a good URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let postgres = Postgres::start();
    let url = url(&postgres);
    PostgresStore::migrate(&url).await.unwrap();
    contract(&|| open(&url)).await;
}
