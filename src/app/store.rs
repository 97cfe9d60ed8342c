//! The stores: opened as the configuration says, and `mintkeep store`.

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::{Failure, Kind};
use crate::config::{PostgresLocation, StoreLocation};
use crate::store::Store;
use crate::store::postgres::{PostgresStore, PostgresUrl};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::transfer::{Transferred, transfer};

/// Opens the store at `location`.
///
/// # Errors
/// [`Failure`] of the store.
pub async fn open(location: &StoreLocation) -> Result<Arc<dyn Store>, Failure> {
    match location {
        StoreLocation::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path)?)),
        StoreLocation::Postgres(database) => Ok(Arc::new(PostgresStore::open(&with_password(database)?).await?)),
    }
}

/// Copies the store to a new file at `to`, while a mint may be using it.
///
/// # Errors
/// [`Failure`] of the store.
pub fn back_up(location: &StoreLocation, to: &Path) -> Result<(), Failure> {
    match location {
        StoreLocation::Sqlite(path) => Ok(sqlite::back_up(path, to)?),
        StoreLocation::Postgres(_) => Err(Failure::new(
            Kind::Refused,
            format!("{location} is backed up by its own means, such as pg_dump, and not by this command"),
        )),
    }
}

/// Moves the schema of the store to this release's; says how.
///
/// # Errors
/// [`Failure`] of the store.
pub async fn migrate(location: &StoreLocation) -> Result<String, Failure> {
    let steps = match location {
        StoreLocation::Sqlite(path) => {
            // Opening is enough: one machine has one release.
            SqliteStore::open(path)?;
            0
        }
        StoreLocation::Postgres(database) => PostgresStore::migrate(&with_password(database)?).await?,
    };
    Ok(match steps {
        0 => format!("{location} has this release's schema"),
        steps => format!("{location} has this release's schema now; steps: {steps}"),
    })
}

/// Copies everything from one store, which nobody may use meanwhile, to another one, which is made where it is not
/// there.
///
/// # Errors
/// [`Failure`] of one of the stores; [`Kind::Refused`] where one of them is in use.
pub async fn copy(from: &StoreLocation, to: &StoreLocation) -> Result<Transferred, Failure> {
    if from == to {
        return Err(Failure::new(Kind::Refused, format!("both are {from}; name two stores")));
    }
    let source: Arc<dyn Store> = match from {
        StoreLocation::Sqlite(path) => Arc::new(SqliteStore::open_alone(path)?),
        StoreLocation::Postgres(_) => open(from).await?,
    };
    migrate(to).await?;
    let target = open(to).await?;
    transfer(source.as_ref(), target.as_ref()).await.map_err(Failure::from)
}

/// The database's URL, with the password from where it is kept.
fn with_password(PostgresLocation { url, password }: &PostgresLocation) -> Result<PostgresUrl, Failure> {
    let Some(source) = password else {
        if url.has_password() {
            tracing::warn!("the password of the database is in its URL; keep it in a file, and name that instead");
        }
        return Ok(url.clone());
    };
    let password = source.read().map_err(|unavailable| {
        Failure::new(Kind::Store, format!("cannot read the password of the store from {source}: {unavailable}"))
    })?;
    Ok(url.clone().with_password(password.expose_secret()))
}
