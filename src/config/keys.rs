//! `[keys.signing]` and `[keys.sealing]`: when keys are replaced.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;
use super::values::Seconds;
use crate::keyring::{DelegatedSchedule, RoleSchedule, Schedule};

/// With 2^32 random nonces two are the same by a chance of 2^-33 (NIST SP 800-38D §8.3); long before that.
const DEFAULT_ROTATE_AFTER: u64 = 1 << 30;
const LONGEST_ROTATE_AFTER: u64 = 1 << 31;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeysTable {
    signing: SigningTable,
    sealing: SealingTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SigningTable {
    rotate_every: Option<Spanned<Seconds>>,
    publish_ahead: Option<Spanned<Seconds>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SealingTable {
    rotate_every: Option<Spanned<Seconds>>,
    rotate_after: Option<Spanned<u64>>,
    publish_ahead: Option<Spanned<Seconds>>,
}

/// How long what the keys make lives, and is kept by others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) access_token: Duration,
    pub(super) refresh_token: Duration,
    pub(super) jwks_max_age: Duration,
}

impl KeysTable {
    pub(super) fn into_schedule(
        self,
        lifetimes: Lifetimes,
        delegated: Vec<DelegatedSchedule>,
    ) -> Result<Schedule, Problem> {
        let Self { signing, sealing } = self;
        let least = lifetimes.jwks_max_age;
        let default = least.max(DAY / 24);
        let publish_ahead =
            ahead(signing.publish_ahead, default, least, "tokens.jwks_max_age, for which others keep the keys")?;
        let signing = RoleSchedule {
            rotate_every: every(signing.rotate_every, publish_ahead)?,
            // Nothing is random in what it counts.
            rotate_after: u64::MAX,
            publish_ahead,
            needed_for: lifetimes.access_token,
        };
        // Nobody but the nodes has to know it, and they learn of it within seconds.
        let publish_ahead = sealing.publish_ahead.map_or(DAY / 1440, |ahead| ahead.into_inner().0);
        let sealing = RoleSchedule {
            rotate_every: every(sealing.rotate_every, publish_ahead)?.or(Some(365 * DAY)),
            rotate_after: match sealing.rotate_after {
                Some(count) if (1..=LONGEST_ROTATE_AFTER).contains(count.get_ref()) => count.into_inner(),
                Some(count) => {
                    let message =
                        format!("expected a number from 1 to {LONGEST_ROTATE_AFTER}: an AES key must not make more");
                    return Err(Problem::at(count.span(), message));
                }
                None => DEFAULT_ROTATE_AFTER,
            },
            publish_ahead,
            needed_for: lifetimes.refresh_token,
        };
        Ok(Schedule { signing, sealing, delegated })
    }
}

pub(super) fn ahead(
    setting: Option<Spanned<Seconds>>,
    default: Duration,
    least: Duration,
    reason: &str,
) -> Result<Duration, Problem> {
    let Some(setting) = setting else { return Ok(default) };
    match setting.get_ref().0 {
        ahead if ahead >= least => Ok(ahead),
        _ => {
            let least = humantime::format_duration(least);
            Err(Problem::at(setting.span(), format!("expected at least \"{least}\": {reason}")))
        }
    }
}

pub(super) fn every(setting: Option<Spanned<Seconds>>, publish_ahead: Duration) -> Result<Option<Duration>, Problem> {
    let Some(setting) = setting else { return Ok(None) };
    match setting.get_ref().0 {
        every if every >= publish_ahead.saturating_mul(2) => Ok(Some(every)),
        _ => {
            let ahead = humantime::format_duration(publish_ahead);
            let message = format!(
                "expected at least twice publish_ahead, which is \"{ahead}\": a key is published that long before it is used"
            );
            Err(Problem::at(setting.span(), message))
        }
    }
}
