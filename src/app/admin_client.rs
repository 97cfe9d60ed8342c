//! Asking a running mint, through its admin socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Failure, Kind};

/// How long a running mint may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The answer to a JSON request.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Posts `json` to `path`; `None` where no mint listens at `socket`.
///
/// # Errors
/// [`Failure`] where a mint listens and the exchange breaks off.
pub async fn post(socket: &Path, path: &str, json: &impl serde::Serialize) -> Result<Option<Answer>, Failure> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => {
            let message = format!("cannot ask the mint at {}: {error}; run this as its user", socket.display());
            return Err(Failure::new(Kind::Other, message));
        }
    };
    let failed = |error: hyper::Error| Failure::while_doing("the running mint did not answer")(error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driving = tokio::spawn(connection);
    let body = serde_json::to_vec(json).map_err(Failure::while_doing("cannot write the request"))?;
    let request = Request::post(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(Failure::while_doing("cannot write the request"))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Answer { status, body })
    };
    let answer = tokio::time::timeout(LIMIT, answer).await;
    driving.abort();
    let in_time = answer.map_err(Failure::while_doing("the running mint did not answer"))?;
    in_time.map(Some).map_err(failed)
}
