//! The stores under measurement: empty, and with a million families on disk.

use std::path::Path;

use mintkeep::clock::Timestamp;
use mintkeep::store::postgres::{PostgresStore, PostgresUrl};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{Family, FamilyId, Records, Store};

use crate::support::postgres::Postgres;

/// How many families the full stores have.
pub const MANY: u32 = 1_000_000;

/// A store that a mint is measured on.
pub struct Measured {
    pub name: &'static str,
    pub families: u32,
    pub url: String,
    /// Of one family, with its share of the indexes.
    pub bytes: Option<f64>,
}

/// The four stores; the servers run as long as the second value lives.
pub fn set_up(state: &Path) -> (Vec<Measured>, Vec<Postgres>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut stores = Vec::new();
    let mut servers = Vec::new();
    for families in [0, MANY] {
        let path = state.join(format!("sessions-{families}.db"));
        runtime.block_on(fill(&SqliteStore::open(&path).expect("a new store"), families));
        // Opened and closed again, so that what was written is in the file.
        drop(SqliteStore::open(&path).expect("the same store"));
        let bytes = per_family(std::fs::metadata(&path).expect("a file").len(), families);
        stores.push(Measured { name: "SQLite", families, url: format!("sqlite:{}", path.display()), bytes });
        let server = Postgres::start();
        let url = PostgresUrl::parse(&server.url()).expect("a good URL");
        runtime.block_on(async {
            PostgresStore::migrate(&url).await.expect("it takes the schema");
            fill(&PostgresStore::open(&url).await.expect("it opens"), families).await;
        });
        server.sql("VACUUM ANALYZE");
        let size = server.sql("SELECT pg_total_relation_size('family')").parse().expect("a number");
        stores.push(Measured { name: "PostgreSQL", families, url: server.url(), bytes: per_family(size, families) });
        servers.push(server);
    }
    (stores, servers)
}

#[expect(clippy::cast_precision_loss, reason = "a size in bytes is far below 2^52")]
fn per_family(size: u64, families: u32) -> Option<f64> {
    (families > 0).then(|| size as f64 / f64::from(families))
}

/// Families as `mintkeep grant issue` makes them, each of a subject of its own.
async fn fill(store: &dyn Store, families: u32) {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let numbers: Vec<u32> = (0..families).collect();
    for numbers in numbers.chunks(10_000) {
        let family = |&number: &u32| Family {
            fid: FamilyId(
                (u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes(),
            ),
            client_id: "ci-cd-pipeline-runner".to_owned(),
            subject: format!("pipeline-{number}@example.com"),
            scope: "read:metrics write:deployments".to_owned(),
            generation: number % 1000,
            current_used: false,
            superseded_at: Some(now),
            created_at: now,
            last_used_at: now,
            expires_at: Timestamp::from_unix_seconds(2_000_000_000 + i64::from(number)),
            revoked_at: None,
            jkt: None,
            login: None,
            session: None,
        };
        let families = numbers.iter().map(family).collect();
        store.restore(Records { families, ..Records::default() }).await.expect("there is room");
    }
}
