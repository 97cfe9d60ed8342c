//! What commands print: for people, or as JSON for scripts.

mod trust;

use std::io::{self, Write as _};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

pub(super) use self::trust::{trial, trust};
use crate::app::check::Finding;
use crate::app::keys::KeyList;
use crate::app::{Failure, Kind};
use crate::hardware::attestation::{Attestation, Verified};
use crate::http::admin::clients::{RemovedClient, SelfRegisteredClient};
use crate::http::admin::keys::{Key, KeyReport};
use crate::http::admin::sessions::{Revoked, Session};
use crate::oauth::secret::SecretHash;
use crate::store::KeyState;

pub(super) fn findings(findings: &[Finding], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!({ "ok": findings.iter().all(|finding| finding.ok), "findings": findings }));
    }
    let lines = findings.iter().map(|Finding { part, ok, warning, found, .. }| {
        let standing = match (ok, warning) {
            (false, _) => "FAILED",
            (true, true) => "warns ",
            (true, false) => "ok    ",
        };
        format!("{standing}  {part:<14} {found}")
    });
    print_lines(lines)
}

/// Of one device as it is; of several in a list.
pub(super) fn keys(lists: &[KeyList], as_json: bool) -> Result<(), Failure> {
    match lists {
        [list] if as_json => return print_json(&json!(list)),
        lists if as_json => return print_json(&json!({ "devices": lists })),
        _ => {}
    }
    let lines = lists.iter().flat_map(|list| {
        let keys = list.keys.iter().map(|key| {
            let origin = if key.generated { "generated now" } else { "there already" };
            format!("{:<8} {:<8} {}  ({}, {origin})", key.role, key.algorithm, key.kid, key.label)
        });
        std::iter::once(list.device.clone()).chain(keys)
    });
    print_lines(lines)
}

pub(super) fn key_report(report: &KeyReport, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(report));
    }
    let keys = report.keys.iter().map(|key| {
        let Key { kid, role, device, algorithm, state, uses, .. } = key;
        let since = match state {
            KeyState::Pending => Some(key.found_at),
            KeyState::Published => key.published_at,
            KeyState::Active => key.activated_at,
            KeyState::Retired => key.retired_at,
            KeyState::Removed => key.removed_at,
        };
        let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
        let note = match state {
            KeyState::Retired => format!(", until {}", key.needed_until),
            KeyState::Removed if key.revoked => ", revoked".to_owned(),
            _ => String::new(),
        };
        let state = state.name();
        format!("{role:<8} {algorithm:<8} {kid}  {device}  {state}{since}{note}, tokens made: {uses}")
    });
    print_lines(keys.chain(report.remarks.iter().cloned()))
}

/// Evidence is for programs: always JSON.
pub(super) fn attestations(documents: &[Attestation], is_one: bool, to: Option<&Path>) -> Result<(), Failure> {
    let json = match documents {
        [document] if is_one => json!(document),
        documents => json!(documents),
    };
    let Some(path) = to else { return print_json(&json) };
    std::fs::write(path, format!("{json:#}\n"))
        .map_err(|error| Failure::new(Kind::Other, format!("cannot write {}: {error}", path.display())))
}

pub(super) fn verified(all: &[Verified], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(all));
    }
    let lines = all.iter().flat_map(|verified| {
        let Verified { kid, role, standing, proven, not_proven, .. } = verified;
        let proven = proven.iter().map(|text| format!("  proven:     {text}"));
        let not_proven = not_proven.iter().map(|text| format!("  not proven: {text}"));
        std::iter::once(format!("{role} {kid}: a {standing}")).chain(proven).chain(not_proven)
    });
    print_lines(lines)
}

pub(super) fn secret(secret: &SecretString, hash: &SecretHash, as_json: bool) -> Result<(), Failure> {
    let (secret, hash) = (secret.expose_secret(), hash.hexadecimal());
    if as_json {
        return print_json(&json!({ "client_secret": secret, "secret_sha256": hash }));
    }
    print_lines([
        format!("The secret, for the client; it is not kept anywhere:\n\n    {secret}\n"),
        format!("The line for its [[client]] in the configuration:\n\n    secret_sha256 = \"{hash}\""),
    ])
}

pub(super) fn grant(grant: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(grant);
    }
    let text = |name: &str| grant.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    print_lines([
        format!("The refresh token, for the workload; it is not kept anywhere:\n\n    {}\n", text("refresh_token")),
        format!("family {}, scope {:?}", text("family"), text("scope")),
    ])
}

pub(super) fn sessions(sessions: &[Session], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!({ "sessions": sessions }));
    }
    let lines = sessions.iter().map(|session| {
        let Session { family, client_id, subject, scope, last_used_at, expires_at, revoked_at, .. } = session;
        let state = match revoked_at {
            Some(revoked_at) => format!("revoked {revoked_at}"),
            None => format!("used {last_used_at}, until {expires_at}"),
        };
        format!("{family}  {client_id}  {subject}  [{scope}]  {state}")
    });
    print_lines(lines)
}

pub(super) fn clients(clients: &[SelfRegisteredClient], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!({ "clients": clients }));
    }
    let lines = clients.iter().map(|client| {
        let SelfRegisteredClient { client_id, created_at, last_used_at, expires_at, refused, .. } = client;
        let name = client.client_name.as_deref().unwrap_or("-");
        let method = client.token_endpoint_auth_method.as_deref().unwrap_or("?");
        let scope = client.scope.as_deref().unwrap_or_default();
        let used = last_used_at.map_or("never used".to_owned(), |at| format!("used {at}"));
        let until = expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
        let refused = refused.as_ref().map(|reason| format!("; refused: {reason}")).unwrap_or_default();
        format!("{client_id}  {name}  {method}  [{scope}]  registered {created_at}, {used}{until}{refused}")
    });
    print_lines(lines)
}

pub(super) fn removed(removed: &RemovedClient, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(removed));
    }
    print_lines([format!("removed {}", removed.removed)])
}

pub(super) fn line(text: &str) -> Result<(), Failure> {
    print_lines([text.to_owned()])
}

pub(super) fn revoked(revoked: &Revoked, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(revoked));
    }
    print_lines([format!("sessions revoked: {}", revoked.revoked)])
}

fn print_json(value: &Value) -> Result<(), Failure> {
    print_lines([format!("{value:#}")])
}

/// A closed pipe is an error like any other, and not a panic.
fn print_lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = lines.into_iter().try_for_each(|line| writeln!(stdout, "{line}")).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::new(Kind::Other, format!("cannot write the output: {error}")))
}
