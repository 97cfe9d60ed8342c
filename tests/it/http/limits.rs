use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use toml_edit::value;

use crate::support::Deployment;

#[test]
fn an_oversized_body_is_refused_unread() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.post_form(&[], &format!("grant_type=refresh_token&refresh_token={}", "A".repeat(100_000)));
    answer.assert_error(413, "invalid_request");
}

#[test]
fn a_body_that_says_it_is_oversized_is_not_waited_for() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let answer = mint.raw(
        b"POST /oauth/token HTTP/1.1\r\nHost: mint\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
    );
    answer.assert_error(413, "invalid_request");
}

#[test]
fn oversized_headers_are_refused() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let header = format!("X-Long: {}", "a".repeat(200_000));
    let answer = mint.post_form(&[&header], "grant_type=client_credentials");
    assert_eq!(answer.status, 431);
}

#[test]
fn a_client_that_sends_nothing_or_half_a_header_is_let_go() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["listen"]["header_timeout"] = value("1s"));
    let mint = deployment.serve();
    for half in ["", "POST /oauth/token HTTP/1.1\r\nHost: mi"] {
        let mut stream = TcpStream::connect(mint.address()).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // Ends, because the mint closes the connection; it would hang here otherwise.
        stream.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn a_body_that_never_comes_ends_in_an_answer() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["listen"]["request_timeout"] = value("1s"));
    let mint = deployment.serve();
    let answer = mint.raw(
        b"POST /oauth/token HTTP/1.1\r\nHost: mint\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\nConnection: close\r\n\r\ngrant",
    );
    assert_eq!(answer.status, 408, "{answer:?}");
}

#[test]
fn a_client_that_never_reads_its_answers_is_let_go() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["listen"]["request_timeout"] = value("1s"));
    let mint = deployment.serve();
    let mut stream = TcpStream::connect(mint.address()).unwrap();
    let request = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: mint\r\n\r\n".repeat(1000);
    // Ends with an error, because the mint closes the connection; it would go on for ever otherwise, or block.
    while stream.write_all(request.as_bytes()).is_ok() {}
    mint.client_credentials().text("access_token");
}

#[test]
fn connections_beyond_the_cap_wait_for_a_free_place() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        config["listen"]["max_connections"] = value(2);
    });
    let mint = deployment.serve();
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(mint.address()).unwrap()).collect();
    let mut third = TcpStream::connect(mint.address()).unwrap();
    third.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let mut byte = [0];
    assert!(third.read(&mut byte).is_err(), "both places are taken");
    drop(idle);
    third.set_read_timeout(None).unwrap();
    third.read_exact(&mut byte).unwrap();
}

#[test]
fn requests_under_way_are_finished_before_the_end() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let mut stream = TcpStream::connect(mint.address()).unwrap();
    let body = "grant_type=client_credentials";
    let (first, second) = body.split_at(10);
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: mint\r\n{}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{first}",
        mint.basic(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Answered only when the head was read, so that the request is under way for certain.
    mint.client_credentials().text("access_token");
    let (pid, address) = (mint.pid(), mint.address());
    crate::support::process::signal(pid, nix::sys::signal::Signal::SIGTERM);
    mint.wait_for("ending");
    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(mint.ended().success());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn garbage_instead_of_http_is_answered_and_harms_nobody() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(mint.address()).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    mint.client_credentials().text("access_token");
}
