use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use toml_edit::value;

use crate::support::process::{one_line_of_error, signal, succeed};
use crate::support::tls::{Authority, Client, Frame, Http2, Identity};
use crate::support::{Deployment, RunningMint};

/// A deployment that speaks HTTPS, and whom its clients trust.
fn deployment() -> (Deployment, Authority) {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    deployment.use_tls(&authority.vouch_for("127.0.0.1"));
    (deployment, authority)
}

static VERSIONS: [[&SupportedProtocolVersion; 1]; 2] = [[&TLS12], [&TLS13]];

const READ_AGAIN: &str = "the certificate was read again";
const STAYS: &str = "the certificate stays as it was";

#[test]
fn curl_speaks_both_versions_of_tls_and_of_http() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let file = deployment.put_authority(&authority);
    for (version, protocol, expected) in
        [("1.2", "--http1.1", "1.1"), ("1.2", "--http2", "2"), ("1.3", "--http1.1", "1.1"), ("1.3", "--http2", "2")]
    {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", protocol, "--tls-max", version, "--cacert"]).arg(&file);
        curl.args([&format!("--tlsv{version}"), "--data", "grant_type=client_credentials", "--header", &mint.basic()]);
        curl.args(["--write-out", "\n%{http_version}", &format!("https://{}/oauth/token", mint.address())]);
        let printed = String::from_utf8(succeed(&mut curl).stdout).unwrap();
        let (answer, spoken) = printed.rsplit_once('\n').unwrap();
        assert_eq!(spoken, expected, "TLS {version}");
        assert!(answer.contains("\"access_token\""), "{answer}");
    }
}

#[test]
fn versions_that_are_broken_are_refused() {
    let (deployment, _) = deployment();
    let mint = deployment.serve();
    for minor in [0, 1, 2] {
        // A ClientHello of SSL 3.0, TLS 1.0 or TLS 1.1: version, random, no session, two suites, no compression, and
        // the groups and signatures of today.
        let extensions = [&[0, 10, 0, 4, 0, 2, 0, 23][..], &[0, 13, 0, 4, 0, 2, 4, 3]].concat();
        let hello = [&[3, minor][..], &[7; 32], &[0, 0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0, 0, 16], &extensions].concat();
        let length = u8::try_from(hello.len()).unwrap();
        let record = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let mut stream = TcpStream::connect(mint.address()).unwrap();
        stream.write_all(&record).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // An alert, fatal: protocol_version.
        assert_eq!((answer[0], &answer[3..]), (0x15, &[0, 2, 2, 70][..]), "{minor}: {answer:?}");
    }
}

#[test]
fn plain_http_is_not_answered() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let mut stream = TcpStream::connect(mint.address()).unwrap();
    stream.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: mint\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "nothing, or an alert: {answer:?}");
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
}

#[test]
fn the_end_of_an_answer_is_the_mints_word() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let mut connection = Client::trusting(&authority).connect(&mint);
    connection.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n").unwrap();
    // Without close_notify this would be an error: somebody may have cut the answer.
    connection.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_client_certificate_may_be_of_anybodys_making_and_its_key_must_be_the_clients() {
    let (deployment, authority) = deployment();
    let clients = Authority::new();
    fs::write(deployment.path("client-ca.pem"), clients.pem()).unwrap();
    deployment.edit(|config| config["listen"]["tls"]["client_ca"] = value("client-ca.pem"));
    let mint = deployment.serve();
    for version in &VERSIONS {
        let client = || Client::trusting(&authority).of_version(version);
        let identities = [clients.vouch_for("client.example.com"), Identity::self_signed("client.example.com")];
        for identity in &identities {
            client().presenting(identity).client_credentials(&mint).unwrap().text("access_token");
        }
        client().client_credentials(&mint).unwrap().text("access_token");
        for identity in identities {
            let stolen = identity.with_key_of(Identity::self_signed("thief.example.com"));
            assert!(client().presenting(&stolen).client_credentials(&mint).is_none(), "{version:?}");
        }
    }
}

#[test]
fn the_certificate_is_replaced_at_sighup_under_load_and_no_request_fails() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let is_over = AtomicBool::new(false);
    let mut last = None;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    Client::trusting(&authority).client_credentials(&mint).expect("an answer").text("access_token");
                }
            });
        }
        for _ in 0..10 {
            let identity = authority.vouch_for("127.0.0.1");
            deployment.put_identity("tls", &identity);
            signal(mint.pid(), Signal::SIGHUP);
            mint.wait_for(READ_AGAIN);
            last = Some(identity);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(Client::trusting(&authority).certificate(&mint), last.unwrap().certificate);
}

/// A link that leads elsewhere is how Kubernetes renews a certificate.
#[test]
fn the_certificate_is_replaced_when_its_files_change() {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    let (first, second) = (authority.vouch_for("127.0.0.1"), authority.vouch_for("127.0.0.1"));
    deployment.use_tls(&first);
    for name in ["certificate.pem", "key.pem"] {
        fs::remove_file(deployment.path("tls").join(name)).unwrap();
        symlink(format!("data/{name}"), deployment.path("tls").join(name)).unwrap();
    }
    for (folder, identity) in [("tls/one", &first), ("tls/two", &second)] {
        fs::create_dir(deployment.path(folder)).unwrap();
        deployment.put_identity(folder, identity);
    }
    symlink("one", deployment.path("tls/data")).unwrap();
    let mint = deployment.serve();
    let client = Client::trusting(&authority);
    let mut before = client.connect(&mint);
    assert_eq!(client.certificate(&mint), first.certificate);
    symlink("two", deployment.path("tls/new")).unwrap();
    fs::rename(deployment.path("tls/new"), deployment.path("tls/data")).unwrap();
    mint.wait_for(READ_AGAIN);
    assert_eq!(client.certificate(&mint), second.certificate);
    // A connection keeps what it began with.
    before.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    before.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_bad_certificate_leaves_all_as_it_was_and_says_why() {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    let first = authority.vouch_for("127.0.0.1");
    deployment.use_tls(&first);
    let mint = deployment.serve();
    let client = Client::trusting(&authority);
    fs::write(deployment.path("tls/certificate.pem"), authority.vouch_for("127.0.0.1").certificate_pem).unwrap();
    let event = mint.wait_for(STAYS);
    let error = event["fields"]["error"].as_str().unwrap();
    assert!(error.contains("listen.tls.key") && error.contains("expected the key of"), "{error}");
    fs::write(deployment.path("tls/certificate.pem"), "nonsense").unwrap();
    signal(mint.pid(), Signal::SIGHUP);
    let event = mint.wait_for(STAYS);
    let error = event["fields"]["error"].as_str().unwrap();
    assert!(error.contains("listen.tls.certificate") && error.contains("expected certificates in PEM"), "{error}");
    assert_eq!(client.certificate(&mint), first.certificate);
    client.client_credentials(&mint).unwrap().text("access_token");
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start_and_by_check() {
    let (deployment, authority) = deployment();
    let findings = deployment.run_json(&["check"]);
    assert_eq!(findings["findings"][1]["part"], "certificate", "{findings}");
    fs::write(deployment.path("tls/certificate.pem"), authority.vouch_for("127.0.0.1").certificate_pem).unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 3);
    assert!(error.contains("tls/key.pem: expected the key of the first certificate in"), "{error}");
    assert!(!deployment.path("mintkeep.db").exists(), "nothing was made");
    let checked = deployment.run(&["check"]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(String::from_utf8(checked.stdout).unwrap().contains("FAILED  certificate"));
}

#[test]
fn a_certificate_that_expired_is_served_with_a_warning_and_no_good_to_check() {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    deployment.use_tls(&authority.vouch_until(2020, "127.0.0.1"));
    let checked = deployment.run(&["check"]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(String::from_utf8(checked.stdout).unwrap().contains("it expired at 2020-01-01T00:00:00Z"));
    // A new one may be on its way; until it is there, who is inside can see what is wrong.
    let mint = deployment.serve();
    assert!(mint.log().contains("the certificate of the listener has expired"));
    deployment.put_identity("tls", &authority.vouch_for("127.0.0.1"));
    signal(mint.pid(), Signal::SIGHUP);
    mint.wait_for(READ_AGAIN);
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
}

/// Both places for handshakes are taken by clients that say nothing, and would be for an hour.
#[test]
fn slow_handshakes_make_way_for_others() {
    let (deployment, authority) = deployment();
    deployment.edit(|config| {
        config["listen"]["max_connections"] = value(4);
        config["listen"]["tls"]["handshake_timeout"] = value("1h");
        config["listen"]["drain_timeout"] = value("1h");
    });
    let mint = deployment.serve();
    let slow: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(mint.address()).unwrap()).collect();
    // It would hang here otherwise.
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
    // Nor is a handshake waited for at the end.
    assert!(mint.terminate().success());
    drop(slow);
}

#[test]
fn slow_handshakes_beside_free_places_hold_nobody_up_and_end() {
    let (deployment, authority) = deployment();
    deployment.edit(|config| config["listen"]["tls"]["handshake_timeout"] = value("1s"));
    let mint = deployment.serve();
    let mut slow = TcpStream::connect(mint.address()).unwrap();
    slow.write_all(&[0x16, 3, 1]).unwrap();
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
    slow.read_to_end(&mut Vec::new()).unwrap();
}

fn http2(mint: &RunningMint, authority: &Authority) -> Http2 {
    Http2::begin(Client::trusting(authority).speaking_http2().connect(mint))
}

/// A request that fails, and is counted.
const FORGED: &[u8] = b"grant_type=refresh_token&refresh_token=forged&client_id=ci-cd-pipeline-runner";
const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

#[test]
fn requests_of_http2_under_way_are_finished_before_the_end() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let mut connection = http2(&mint, &authority);
    let basic = mint.basic();
    let basic = ("authorization", basic.strip_prefix("Authorization: ").unwrap());
    let (first, second) = b"grant_type=client_credentials".split_at(10);
    connection.request(1, "POST", "/oauth/token", &[FORM[0], basic], true);
    connection.send(Frame::DATA, 0, 1, first);
    // Answered only when the frames before were read, so that the request is under way for certain.
    connection.request(3, "GET", "/.well-known/jwks.json", &[], false);
    connection.wait_for(Frame::HEADERS, 3);
    signal(mint.pid(), Signal::SIGTERM);
    mint.wait_for("ending");
    connection.wait_for(Frame::GOAWAY, 0);
    connection.send(Frame::DATA, Frame::END_STREAM, 1, second);
    let head = connection.wait_for(Frame::HEADERS, 1);
    // `:status: 200` of the static table (RFC 7541 §A).
    assert_eq!(head.payload[0], 0x88, "{head:?}");
    let body = connection.wait_for(Frame::DATA, 1);
    assert!(String::from_utf8(body.payload).unwrap().contains("\"access_token\""));
    while connection.next().is_some() {}
    assert!(mint.ended().success());
}

#[test]
fn a_client_of_http2_has_so_many_requests_at_a_time() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let mut connection = http2(&mint, &authority);
    let settings = connection.wait_for(Frame::SETTINGS, 0);
    // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2).
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 100]), "{settings:?}");
    for stream in 0..101 {
        connection.request(2 * stream + 1, "POST", "/oauth/token", &FORM, true);
    }
    let refused = connection.wait_for(Frame::RST_STREAM, 201);
    // REFUSED_STREAM.
    assert_eq!(refused.payload, [0, 0, 0, 7]);
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
}

/// CVE-2023-44487, with requests that are looked at before they are broken off: while their body is waited for, and
/// while their answer is.
#[test]
fn a_client_of_http2_that_only_breaks_off_is_let_go() {
    let (deployment, authority) = deployment();
    deployment.limit_failed_attempts(1, 1);
    let mint = deployment.serve();
    for (flags, body) in [(0, &b""[..]), (Frame::END_STREAM, FORGED)] {
        let mut connection = http2(&mint, &authority);
        let is_let_go = (0..1000).any(|number| {
            let stream = 2 * number + 1;
            connection.request(stream, "POST", "/oauth/token", &FORM, true);
            let _ = connection.try_send(Frame::DATA, flags, stream, body);
            // Answered only when the request was read.
            let _ = connection.try_send(Frame::PING, 0, 0, &[0; 8]);
            let is_open = loop {
                match connection.next() {
                    Some(frame) if (frame.kind, frame.flags) == (Frame::PING, Frame::ACK) => break true,
                    Some(_) => {}
                    None => break false,
                }
            };
            // CANCEL.
            let _ = connection.try_send(Frame::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            !is_open
        });
        assert!(is_let_go, "{body:?}");
    }
    Client::trusting(&authority).client_credentials(&mint).unwrap().text("access_token");
}

/// As on HTTP/1.1, where `Connection: close` says it.
#[test]
fn an_answer_that_cannot_be_held_back_ends_its_connection_of_http2() {
    let (deployment, authority) = deployment();
    deployment.limit_failed_attempts(1, 1);
    // One in four is left to good requests, and three are no four.
    deployment.edit(|config| config["listen"]["max_connections"] = value(3));
    let mint = deployment.serve();
    let mut connection = http2(&mint, &authority);
    for stream in [1, 3] {
        connection.request(stream, "POST", "/oauth/token", &FORM, true);
        connection.send(Frame::DATA, Frame::END_STREAM, stream, FORGED);
        connection.wait_for(Frame::HEADERS, stream);
    }
    connection.wait_for(Frame::GOAWAY, 0);
    while connection.next().is_some() {}
}

#[test]
fn an_oversized_body_is_refused_on_http2() {
    let (deployment, authority) = deployment();
    let mint = deployment.serve();
    let mut connection = http2(&mint, &authority);
    connection.request(1, "POST", "/oauth/token", &FORM, true);
    for flags in [0, Frame::END_STREAM] {
        connection.send(Frame::DATA, flags, 1, &[b'a'; 16 * 1024]);
    }
    let head = connection.wait_for(Frame::HEADERS, 1);
    // `:status` of the static table, with a value of its own: three digits (RFC 7541 §6.2.1).
    assert_eq!(head.payload[0] & 0x3f, 8, "{head:?}");
    let body = connection.wait_for(Frame::DATA, 1);
    assert!(String::from_utf8(body.payload).unwrap().contains("invalid_request"));
}

#[test]
fn a_client_of_http2_that_is_idle_is_let_go() {
    let (deployment, authority) = deployment();
    deployment.edit(|config| config["listen"]["header_timeout"] = value("1s"));
    let mint = deployment.serve();
    // Neither a request nor even the preface.
    let mut connection = Client::trusting(&authority).speaking_http2().connect(&mint);
    let _ = connection.read_to_end(&mut Vec::new());
    let mut connection = http2(&mint, &authority);
    connection.request(1, "GET", "/.well-known/jwks.json", &[], false);
    connection.wait_for(Frame::DATA, 1);
    connection.wait_for(Frame::GOAWAY, 0);
    while connection.next().is_some() {}
}
