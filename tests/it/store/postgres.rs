use std::sync::Arc;

use mintkeep::store::Store;
use mintkeep::store::postgres::{PostgresStore, PostgresUrl};

use super::contract::contract;
use crate::support::Postgres;

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
