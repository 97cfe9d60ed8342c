//! HTTPS as its clients see it: authorities, certificates, and connections.

use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use toml_edit::{Item, Table, value};

use super::client_key::encode;
use super::{Answer, Deployment, RunningMint};

/// A connection after its handshake, as far as the client can tell.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Somebody who vouches for names.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "Test Authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name`, a host's or an address.
    pub fn vouch_for(&self, name: &str) -> Identity {
        self.vouch_until(4000, name)
    }

    /// As [`Self::vouch_for`], until `year` begins.
    pub fn vouch_until(&self, year: i32, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        Identity::of(&parameters.signed_by(&key, &self.0).expect("a certificate"), key)
    }
}

impl Identity {
    fn of(certificate: &rcgen::Certificate, key: KeyPair) -> Self {
        Self { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
    }

    /// One that nobody else vouches for.
    pub fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        Self::of(&parameters.self_signed(&key).expect("a certificate"), key)
    }

    /// Its private key.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// `x5t#S256`.
    pub fn thumbprint(&self) -> String {
        encode(digest(&SHA256, &self.certificate))
    }

    /// The certificate of this one with the key of `other`: what a thief of a certificate has.
    pub fn with_key_of(self, other: Self) -> Self {
        Self { key: other.key, ..self }
    }

    fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![self.certificate.clone()], key)))
    }
}

/// A mint's side of HTTPS.
impl Deployment {
    /// Has the public listener speak HTTPS, as `identity`; client certificates are optional.
    pub fn use_tls(&self, identity: &Identity) {
        fs::create_dir(self.path("tls")).expect("a writable folder");
        self.put_identity("tls", identity);
        self.edit(|config| {
            let mut tls = Table::new();
            tls["certificate"] = value("tls/certificate.pem");
            tls["key"] = value("tls/key.pem");
            tls["client_certificates"] = value("optional");
            config["listen"]["tls"] = Item::Table(tls);
        });
    }

    /// Writes the files of `identity` into `folder`.
    pub fn put_identity(&self, folder: &str, identity: &Identity) {
        let key = self.path(folder).join("key.pem");
        fs::write(self.path(folder).join("certificate.pem"), &identity.certificate_pem).expect("a writable folder");
        fs::write(&key, identity.key.serialize_pem()).expect("a writable folder");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// What clients verify the mint by.
    pub fn put_authority(&self, authority: &Authority) -> PathBuf {
        let path = self.path("authority.pem");
        fs::write(&path, authority.pem()).expect("a writable folder");
        path
    }
}

/// A client, by default of every version and of HTTP/1.1, without a certificate.
pub struct Client {
    roots: RootCertStore,
    versions: &'static [&'static SupportedProtocolVersion],
    identity: Option<Arc<dyn ResolvesClientCert>>,
    protocol: &'static [u8],
}

impl Client {
    pub fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("an authority");
        Self { roots, versions: rustls::ALL_VERSIONS, identity: None, protocol: b"http/1.1" }
    }

    pub fn of_version(self, version: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions: version, ..self }
    }

    pub fn presenting(self, identity: &Identity) -> Self {
        Self { identity: Some(identity.resolver()), ..self }
    }

    pub fn speaking_http2(self) -> Self {
        Self { protocol: b"h2", ..self }
    }

    fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(self.versions);
        let builder = builder.expect("versions that there are").with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity)),
        };
        config.alpn_protocols = vec![self.protocol.to_vec()];
        config
    }

    /// Connects; clients of one `config` resume sessions.
    pub fn try_connect(&self, address: SocketAddr) -> io::Result<Connection> {
        let name = ServerName::from(address.ip());
        let mut session = ClientConnection::new(Arc::new(self.config()), name).expect("a configuration that works");
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // Only a failing test waits that long.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(session, stream))
    }

    #[track_caller]
    pub fn connect(&self, mint: &RunningMint) -> Connection {
        self.try_connect(mint.address()).expect("the handshake succeeds")
    }

    /// The client credentials grant; `None` where the connection ends without an answer.
    pub fn client_credentials(&self, mint: &RunningMint) -> Option<Answer> {
        let connection = self.try_connect(mint.address()).ok()?;
        let body = "grant_type=client_credentials";
        let request = format!(
            "POST /oauth/token HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{}\r\n\r\n{body}",
            body.len(),
            mint.basic()
        );
        Answer::try_exchange(connection, request.as_bytes())
    }

    /// The certificate that the mint shows.
    pub fn certificate(&self, mint: &RunningMint) -> CertificateDer<'static> {
        let connection = self.connect(mint);
        connection.conn.peer_certificates().expect("it is shown")[0].clone()
    }
}

/// HTTP/2 by hand, so that a test can send what no client library would (RFC 9113).
pub struct Http2(Connection);

/// A frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;

    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

impl Http2 {
    /// Begins a connection (§3.4).
    pub fn begin(connection: Connection) -> Self {
        assert_eq!(connection.conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut http2 = Self(connection);
        http2.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it is open");
        http2.send(Frame::SETTINGS, 0, 0, &[]);
        http2
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).expect("it is open");
    }

    pub fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat())?;
        self.0.flush()
    }

    /// A request's head, which ends the stream where it has no body.
    pub fn request(&mut self, stream: u32, method: &str, path: &str, headers: &[(&str, &str)], has_body: bool) {
        let pseudo = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "mint")];
        // Literals without indexing and without Huffman codes (RFC 7541 §6.2.2).
        let mut block = Vec::new();
        for (name, value) in pseudo.iter().chain(headers) {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
                block.extend(text.as_bytes());
            }
        }
        let flags = Frame::END_HEADERS | if has_body { 0 } else { Frame::END_STREAM };
        // Where the other side is gone, what is waited for next does not come.
        let _ = self.try_send(Frame::HEADERS, flags, stream, &block);
    }

    /// The next frame; settings and pings are acknowledged. `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        use std::io::Read as _;
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut frame = Frame { kind: head[3], flags: head[4], stream, payload: vec![0; length as usize] };
        self.0.read_exact(&mut frame.payload).ok()?;
        if matches!(frame.kind, Frame::SETTINGS | Frame::PING) && frame.flags & Frame::ACK == 0 {
            let payload = if frame.kind == Frame::PING { frame.payload.clone() } else { Vec::new() };
            let _ = self.try_send(frame.kind, Frame::ACK, 0, &payload);
        }
        Some(frame)
    }

    /// Reads on until a frame of `kind` on `stream`.
    #[track_caller]
    pub fn wait_for(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the connection ended before {kind} on {stream}"));
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
        }
    }
}
