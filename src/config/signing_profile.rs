//! `[[signing_profile]]`: what front-ends may have signed, and by which keys.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::keys::{ahead, every};
use super::problem::Problem;
use super::values::Seconds;
use crate::hardware::{DelegatedKeys, KeyName};
use crate::keeper::policy::{ACCESS_TOKEN_PROFILE, Content, DelegatedProfile, INTROSPECTION_PROFILE};
use crate::keyring::{DelegatedSchedule, RoleSchedule};

/// Names of what the mint makes itself.
const TAKEN: [&str; 4] = [ACCESS_TOKEN_PROFILE, INTROSPECTION_PROFILE, "id-token", "logout-token"];

const HOUR: Duration = Duration::from_secs(60 * 60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a caller goes on naming a key that it has read, after the key was retired.
const STILL_NAMED: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningProfileTable {
    name: Spanned<String>,
    content: ContentTable,
    issuers: Option<Spanned<Vec<String>>>,
    audiences: Option<Spanned<Vec<String>>>,
    types: Option<Spanned<Vec<String>>>,
    max_lifetime: Option<Spanned<Seconds>>,
    prehashed_per_second: Option<NonZeroU32>,
    keys: Option<DelegatedKeys>,
    rotate_every: Option<Spanned<Seconds>>,
    publish_ahead: Option<Spanned<Seconds>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ContentTable {
    Jwt,
    Any,
}

impl SigningProfileTable {
    pub(super) fn id(&self) -> &Spanned<String> {
        &self.name
    }

    /// The profile, and when its keys are replaced.
    pub(super) fn into_profile(self, jwks_max_age: Duration) -> Result<(DelegatedProfile, DelegatedSchedule), Problem> {
        let name = KeyName::parse(self.name.get_ref()).ok().filter(|name| name.created_name().is_none());
        let Some(name) = name else {
            let message = format!(
                "{:?} names no signing profile; expected 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`",
                self.name.get_ref()
            );
            return Err(Problem::at(self.name.span(), message));
        };
        if TAKEN.contains(&name.as_str()) {
            let message = format!("{name} is the profile of what mintkeep makes itself; expected another name");
            return Err(Problem::at(self.name.span(), message));
        }
        let max_lifetime = match &self.max_lifetime {
            None => HOUR,
            Some(setting) if setting.get_ref().0 <= LONGEST_LIFETIME => setting.get_ref().0,
            Some(setting) => return Err(Problem::at(setting.span(), "expected at the most \"366d\"")),
        };
        let keys = self.keys.unwrap_or(DelegatedKeys::One);
        if keys == DelegatedKeys::Created
            && let Some(setting) = &self.rotate_every
        {
            let message = "keys that front-ends have made are never replaced; remove this, or keys = \"created\"";
            return Err(Problem::at(setting.span(), message));
        }
        let publish_ahead = ahead(
            self.publish_ahead,
            jwks_max_age.max(HOUR),
            jwks_max_age,
            "tokens.jwks_max_age, for which others keep the keys",
        )?;
        let times = RoleSchedule {
            rotate_every: every(self.rotate_every, publish_ahead)?,
            // Nothing is random in what it counts.
            rotate_after: u64::MAX,
            publish_ahead,
            needed_for: max_lifetime + STILL_NAMED,
        };
        let content = match self.content {
            ContentTable::Jwt => Content::Jwt {
                issuers: texts(self.issuers)?.ok_or_else(|| {
                    let message = "a profile with content = \"jwt\" needs issuers: the `iss` that it may sign";
                    Problem::at(self.name.span(), message)
                })?,
                audiences: texts(self.audiences)?,
                types: types(self.types)?,
                max_lifetime,
            },
            ContentTable::Any => {
                if let Some(setting) = [&self.issuers, &self.audiences, &self.types].into_iter().flatten().next() {
                    let message = "content = \"any\" is not looked at; remove this, or have content = \"jwt\"";
                    return Err(Problem::at(setting.span(), message));
                }
                Content::Any
            }
        };
        let profile = DelegatedProfile { name, content, prehashed_per_second: self.prehashed_per_second, keys };
        Ok((profile.clone(), DelegatedSchedule { keys: profile.its_keys(), times }))
    }
}

/// At least one text, none of them empty.
fn texts(setting: Option<Spanned<Vec<String>>>) -> Result<Option<Vec<String>>, Problem> {
    match setting {
        Some(setting) if setting.get_ref().is_empty() || setting.get_ref().iter().any(String::is_empty) => {
            Err(Problem::at(setting.span(), "expected a list of one or more, none of them empty"))
        }
        setting => Ok(setting.map(Spanned::into_inner)),
    }
}

fn types(setting: Option<Spanned<Vec<String>>>) -> Result<Vec<String>, Problem> {
    match setting {
        None => Ok(vec!["JWT".to_owned()]),
        Some(setting) if setting.get_ref().is_empty() => {
            Err(Problem::at(setting.span(), "expected a list of one or more; \"\" stands for a header without typ"))
        }
        Some(setting) => Ok(setting.into_inner()),
    }
}
