//! What a front-end may have signed: within the signing profiles that it names, each limit narrower than theirs.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use crate::config::problem::{Problem, nearest};
use crate::config::values::{OneOrSeveral, Seconds};
use crate::hardware::DelegatedKeys;
use crate::keeper::policy::{Content, DelegatedProfile};
use crate::oauth::frontend::SigningRights;

/// What is said of signing.
pub(super) struct Signing {
    pub(super) profiles: Vec<Spanned<String>>,
    pub(super) issuers: Option<Spanned<OneOrSeveral<String>>>,
    pub(super) audiences: Option<Spanned<OneOrSeveral<String>>>,
    pub(super) max_lifetime: Option<Spanned<Seconds>>,
    pub(super) prehashed: Option<Spanned<bool>>,
    pub(super) creates_keys: Option<Spanned<bool>>,
}

impl Signing {
    pub(super) fn into_rights(self, known: &[DelegatedProfile]) -> Result<SigningRights, Problem> {
        // What limits nothing would seem to do something.
        if let (true, Some(span)) = (self.profiles.is_empty(), self.limits().chain(self.permissions()).next()) {
            let message = "this is about the signing profiles of the front-end; expected profiles too, or not this";
            return Err(Problem::at(span, message));
        }
        let profiles = self.profiles.iter().map(|name| find(name, known)).collect::<Result<Vec<_>, _>>()?;
        if let (Some(any), Some(span)) = (profiles.iter().find(|one| one.content == Content::Any), self.limits().next())
        {
            let message = format!(
                "the profile {} signs anything, and this limits claims; expected profiles with content = \"jwt\"",
                any.name
            );
            return Err(Problem::at(span, message));
        }
        let has =
            |setting: &Option<Spanned<bool>>| setting.as_ref().filter(|setting| *setting.get_ref()).map(Spanned::span);
        if let Some(span) = has(&self.prehashed)
            && profiles.iter().all(|profile| profile.prehashed_per_second.is_none())
        {
            let message = "no profile of this front-end signs digests; expected one with prehashed_per_second";
            return Err(Problem::at(span, message));
        }
        if let Some(span) = has(&self.creates_keys)
            && profiles.iter().all(|profile| profile.keys == DelegatedKeys::One)
        {
            let message =
                "no profile of this front-end has keys that are created; expected one with keys = \"created\"";
            return Err(Problem::at(span, message));
        }
        let limits: Vec<Limits<'_>> = profiles.iter().filter_map(|profile| Limits::of(profile)).collect();
        let longest = limits.iter().map(|limits| limits.max_lifetime).max().unwrap_or_default();
        Ok(SigningRights {
            issuers: within(self.issuers, limits.iter().map(|limits| Some(limits.issuers)))?,
            audiences: within(self.audiences, limits.iter().map(|limits| limits.audiences))?,
            max_lifetime: self.max_lifetime.map(|limit| at_most(&limit, longest)).transpose()?,
            prehashed: self.prehashed.is_some_and(Spanned::into_inner),
            creates_keys: self.creates_keys.is_some_and(Spanned::into_inner),
            profiles: self.profiles.into_iter().map(Spanned::into_inner).collect(),
        })
    }

    /// Where it says what claims may be.
    fn limits(&self) -> impl Iterator<Item = Range<usize>> {
        let lifetime = self.max_lifetime.as_ref().map(Spanned::span);
        [self.issuers.as_ref().map(Spanned::span), self.audiences.as_ref().map(Spanned::span), lifetime]
            .into_iter()
            .flatten()
    }

    /// Where it says what else may be done.
    fn permissions(&self) -> impl Iterator<Item = Range<usize>> {
        [&self.prehashed, &self.creates_keys].into_iter().flatten().map(Spanned::span)
    }
}

/// What a profile limits.
struct Limits<'a> {
    issuers: &'a [String],
    audiences: Option<&'a [String]>,
    max_lifetime: Duration,
}

impl<'a> Limits<'a> {
    fn of(profile: &'a DelegatedProfile) -> Option<Self> {
        match &profile.content {
            Content::Jwt { issuers, audiences, max_lifetime, .. } => {
                Some(Self { issuers, audiences: audiences.as_deref(), max_lifetime: *max_lifetime })
            }
            Content::Any => None,
        }
    }
}

fn find<'a>(name: &Spanned<String>, known: &'a [DelegatedProfile]) -> Result<&'a DelegatedProfile, Problem> {
    let (span, name) = (name.span(), name.get_ref());
    known.iter().find(|profile| profile.name.as_str() == name).ok_or_else(|| {
        let meant = nearest(name, known.iter().map(|profile| profile.name.as_str()));
        let meant = meant.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        Problem::at(span, format!("no signing profile has the name {name:?}{meant}"))
    })
}

/// At least one value, each of which some profile allows: of those in `allowed`, one that is `None` allows all.
fn within<'a>(
    setting: Option<Spanned<OneOrSeveral<String>>>,
    allowed: impl Iterator<Item = Option<&'a [String]>> + Clone,
) -> Result<Option<Vec<String>>, Problem> {
    let Some(setting) = setting else { return Ok(None) };
    let (span, values) = (setting.span(), setting.into_inner().0);
    if values.is_empty() || values.iter().any(String::is_empty) {
        let message = "expected at least one value; without the setting, all that the profile allows is allowed";
        return Err(Problem::at(span, message));
    }
    let is_allowed = |value: &&String| allowed.clone().any(|allowed| allowed.is_none_or(|all| all.contains(value)));
    if let Some(further) = values.iter().find(|value| !is_allowed(value)) {
        let message = format!("no profile of this front-end allows {further:?}; nothing here extends a profile");
        return Err(Problem::at(span, message));
    }
    Ok(Some(values))
}

/// As long as a profile allows, or shorter.
fn at_most(setting: &Spanned<Seconds>, longest: Duration) -> Result<Duration, Problem> {
    let limit = setting.get_ref().0;
    if limit <= longest {
        return Ok(limit);
    }
    let longest = humantime::format_duration(longest);
    Err(Problem::at(setting.span(), format!("expected at the most \"{longest}\", the max_lifetime of its profiles")))
}
