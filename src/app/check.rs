//! `mintkeep check`: whether a mint would start and issue, and for each part what was found.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::services::KeptKeys;
use super::{Failure, Kind, frontend_listener, mint, store};
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::{Config, StoreLocation};
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware::{PinnedPublicKey, SealingKey};
use crate::jose::base64url;
use crate::jose::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use crate::jose::jwk::P256PublicKey;
use crate::jose::jws::SigningInput;
use crate::keeper::Member;
use crate::keeper::policy::ACCESS_TOKEN_PROFILE;
use crate::kubernetes::Address;
use crate::oauth::key_sets::KeySets;

/// One part and what was found of it.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The part.
    pub part: &'static str,
    /// Whether it is as it must be.
    pub ok: bool,
    /// Whether it may be, and an operator should think twice about it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// What was found.
    pub found: String,
    #[serde(skip)]
    kind: Kind,
}

impl Finding {
    fn ok(part: &'static str, found: impl Into<String>) -> Self {
        Self { part, ok: true, warning: false, found: found.into(), kind: Kind::Other }
    }

    fn warning(part: &'static str, found: String) -> Self {
        Self { warning: true, ..Self::ok(part, found) }
    }

    fn failed(part: &'static str, failure: Failure) -> Self {
        Self { part, ok: false, warning: false, found: failure.message, kind: failure.kind }
    }
}

/// The exit code of a check: that of the first finding that is not as it must be.
pub fn exit_code(findings: &[Finding]) -> u8 {
    findings.iter().find(|finding| !finding.ok).map_or(0, |finding| finding.kind.exit_code())
}

/// Checks configuration, store, hardware and keys, and has a token signed and verified. Nothing is
/// issued; the keeper is started for it, or found, as by `serve`.
pub async fn check(config_path: &Path) -> Vec<Finding> {
    let config = match Config::load(config_path) {
        Ok(config) => config,
        Err(error) => return vec![Finding::failed("configuration", error.into())],
    };
    let mut findings =
        vec![Finding::ok("configuration", format!("{}, {} clients", config.issuer.as_str(), config.clients.len()))];
    // What reading it again would find too, and `serve` does.
    if let Err(reason) = config.registrations().with_keys(&KeySets::default(), &(Arc::new(SystemClock) as _)) {
        findings.push(Finding::failed("configuration", Failure::new(Kind::Configuration, reason)));
    }
    findings.extend(certificates(&config));
    findings.extend(config.warnings().into_iter().map(|warning| Finding::warning("configuration", warning)));
    findings.push(match probe_store(&config.store).await {
        Ok(found) => Finding::ok("store", found),
        Err(failure) => Finding::failed("store", failure),
    });
    let kept_keys = match KeptKeys::start(config_path, &config).await {
        Ok(kept_keys) => kept_keys,
        Err(failure) => {
            findings.push(Finding::failed("hardware", failure));
            return findings;
        }
    };
    // Which device it is, where there are several.
    let is_only = config.hardware.len() == 1;
    let of = |member: &Member| if is_only { String::new() } else { format!("{}: ", member.name) };
    for member in kept_keys.keepers.members() {
        let Some(told) = member.keeper.public_keys() else {
            let message = format!("hardware.{}: it does not open; see the messages of the keeper", member.name);
            findings.push(Finding::failed("hardware", Failure::new(Kind::Hardware, message)));
            continue;
        };
        findings.push(Finding::ok("hardware", format!("{}{}", of(member), told.device)));
        let of_role = |kids: Vec<String>| kids.join(", ");
        let signing = of_role(told.keys.signing.iter().map(P256PublicKey::kid).collect());
        let sealing = of_role(told.keys.sealing.iter().map(SealingKey::kid).collect());
        let of = of(member);
        let found = format!("{of}signing {signing}; sealing {sealing}; none can leave the device");
        findings.push(Finding::ok("keys", found));
    }
    findings.push(match sign_and_verify(&config, &kept_keys).await {
        Ok(()) => Finding::ok("signature", "made by the hardware, and verifies under the published key"),
        Err(failure) => Finding::failed("signature", failure),
    });
    findings.extend(kubernetes(&config, &kept_keys));
    kept_keys.stop().await;
    findings
}

/// What was found of the way to sign for Kubernetes, where there is one. The socket may be a running mint's.
fn kubernetes(config: &Config, kept_keys: &KeptKeys) -> Option<Finding> {
    let settings = config.kubernetes.as_ref()?;
    let profile = settings.profile;
    let has_key = |member: &Member| {
        let told = member.keeper.public_keys();
        told.is_some_and(|told| told.keys.delegated.iter().any(|key| key.name == profile))
    };
    if !kept_keys.keepers.members().iter().any(has_key) {
        let message = format!("the signing profile {:?} has no key; `mintkeep keys init` makes it", profile.as_str());
        return Some(Finding::failed("kubernetes", Failure::new(Kind::HardwareForGood, message)));
    }
    if let Address::Path(path) = &settings.address
        && !path.parent().is_some_and(Path::is_dir)
    {
        let message = format!("{}: its folder is not there", path.display());
        return Some(Finding::failed("kubernetes", Failure::new(Kind::Listen, message)));
    }
    let most = humantime::format_duration(settings.max_lifetime);
    let found = format!("{}, signing profile {:?}, tokens of up to {most}", settings.address, profile.as_str());
    Some(Finding::ok("kubernetes", found))
}

/// What was found of the certificates of the listeners that speak TLS.
fn certificates(config: &Config) -> impl Iterator<Item = Finding> {
    let listeners = [
        ("certificate", mint::certificates(config)),
        ("certificate for front-ends", frontend_listener::certificates(config)),
    ];
    listeners.into_iter().filter_map(|(part, loaded)| match loaded {
        Ok(None) => None,
        Ok(Some(certificates)) if certificates.not_after() < SystemClock.now() => {
            let message = format!("it expired at {}; no client accepts it", certificates.not_after());
            Some(Finding::failed(part, Failure::new(Kind::Configuration, message)))
        }
        Ok(Some(certificates)) => Some(Finding::ok(part, format!("with its key, until {}", certificates.not_after()))),
        Err(failure) => Some(Finding::failed(part, failure)),
    })
}

/// What was found of the store. One that is not there yet is not made: that is its user's, the mint's, to do.
async fn probe_store(location: &StoreLocation) -> Result<String, Failure> {
    if let StoreLocation::Sqlite(path) = location
        && !path.exists()
        && path.parent().is_some_and(Path::is_dir)
    {
        return Ok(format!("none at {location} yet; the mint makes it when it starts"));
    }
    store::open(location).await?.probe().await?;
    Ok(format!("{location}, a write was committed"))
}

/// For each key a token like the first client's, under the signing policy; it is thrown away.
async fn sign_and_verify(config: &Config, kept_keys: &KeptKeys) -> Result<(), Failure> {
    let failed = |reason: String| Failure::new(Kind::Hardware, reason);
    let Some(client) = config.clients.first() else {
        let failed = kept_keys.keepers.probe().await.into_iter().find_map(|(_, outcome)| outcome.err());
        return failed.map_or(Ok(()), |error| Err(Failure::new(Kind::Hardware, error.to_string())));
    };
    let entropy: &dyn Entropy = &SystemEntropy::new();
    for member in kept_keys.keepers.members() {
        let told = member.keeper.public_keys();
        for key in told.iter().flat_map(|told| &told.keys.signing) {
            let now = SystemClock.now();
            let claims = AccessTokenClaims {
                iss: config.issuer.as_str(),
                sub: "mintkeep check",
                aud: &client.audience,
                client_id: &client.id,
                scope: "",
                iat: now,
                exp: now.plus(std::time::Duration::from_secs(1)),
                jti: &base64url::encode(entropy.bytes::<16>()),
                sid: None,
                cnf: None,
                act: None,
                auth_time: None,
                acr: None,
                amr: &[],
            };
            let pinned = PinnedPublicKey::new(*key).map_err(|error| failed(error.to_string()))?;
            let input = SigningInput::new(ACCESS_TOKEN_TYPE, pinned.kid(), &claims);
            let signature = kept_keys.keepers.sign(pinned.kid(), &client.id, ACCESS_TOKEN_PROFILE, &input).await;
            let signature = signature.map_err(|error| failed(error.to_string()))?;
            if !pinned.verifies(input.as_bytes(), &signature) {
                return Err(failed("the signature does not verify under the published key".to_owned()));
            }
        }
    }
    Ok(())
}
