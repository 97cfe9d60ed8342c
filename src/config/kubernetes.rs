//! `[kubernetes]`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::problem::{Problem, nearest};
use super::values::{Seconds, from_folder};
use crate::hardware::Role;
use crate::keeper::policy::{Content, DelegatedKeys, DelegatedProfile};
use crate::keyring::Schedule;
use crate::kubernetes::{Address, KubernetesSettings, LEAST_LIFETIME, TOKEN_TYPE};

const DEFAULT_REFRESH_HINT: Duration = Duration::from_secs(60);

/// What `sockaddr_un` has room for, but for the zero at one end of a name, and for `.new` behind a path.
const NAME_BYTES: usize = 107;
const PATH_BYTES: usize = 103;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KubernetesTable {
    socket: Spanned<String>,
    profile: Spanned<String>,
    refresh_hint: Option<Spanned<Seconds>>,
}

impl KubernetesTable {
    pub(super) fn into_settings(
        self,
        profiles: &[DelegatedProfile],
        schedule: &Schedule,
        folder: &Path,
    ) -> Result<KubernetesSettings, Problem> {
        let address = address(&self.socket, folder)?;
        let profile = profile(&self.profile, profiles)?;
        let wrong = |message: String| Problem::at(self.profile.span(), message);
        let name = &self.profile.get_ref();
        let Content::Jwt { types, max_lifetime, .. } = &profile.content else {
            return Err(wrong(format!(
                "the signing profile {name:?} signs anything; expected one of content = \"jwt\""
            )));
        };
        if profile.keys != DelegatedKeys::One {
            return Err(wrong(format!("the signing profile {name:?} has no key of its own; expected keys = \"one\"")));
        }
        if !types.iter().any(|typ| typ == TOKEN_TYPE) {
            return Err(wrong(format!("the signing profile {name:?} has to have {TOKEN_TYPE:?} among its types")));
        }
        if *max_lifetime < LEAST_LIFETIME {
            let least = humantime::format_duration(LEAST_LIFETIME);
            let message = format!(
                "the signing profile {name:?} has to have max_lifetime = \"{least}\" at least: a kube-apiserver takes nothing shorter"
            );
            return Err(wrong(message));
        }
        let refresh_hint = self.refresh_hint.as_ref().map_or(DEFAULT_REFRESH_HINT, |hint| hint.get_ref().0);
        let times = schedule.of(Role::Delegated(profile.name)).expect("each profile has times");
        let publish_ahead = times.publish_ahead;
        if refresh_hint > publish_ahead {
            let span = self.refresh_hint.map_or(self.profile.span(), |hint| hint.span());
            let (hint, ahead) = (humantime::format_duration(refresh_hint), humantime::format_duration(publish_ahead));
            let message = format!(
                "refresh_hint is \"{hint}\", and publish_ahead of the signing profile {name:?} is \"{ahead}\"; expected it to be no shorter: a new key signs when everybody has fetched it"
            );
            return Err(Problem::at(span, message));
        }
        Ok(KubernetesSettings { address, profile: profile.name, max_lifetime: *max_lifetime, refresh_hint })
    }
}

fn address(socket: &Spanned<String>, folder: &Path) -> Result<Address, Problem> {
    let expected = |message: String| Problem::at(socket.span(), message);
    let text = socket.get_ref();
    if text.contains('\0') || text.is_empty() || text == "@" {
        return Err(expected("expected a path, or a name in the abstract namespace such as \"@mintkeep\"".to_owned()));
    }
    match text.strip_prefix('@') {
        Some(name) if name.len() > NAME_BYTES => {
            Err(expected(format!("expected a name of {NAME_BYTES} bytes at the most")))
        }
        Some(name) => Ok(Address::Abstract(name.to_owned())),
        None => {
            let path = from_folder(folder, text.into());
            if path.as_os_str().len() > PATH_BYTES {
                return Err(expected(format!("expected a path of {PATH_BYTES} bytes at the most: {}", path.display())));
            }
            Ok(Address::Path(path))
        }
    }
}

fn profile<'a>(name: &Spanned<String>, profiles: &'a [DelegatedProfile]) -> Result<&'a DelegatedProfile, Problem> {
    let text = name.get_ref();
    let known = |profile: &&DelegatedProfile| profile.name.as_str() == text;
    profiles.iter().find(known).ok_or_else(|| {
        let names = profiles.iter().map(|profile| profile.name.as_str());
        let meant = nearest(text, names).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        Problem::at(name.span(), format!("there is no [[signing_profile]] of that name{meant}"))
    })
}
