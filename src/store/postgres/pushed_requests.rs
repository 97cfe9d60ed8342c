//! The statements of requests that were pushed.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error as PostgresError, Row};

use super::pool::{LONG_LIMIT, Pool};
use super::rows::Bytes32;
use crate::clock::Timestamp;
use crate::store::{Error, LoginId, PushedRequest};

const COLUMNS: &str = "id, client_id, request, expires_at";

const PUSH: &str = "WITH place AS (
        UPDATE waiting SET count = count + 1 WHERE name = 'pushed_request' AND count < $5 RETURNING name
    )
    INSERT INTO pushed_request (id, client_id, request, expires_at)
    SELECT $1::bytea, $2::text, $3::text, $4::bigint FROM place";

const RESTORE: &str = "WITH added AS (
        INSERT INTO pushed_request (id, client_id, request, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO NOTHING RETURNING id
    )
    UPDATE waiting SET count = count + 1 WHERE name = 'pushed_request' AND EXISTS (SELECT 1 FROM added)";

const TAKE: &str = "WITH taken AS (
        DELETE FROM pushed_request WHERE id = $1 RETURNING id, client_id, request, expires_at
    ), counted AS (
        UPDATE waiting SET count = count - 1 WHERE name = 'pushed_request' AND EXISTS (SELECT 1 FROM taken)
    )
    SELECT id, client_id, request, expires_at FROM taken";

/// Keeps `request` where fewer than `most` are kept; says whether it did.
pub(super) async fn push(pool: &Pool, request: PushedRequest, most: u32) -> Result<bool, Error> {
    let (request, most) = (Arc::new(request), i64::from(most));
    let step = pool.step(|connection| {
        let request = Arc::clone(&request);
        Box::pin(async move {
            let PushedRequest { id, client_id, request: document, expires_at } = &*request;
            let statement = connection.prepare_cached(PUSH).await?;
            let pushed = connection
                .execute(&statement, &[&id.0.as_slice(), client_id, document, &expires_at.unix_seconds(), &most])
                .await;
            match pushed {
                Ok(1) => Ok(true),
                // It is this one where the answer to a first attempt was lost.
                Ok(_) => Ok(select(connection, *id).await?.as_ref() == Some(&*request)),
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    Ok(select(connection, *id).await?.as_ref() == Some(&*request))
                }
                Err(error) => Err(error),
            }
        })
    });
    step.await
}

/// Writes `request` where there is none of its name.
pub(super) async fn restore(connection: &Object, request: &PushedRequest) -> Result<(), PostgresError> {
    let PushedRequest { id, client_id, request, expires_at } = request;
    let statement = connection.prepare_cached(RESTORE).await?;
    let ends = expires_at.unix_seconds();
    connection.execute(&statement, &[&id.0.as_slice(), client_id, request, &ends]).await.map(drop)
}

/// The request of that name.
pub(super) async fn find(pool: &Pool, id: LoginId) -> Result<Option<PushedRequest>, Error> {
    pool.step(|connection| Box::pin(select(connection, id))).await
}

async fn select(connection: &Object, id: LoginId) -> Result<Option<PushedRequest>, PostgresError> {
    let text = format!("SELECT {COLUMNS} FROM pushed_request WHERE id = $1");
    let statement = connection.prepare_cached(&text).await?;
    connection.query_opt(&statement, &[&id.0.as_slice()]).await?.as_ref().map(request_of).transpose()
}

/// Takes the request of that name out. Where the answer was lost, nobody has it.
pub(super) async fn take(pool: &Pool, id: LoginId, now: Timestamp) -> Result<Option<PushedRequest>, Error> {
    let step = pool.step(|connection| {
        Box::pin(async move {
            let statement = connection.prepare_cached(TAKE).await?;
            connection.query_opt(&statement, &[&id.0.as_slice()]).await?.as_ref().map(request_of).transpose()
        })
    });
    Ok(step.await?.filter(|request| now < request.expires_at))
}

/// At the most `limit` requests behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<LoginId>, limit: u32) -> Result<Vec<PushedRequest>, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        Box::pin(async move {
            let text =
                format!("SELECT {COLUMNS} FROM pushed_request WHERE $1::bytea IS NULL OR id > $1 ORDER BY id LIMIT $2");
            let after = after.as_ref().map(|id| id.0.as_slice());
            let rows = connection.query(&text, &[&after, &i64::from(limit)]).await?;
            rows.iter().map(request_of).collect()
        })
    });
    step.await
}

fn request_of(row: &Row) -> Result<PushedRequest, PostgresError> {
    let Bytes32(id) = row.try_get(0)?;
    Ok(PushedRequest {
        id: LoginId(id),
        client_id: row.try_get(1)?,
        request: row.try_get(2)?,
        expires_at: Timestamp::from_unix_seconds(row.try_get(3)?),
    })
}
