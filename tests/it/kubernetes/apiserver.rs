//! A kube-apiserver, as far as it is a client of ours: one connection, and the calls of the public interface.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::api::external_jwt_signer_client::ExternalJwtSignerClient;
use super::api::{
    FetchKeysRequest, FetchKeysResponse, MetadataRequest, MetadataResponse, SignJwtRequest, SignJwtResponse,
};

pub struct Apiserver {
    client: ExternalJwtSignerClient<Channel>,
    runtime: Runtime,
}

impl Apiserver {
    /// One that is told to find us at `endpoint`: a path, or `@` and a name.
    pub fn at(endpoint: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let endpoint = endpoint.to_owned();
        let connector = tower::service_fn(move |_: axum::http::Uri| {
            let connected = connect(&endpoint);
            async move {
                let stream = connected?;
                stream.set_nonblocking(true)?;
                tokio::net::UnixStream::from_std(stream).map(TokioIo::new)
            }
        });
        let channel = runtime.block_on(async {
            // As grpc.WithAuthority("localhost").
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
        });
        Self { client: ExternalJwtSignerClient::new(channel), runtime }
    }

    pub fn sign(&self, claims: &Value) -> Result<SignJwtResponse, Status> {
        self.sign_encoded(URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    /// As [`Self::sign`], for claims that came out of some encoder.
    pub fn sign_encoded(&self, claims: String) -> Result<SignJwtResponse, Status> {
        self.sign_request(Request::new(SignJwtRequest { claims }))
    }

    pub fn sign_request(&self, request: Request<SignJwtRequest>) -> Result<SignJwtResponse, Status> {
        self.runtime.block_on(self.client.clone().sign(request)).map(tonic::Response::into_inner)
    }

    pub fn fetch_keys(&self) -> Result<FetchKeysResponse, Status> {
        let request = FetchKeysRequest {};
        self.runtime.block_on(self.client.clone().fetch_keys(request)).map(tonic::Response::into_inner)
    }

    pub fn metadata(&self) -> Result<MetadataResponse, Status> {
        let request = MetadataRequest {};
        self.runtime.block_on(self.client.clone().metadata(request)).map(tonic::Response::into_inner)
    }
}

/// A connection to `endpoint`, as Go's `net.Dial("unix", endpoint)` makes it.
pub fn connect(endpoint: &str) -> std::io::Result<UnixStream> {
    match endpoint.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(endpoint),
    }
}
