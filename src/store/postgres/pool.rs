//! The connections to the database: a bounded pool, TLS, and one way to carry out a statement that tells what
//! passes from what stays, and never waits without end.

use std::error::Error as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, Object, Pool as Connections, PoolError, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error as PostgresError, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{PostgresUrl, Tls};
use crate::store::Error;

/// Connections at the most: the batches under way, and some for operators.
const CONNECTIONS: usize = 12;
/// For a connection to become free, and for a new one to be made.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// For a step of the protocol.
const STEP_LIMIT: Duration = Duration::from_secs(5);
/// For a statement that may concern everything there is.
pub(super) const LONG_LIMIT: Duration = Duration::from_secs(600);
/// How often a statement is put again that lost against another one: each time somebody else came further.
const ATTEMPTS: u32 = 16;
/// Between two of these attempts: all of them, and the pauses, take about two seconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Whatever the database's own default is: a commit that was acknowledged is on its disk.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// What is done with a connection. It may be done more than once, so it is safe to repeat.
pub(super) type Work<'a, Value> = Pin<Box<dyn Future<Output = Result<Value, PostgresError>> + Send + 'a>>;

/// The connections.
#[derive(Clone)]
pub(super) struct Pool {
    connections: Connections,
}

impl Pool {
    /// A pool that has no connection yet.
    pub(super) fn new(url: &PostgresUrl) -> Result<Self, Error> {
        let failed = |reason: String| Error::Open { path: url.to_string(), reason };
        let manager = match &url.tls {
            Tls::Off => Manager::new(url.driver.clone(), NoTls),
            Tls::Verified { authorities } => {
                let tls = verifying(authorities.as_deref()).map_err(failed)?;
                Manager::new(url.driver.clone(), MakeRustlsConnect::new(tls))
            }
        };
        let connections = Connections::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECTION_LIMIT))
            .create_timeout(Some(CONNECTION_LIMIT))
            .recycle_timeout(Some(CONNECTION_LIMIT))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(DURABLE).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { connections })
    }

    /// A connection, from the pool or new.
    pub(super) async fn connection(&self) -> Result<Object, Error> {
        self.connections.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Error::Failed(told(&error))
            }
            PoolError::Timeout(_) => Error::Failed("no connection to the database in time".to_owned()),
            other => Error::Failed(other.to_string()),
        })
    }

    /// Carries out a step of the protocol.
    pub(super) async fn step<Value>(
        &self,
        work: impl for<'a> Fn(&'a Object) -> Work<'a, Value>,
    ) -> Result<Value, Error> {
        self.within(STEP_LIMIT, work).await
    }

    /// Carries out what may take longer than a step, such as a revocation of everything.
    ///
    /// What lost against another transaction is put again, because that one came further; what lost its connection
    /// is put again once, because the database may have been restarted and be there already.
    pub(super) async fn within<Value>(
        &self,
        limit: Duration,
        work: impl for<'a> Fn(&'a Object) -> Work<'a, Value>,
    ) -> Result<Value, Error> {
        let mut was_lost = false;
        for attempt in 0..ATTEMPTS {
            let connection = self.connection().await?;
            let error = match tokio::time::timeout(limit, work(&connection)).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => {
                    // It may be answered some time; until then nobody else must wait on that connection.
                    drop(Object::take(connection));
                    return Err(Error::Failed("the database did not answer in time".to_owned()));
                }
            };
            match Fault::of(&error) {
                Fault::Conflict => {
                    drop(connection);
                    tokio::time::sleep(pause_after(attempt)).await;
                }
                Fault::Lost if !was_lost => {
                    was_lost = true;
                    drop(Object::take(connection));
                }
                Fault::Lost | Fault::Other => return Err(Error::Failed(told(&error))),
            }
        }
        Err(Error::Busy)
    }
}

/// Doubled from a millisecond on: who lost is out of the way of the others until they are done.
fn pause_after(attempt: u32) -> Duration {
    Duration::from_millis(1 << attempt).min(LONGEST_PAUSE)
}

/// What a failed statement says.
enum Fault {
    /// Another transaction came first.
    Conflict,
    /// The connection is gone, and whether the statement was carried out is unknown.
    Lost,
    /// Anything else; it would fail again.
    Other,
}

impl Fault {
    fn of(error: &PostgresError) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Conflict
            }
            Some(code)
                if [&SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN, &SqlState::CANNOT_CONNECT_NOW]
                    .contains(&code) =>
            {
                Self::Lost
            }
            Some(_) => Self::Other,
            // Not the database's word, so the line's.
            None => Self::Lost,
        }
    }
}

/// `error` with its causes: the driver's own text says of most only that there is one.
pub(super) fn told(error: &PostgresError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace('\n', "; ")
}

fn verifying(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let found = match authorities {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (usable, _) = roots.add_parsable_certificates(found);
    if usable == 0 {
        let place = authorities.map_or("the system".to_owned(), |path| path.display().to_string());
        return Err(format!("{place} has no certificate of an authority; set sslrootcert to a PEM file"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
