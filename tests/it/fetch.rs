//! Fetching documents over HTTPS, from a real server that behaves as badly as a test wants.

use std::process::Command;
use std::thread;
use std::time::Duration;

use mintkeep::fetch::{DocumentSource as _, FetchError, HttpsSettings, HttpsSource};

use crate::support::https_server::HttpsServer;

/// The longest document that is read.
const MOST: usize = 256 * 1024;

/// What a server does once it has the request.
type Answer = fn(&mut dyn std::io::Write) -> std::io::Result<()>;

/// A server that does the same for each request.
struct Server(HttpsServer);

impl Server {
    fn start(answer: Answer) -> Self {
        Self(HttpsServer::start(move |_, stream| answer(stream)))
    }

    fn settings(&self) -> HttpsSettings {
        HttpsSettings { authorities: Some(self.0.authority()), allow_private: true, ..HttpsSettings::default() }
    }

    fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        fetch(&self.settings(), &format!("https://localhost:{}/jwks", self.0.port))
    }
}

fn fetch(settings: &HttpsSettings, url: &str) -> Result<Vec<u8>, FetchError> {
    let source = HttpsSource::new(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fetched = runtime.block_on(async { source.fetch(&url.parse().unwrap()).await });
    // Not for a name that is being looked up still.
    runtime.shutdown_background();
    fetched
}

fn document(stream: &mut dyn std::io::Write) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
}

#[test]
fn a_document_is_fetched_by_name_and_by_address() {
    let server = Server::start(document);
    assert_eq!(server.fetch().unwrap(), b"{}");
    let url = format!("https://127.0.0.1:{}/jwks", server.0.port);
    assert_eq!(fetch(&server.settings(), &url).unwrap(), b"{}");
    assert_eq!(server.0.seen(), (2, 2));
}

#[test]
fn a_private_address_is_not_connected_to_however_it_is_written() {
    let server = Server::start(document);
    let public_only = HttpsSettings { allow_private: false, ..server.settings() };
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "[fd00::1]",
    ] {
        let url = format!("https://{host}:{}/jwks", server.0.port);
        assert_eq!(fetch(&public_only, &url), Err(FetchError::Address), "{host}");
    }
    // Where private ones are allowed, those that nobody serves documents at are not.
    for host in
        ["169.254.169.254", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "224.0.0.1"]
    {
        let url = format!("https://{host}:{}/jwks", server.0.port);
        assert_eq!(fetch(&server.settings(), &url), Err(FetchError::Address), "{host}");
    }
    assert_eq!(server.0.seen(), (0, 0));
}

#[test]
fn only_https_is_spoken() {
    let server = Server::start(document);
    for url in [
        "http://localhost/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "data:,x",
        "https://user@localhost/",
        "https://:pw@localhost/",
    ] {
        assert_eq!(fetch(&server.settings(), url), Err(FetchError::Url), "{url}");
    }
}

#[test]
fn an_authority_that_is_not_trusted_vouches_for_nobody() {
    let (server, other) = (Server::start(document), Server::start(document));
    let url = format!("https://localhost:{}/jwks", server.0.port);
    for authorities in [Some(other.0.authority()), None] {
        let error = fetch(&HttpsSettings { authorities, ..server.settings() }, &url).unwrap_err();
        let FetchError::Unreachable(reason) = error else { panic!("{error}") };
        assert!(reason.contains("invalid peer certificate"), "{reason}");
    }
    // The right authority, and a name that the certificate does not have.
    let url = format!("https://127.0.0.2:{}/jwks", server.0.port);
    assert!(matches!(fetch(&server.settings(), &url), Err(FetchError::Unreachable(_))));
    assert_eq!(server.0.seen().1, 0);
}

#[test]
fn authorities_that_are_none_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    for text in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
        text.inspect(|text| std::fs::write(&path, text).unwrap());
        let settings = HttpsSettings { authorities: Some(path.clone()), ..HttpsSettings::default() };
        let error = HttpsSource::new(&settings).map(|_| ()).unwrap_err();
        assert!(error.contains("authority.pem"), "{error}");
    }
}

#[test]
fn only_200_is_a_document_and_redirects_are_not_followed() {
    let redirecting: Answer =
        |stream| stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 2\r\n\r\n{}");
    let empty: Answer = |stream| stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    let missing: Answer = |stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}");
    let failing: Answer = |stream| stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}");
    for (status, answer) in [(302, redirecting), (204, empty), (404, missing), (500, failing)] {
        let server = Server::start(answer);
        assert_eq!(server.fetch(), Err(FetchError::Status(status)));
        assert_eq!(server.0.seen(), (1, 1), "{status}: asked once");
    }
}

#[test]
fn a_document_that_is_too_long_is_not_read_to_its_end() {
    let too_long = Err(FetchError::TooLong { most: MOST });
    let long_enough = Server::start(|stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {MOST}\r\n\r\n")?;
        stream.write_all(&[b' '; MOST])
    });
    assert_eq!(long_enough.fetch().map(|body| body.len()), Ok(MOST));
    let announced = Server::start(|stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MOST + 1)?;
        stream.write_all(&[b' '; MOST + 1])
    });
    assert_eq!(announced.fetch(), too_long);
    let endless = Server::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"1000\r\n")?;
            stream.write_all(&[b' '; 0x1000])?;
            stream.write_all(b"\r\n")?;
        }
    });
    assert_eq!(endless.fetch(), too_long);
}

#[test]
fn a_document_that_is_cut_off_is_none() {
    let cut_off = Server::start(|stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}"));
    assert!(matches!(cut_off.fetch(), Err(FetchError::Unreachable(_))));
}

#[test]
fn nobody_is_waited_for_longer_than_the_limit() {
    let silent: Answer = |_| loop {
        thread::park();
    };
    let stopping: Answer = |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{")?;
        stream.flush()?;
        loop {
            thread::park();
        }
    };
    for answer in [silent, stopping] {
        let server = Server::start(answer);
        let settings = HttpsSettings { time_limit: Duration::from_millis(500), ..server.settings() };
        let url = format!("https://localhost:{}/jwks", server.0.port);
        assert_eq!(fetch(&settings, &url), Err(FetchError::TooSlow));
    }
}

/// In a process of its own, because what is set in an environment is set for all of it.
#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "fetch::a_document_is_fetched_by_name_and_by_address"]);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        // Nobody is there.
        again.env(name, "http://127.0.0.1:1");
    }
    let output = again.env("NO_PROXY", "").env("no_proxy", "").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
