//! What `mintkeep trust` prints.

use std::time::Duration;

use serde_json::json;

use super::{print_json, print_lines};
use crate::app::Failure;
use crate::app::trust::{PolicyReport, Signature, Trial, TrustReport};

pub(in crate::cli) fn trial(trial: &Trial, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(trial));
    }
    // What the token says is quoted, because whoever made it may have put anything there.
    let Trial { issuer, subject, audience, expires_at, untimely, signature, policies, policy } = trial;
    let times = match (untimely, expires_at) {
        (Some(untimely), _) => format!("NOT GOOD: {untimely}"),
        (None, expires_at) => format!("expires {}", expires_at.as_deref().unwrap_or("never")),
    };
    let signature = match signature {
        Signature::Verified => "made by the issuer".to_owned(),
        Signature::Refused(reason) => format!("NOT GOOD: {reason}"),
        Signature::NotChecked(reason) => format!("not checked: {reason}"),
    };
    let head = [
        format!("issuer:    {issuer:?}"),
        format!("subject:   {:?}", subject.as_deref().unwrap_or_default()),
        format!("audience:  {audience:?}"),
        format!("time:      {times}"),
        format!("signature: {signature}"),
    ];
    let policies = policies.iter().map(|policy| match &policy.mismatch {
        None => format!("matches    {}", policy.name),
        Some(mismatch) => format!("does not   {}: {mismatch}", policy.name),
    });
    let used = match policy {
        None => "no trust policy matches".to_owned(),
        Some(PolicyReport { name, client, scope, lifetime_seconds, .. }) => {
            format!("used: {name}, for the client {client}, scope {scope:?}, {}", for_people(*lifetime_seconds))
        }
    };
    print_lines(head.into_iter().chain(policies).chain([used]))
}

pub(in crate::cli) fn trust(report: &TrustReport, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!(report));
    }
    let policies = report.policies.iter().flat_map(|policy| {
        let PolicyReport { name, issuer, audience, claims, client, scope, lifetime_seconds, subject, actors } = policy;
        let claims = claims.iter().map(|(name, expected)| format!("  match     {name} = {expected}"));
        let head = [name.clone(), format!("  issuer    {issuer}"), format!("  audience  {audience}")];
        let subject = subject.iter().map(|subject| format!("  subject   {subject}"));
        let actors = actors.iter().map(|actor| format!("  actor     {actor}"));
        let good_for = format!("  client    {client}, scope {scope:?}, {}", for_people(*lifetime_seconds));
        head.into_iter().chain(claims).chain([good_for]).chain(subject).chain(actors).collect::<Vec<_>>()
    });
    let issuers = report.issuers.iter().map(|issuer| format!("keys of {}: {}", issuer.issuer, issuer.keys));
    print_lines(policies.chain(issuers))
}

fn for_people(seconds: u64) -> String {
    format!("for {}", humantime::format_duration(Duration::from_secs(seconds)))
}
