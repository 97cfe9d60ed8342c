//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The least similarity at which a name is suggested for a misspelt one.
const SIMILAR: f64 = 0.75;

/// Why a configuration cannot be used: `FILE:LINE:COLUMN: what was expected`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    path: PathBuf,
    line_and_column: Option<(usize, usize)>,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.line_and_column {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &dyn fmt::Display) -> Self {
        let message = format!("cannot read the configuration: {error}");
        Self { path: path.to_owned(), line_and_column: None, message }
    }
}

/// Something wrong at a place in the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    /// Where it is in another file than the one that is being read.
    elsewhere: Option<ConfigError>,
}

impl Problem {
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), elsewhere: None }
    }

    pub(super) fn anywhere(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), elsewhere: None }
    }

    /// The same, of a file that the configuration includes.
    pub(super) fn in_file(self, path: &Path, text: &str) -> Self {
        self.locate(path, text).into()
    }

    pub(super) fn locate(self, path: &Path, text: &str) -> ConfigError {
        if let Some(error) = self.elsewhere {
            return error;
        }
        let line_and_column = self.span.map(|span| {
            let before = &text[..span.start.min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
        });
        ConfigError { path: path.to_owned(), line_and_column, message: self.message }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        // Only the message: the error's own rendering repeats the line, which may hold what should not
        // be in a log.
        let message = without_value(&error.message().trim().replace('\n', "; "));
        let suggestion = suggestion(&message).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Self { span: error.span(), message: format!("{message}{suggestion}"), elsewhere: None }
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self { span: None, message: error.message.clone(), elsewhere: Some(error) }
    }
}

/// Serde's "invalid type: integer `93175`, expected a string" without what was found: that may be a PIN or
/// a secret in the wrong place.
fn without_value(message: &str) -> String {
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match found.and_then(|found| found.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let kind = found.split([' ', '`', '"']).next().unwrap_or_default();
            format!("expected {expected}, found: {kind}")
        }
        None => message.to_owned(),
    }
}

/// The expected name that is most like the one found, from serde's "unknown field `x`, expected …".
fn suggestion(message: &str) -> Option<&str> {
    let (unknown, expected) = message.split_once(", expected")?;
    let unknown = unknown.strip_prefix("unknown field `").or_else(|| unknown.strip_prefix("unknown variant `"))?;
    let unknown = unknown.trim_end_matches('`');
    // Every other piece between backquotes is a name.
    nearest(unknown, expected.split('`').skip(1).step_by(2))
}

/// The name that is most like `unknown`, where one is alike.
pub(super) fn nearest<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(unknown, name), name));
    let (score, name) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (score >= SIMILAR).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant_and_nothing_far_fetched() {
        let message = "unknown field `isuer`, expected one of `issuer`, `listen`, `store`";
        assert_eq!(suggestion(message), Some("issuer"));
        assert_eq!(suggestion("unknown field `zebra`, expected `issuer`"), None);
        assert_eq!(suggestion("invalid type: integer"), None);
    }

    #[test]
    fn what_was_found_is_not_repeated() {
        assert_eq!(
            without_value("invalid type: integer `93175`, expected a string"),
            "expected a string, found: integer"
        );
        let quoted = "invalid type: string \"secret, expected x\", expected a table";
        assert_eq!(without_value(quoted), "expected a table, found: string");
    }
}
