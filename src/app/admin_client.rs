//! Asking a running mint, through its admin socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{Failure, Kind};

/// How long a running mint may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks for `path`; `None` where no mint listens at `socket`.
///
/// # Errors
/// [`Failure`]: what the mint refused, or that the exchange broke off.
pub async fn get<Value: DeserializeOwned>(socket: &Path, path: &str) -> Result<Option<Value>, Failure> {
    exchange(socket, Request::get(path), Bytes::new()).await
}

/// Has what is at `path` removed; `None` where no mint listens at `socket`.
///
/// # Errors
/// As [`get`].
pub async fn delete<Value: DeserializeOwned>(socket: &Path, path: &str) -> Result<Option<Value>, Failure> {
    exchange(socket, Request::delete(path), Bytes::new()).await
}

/// Posts `json` to `path`; `None` where no mint listens at `socket`.
///
/// # Errors
/// As [`get`].
pub async fn post<Value: DeserializeOwned>(
    socket: &Path,
    path: &str,
    json: &impl Serialize,
) -> Result<Option<Value>, Failure> {
    let body = serde_json::to_vec(json).map_err(Failure::while_doing("cannot write the request"))?;
    exchange(socket, Request::post(path).header(CONTENT_TYPE, "application/json"), body.into()).await
}

async fn exchange<Value: DeserializeOwned>(
    socket: &Path,
    request: request::Builder,
    body: Bytes,
) -> Result<Option<Value>, Failure> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => {
            let message = format!("cannot ask the mint at {}: {error}; run this as its user", socket.display());
            return Err(Failure::new(Kind::Other, message));
        }
    };
    let request = request
        .header(HOST, "localhost")
        .body(Full::new(body))
        .map_err(Failure::while_doing("cannot write the request"))?;
    let answer = tokio::time::timeout(LIMIT, answer(stream, request)).await;
    let in_time = answer.map_err(Failure::while_doing("the running mint did not answer"))?;
    let (status, body) = in_time.map_err(Failure::while_doing("the running mint did not answer"))?;
    if status.is_success() {
        let value = serde_json::from_slice(&body);
        return value.map(Some).map_err(Failure::while_doing("the running mint did not answer in JSON"));
    }
    let kind = if status.is_server_error() { Kind::Other } else { Kind::Refused };
    Err(Failure::new(kind, refusal(&body)))
}

async fn answer(stream: UnixStream, request: Request<Full<Bytes>>) -> hyper::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driving.abort();
    Ok((status, body))
}

fn refusal(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |name| body.get(name).and_then(serde_json::Value::as_str).unwrap_or("?");
    format!("{}: {}", member("error"), member("error_description"))
}
