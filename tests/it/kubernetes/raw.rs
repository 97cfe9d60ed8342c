//! A call without a library for gRPC, which would look at the time itself.

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tonic::Code;

use super::api::SignJwtRequest;
use super::apiserver::connect;

/// What `Sign` of `claims` is answered at `endpoint` when its caller waits for `timeout`: the code, and the message.
pub fn sign(endpoint: &str, claims: &str, timeout: &str) -> (Code, String) {
    let message = SignJwtRequest { claims: claims.to_owned() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    // Not compressed, so long, and so it is.
    let body = [&[0][..], &length, &message].concat();
    let request = Request::post("http://localhost/v1.ExternalJWTSigner/Sign")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let stream = connect(endpoint).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream).unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        let headers = answer.headers().clone();
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned();
        told(&headers).or_else(|| told(&trailers?)).expect("a status")
    })
}

fn told(headers: &HeaderMap) -> Option<(Code, String)> {
    let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
    let message = headers.get("grpc-message").map(|message| message.to_str().unwrap()).unwrap_or_default();
    Some((code, message.replace("%20", " ")))
}
