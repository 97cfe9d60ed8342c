//! Patterns over the text of a claim.

use std::fmt;
use std::str::Chars;

/// A pattern over the whole text of a claim: `*` stands for any run of characters other than `/`, also for none, and
/// `?` for one such character. Every other character stands for itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What was expected, for the operator: where `**` hopes to match across a `/`, and where the pattern has no text of
    /// its own.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("**") {
            return Err(
                "a `*` never matches a `/`, and neither do two; write one for each level, as in \"refs/heads/*/*\"",
            );
        }
        if text.chars().all(|character| matches!(character, '*' | '?' | '/')) {
            return Err("expected a pattern with some text of its own: this one says nothing of whom it trusts");
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether all of `text` is what the pattern describes.
    pub fn matches(&self, text: &str) -> bool {
        // Nothing but a `/` matches one, so that each level is matched by itself.
        let (mut levels, mut found) = (self.0.split('/'), text.split('/'));
        loop {
            match (levels.next(), found.next()) {
                (None, None) => return true,
                (Some(level), Some(text)) if level_matches(level, text) => {}
                _ => return false,
            }
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Each `*` takes as little as it can. Where the rest does not match, only the last one has to be tried with more: what
/// an earlier one would take more, the last one can take as well. So the time is that of length times length.
fn level_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut last_star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut pattern_rest, mut text_rest) = (pattern.clone(), text.clone());
        match (pattern_rest.next(), text_rest.next()) {
            (Some('*'), _) => {
                last_star = Some((pattern_rest.clone(), text.clone()));
                pattern = pattern_rest;
            }
            (None, None) => return true,
            (Some(expected), Some(found)) if expected == '?' || expected == found => {
                (pattern, text) = (pattern_rest, text_rest);
            }
            _ => {
                let Some((after_star, taken_up_to)) = &mut last_star else { return false };
                if taken_up_to.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star.clone(), taken_up_to.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_anchored_and_stays_within_a_level() {
        let cases = [
            ("refs/heads/release/*", "refs/heads/release/1.2", true),
            ("refs/heads/release/*", "refs/heads/release/", true),
            ("refs/heads/release/*", "refs/heads/release", false),
            ("refs/heads/release/*", "refs/heads/release/1/2", false),
            ("refs/heads/release/*", "x/refs/heads/release/1", false),
            ("refs/*/main", "refs/heads/main", true),
            ("refs/*/main", "refs/heads/main2", false),
            ("v?.?", "v1.2", true),
            ("v?.?", "v1.23", false),
            ("v?", "v/", false),
            ("v?", "v\u{fc}", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-c-", false),
            ("a*b*c", "ac", false),
            // No metacharacters but the two.
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("refs/.*", "refs/heads", false),
            ("^a$", "a", false),
            ("{a,b}", "a", false),
            ("a\\*", "a\\b", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_says_nothing_or_hopes_for_more_is_refused() {
        for text in ["", "*", "?", "*/*", "**", "refs/**", "a**b", "***"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = Pattern::parse(&"*a".repeat(1000)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(10_000))));
    }

    /// The definition, read aloud.
    fn is_described_by(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', pattern_rest @ ..], _) => {
                is_described_by(pattern_rest, text)
                    || matches!(text, [first, text_rest @ ..] if *first != '/' && is_described_by(pattern, text_rest))
            }
            (['?', pattern_rest @ ..], [first, text_rest @ ..]) if *first != '/' => {
                is_described_by(pattern_rest, text_rest)
            }
            ([expected, pattern_rest @ ..], [first, text_rest @ ..]) if expected == first && *expected != '?' => {
                is_described_by(pattern_rest, text_rest)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,8}") {
            if let Ok(read) = Pattern::parse(&pattern) {
                let characters = |text: &str| text.chars().collect::<Vec<_>>();
                prop_assert_eq!(read.matches(&text), is_described_by(&characters(&pattern), &characters(&text)));
            }
        }
    }
}
