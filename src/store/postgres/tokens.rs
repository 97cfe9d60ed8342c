//! The statements of revoked access tokens.

use deadpool_postgres::Object;
use tokio_postgres::{Error as PostgresError, Row};
use uuid::Uuid;

use super::pool::{LONG_LIMIT, Pool};
use super::rows::uuid_of_token;
use crate::clock::Timestamp;
use crate::store::{Error, RevokedToken, TokenId};

const INSERT_TOKENS: &str = "INSERT INTO revoked_token (jti, expires_at) SELECT * FROM unnest($1::uuid[], $2::bigint[])
    ON CONFLICT (jti) DO NOTHING";

/// Writes those of `tokens` that are not there.
pub(super) async fn insert_tokens(connection: &Object, tokens: &[RevokedToken]) -> Result<(), PostgresError> {
    let jtis: Vec<Uuid> = tokens.iter().map(|token| uuid_of_token(token.jti)).collect();
    let ends: Vec<i64> = tokens.iter().map(|token| token.expires_at.unix_seconds()).collect();
    let statement = connection.prepare_cached(INSERT_TOKENS).await?;
    connection.execute(&statement, &[&jtis, &ends]).await.map(drop)
}

/// At the most `limit` revoked tokens behind `after`.
pub(super) async fn list(pool: &Pool, after: Option<TokenId>, limit: u32) -> Result<Vec<RevokedToken>, Error> {
    let step = pool.within(LONG_LIMIT, |connection| {
        Box::pin(async move {
            let text = "SELECT jti, expires_at FROM revoked_token WHERE $1::uuid IS NULL OR jti > $1
                 ORDER BY jti LIMIT $2";
            let rows = connection.query(text, &[&after.map(uuid_of_token), &i64::from(limit)]).await?;
            rows.iter().map(token_of).collect()
        })
    });
    step.await
}

fn token_of(row: &Row) -> Result<RevokedToken, PostgresError> {
    let jti = TokenId(row.try_get::<_, Uuid>(0)?.into_bytes());
    Ok(RevokedToken { jti, expires_at: Timestamp::from_unix_seconds(row.try_get(1)?) })
}
