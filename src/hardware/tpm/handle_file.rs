//! The files that name persistent keys: the handle, and the `kid` of the key that is there. Another key may be put at
//! a handle, so a handle alone says nothing.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::folder::{is_kid, refused, write};
use crate::hardware::Error;

/// A handle of a key that the owner has made persistent: 0x81000000 to 0x817fffff. Those behind are the platform's
/// (TPM 2.0 Part 2 §7.5, `PLATFORM_PERSISTENT`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct PersistentHandle(u32);

impl PersistentHandle {
    pub(super) const FIRST: Self = Self(0x8100_0000);
    const LAST: Self = Self(0x817f_ffff);

    /// The handle that is this number, where that is one.
    pub(super) fn new(number: u32) -> Option<Self> {
        (Self::FIRST.0..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// Eight hexadecimal digits behind `0x`.
impl fmt::Display for PersistentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl FromStr for PersistentHandle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let handle = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(Self::new);
        let expected = format!("expected a persistent handle of the owner, {} to {}", Self::FIRST, Self::LAST);
        handle.ok_or_else(|| format!("{text:?} is none that mintkeep uses; {expected}"))
    }
}

/// Handles in a row, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HandleRange {
    first: PersistentHandle,
    last: PersistentHandle,
}

impl HandleRange {
    /// The handles, in order.
    pub(super) fn handles(self) -> impl Iterator<Item = PersistentHandle> {
        (self.first.0..=self.last.0).map(PersistentHandle)
    }

    /// Whether `handle` is one of them.
    pub(super) fn contains(self, handle: PersistentHandle) -> bool {
        (self.first..=self.last).contains(&handle)
    }
}

/// `FIRST-LAST`.
impl fmt::Display for HandleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for HandleRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no range of handles, expected one such as \"0x81100000-0x8110001f\"");
        let (first, last) = text.split_once('-').ok_or_else(expected)?;
        let range = Self { first: first.trim().parse()?, last: last.trim().parse()? };
        if range.first > range.last {
            return Err(format!("the range {range} ends before it begins"));
        }
        Ok(range)
    }
}

/// Where a persistent key is, and which one it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HandleFile {
    pub(super) handle: PersistentHandle,
    /// Without it a key is not used: this is for telling whoever wrote the file which one it would be.
    pub(super) kid: Option<String>,
}

impl HandleFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| refused(path, error))?;
        Self::parse(&text).map_err(|reason| refused(path, reason))
    }

    /// Writes it to `path`, where nothing must be yet, readable by its owner only.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        write(path, self.to_string().as_bytes())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let handle = lines.next().unwrap_or_default().trim().parse().map_err(|flaw| format!("line 1: {flaw}"))?;
        let kid = lines.next().map(str::trim).filter(|line| !line.is_empty());
        if let Some(line) = kid.filter(|line| !is_kid(line)) {
            return Err(format!("line 2: {line:?} is no kid, expected the JWK thumbprint of the key at {handle}"));
        }
        if lines.any(|line| !line.trim().is_empty()) {
            return Err("it has more than two lines, expected a handle and the kid of the key there".to_owned());
        }
        Ok(Self { handle, kid: kid.map(str::to_owned) })
    }
}

/// What is in the file.
impl fmt::Display for HandleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.handle, self.kid.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jose::base64url;

    fn kid() -> String {
        base64url::encode([7; 32])
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let file = HandleFile { handle: PersistentHandle(0x8110_0001), kid: Some(kid()) };
        assert_eq!(file.to_string(), format!("0x81100001\n{}\n", kid()));
        assert_eq!(HandleFile::parse(&file.to_string()), Ok(file.clone()));
        // As a person may write it.
        assert_eq!(HandleFile::parse(&format!(" 0x81100001 \r\n{}", kid())), Ok(file.clone()));
        for text in ["0x81100001", "0x81100001\n", "0x81100001\n\n"] {
            assert_eq!(HandleFile::parse(text), Ok(HandleFile { kid: None, ..file.clone() }), "{text:?}");
        }
    }

    #[test]
    fn what_names_no_handle_of_the_owner_or_no_kid_is_refused() {
        let kid = kid();
        for (text, flaw) in [
            (String::new(), "line 1: \"\" is none"),
            (kid.clone(), "line 1"),
            ("81100001".to_owned(), "line 1"),
            ("0x+1100001".to_owned(), "line 1"),
            // A transient one, the first of the platform, one of nine digits.
            ("0x80000001".to_owned(), "line 1"),
            ("0x81800000".to_owned(), "expected a persistent handle of the owner, 0x81000000 to 0x817fffff"),
            ("0x811000010".to_owned(), "line 1"),
            ("0x81100001\nabc".to_owned(), "line 2: \"abc\" is no kid"),
            (format!("0x81100001 {kid}"), "line 1"),
            (format!("0x81100001\n{kid}\n{kid}"), "more than two lines"),
        ] {
            let said = HandleFile::parse(&text).unwrap_err();
            assert!(said.contains(flaw), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_range_has_both_of_its_ends() {
        let range: HandleRange = "0x81100000-0x81100002".parse().unwrap();
        let handles: Vec<u32> = range.handles().map(PersistentHandle::number).collect();
        assert_eq!(handles, [0x8110_0000, 0x8110_0001, 0x8110_0002]);
        assert!(handles.iter().all(|&number| range.contains(PersistentHandle(number))));
        assert!(!range.contains(PersistentHandle(0x8110_0003)) && !range.contains(PersistentHandle(0x810f_ffff)));
        assert_eq!("0x81000000-0x817fffff".parse::<HandleRange>().unwrap().handles().count(), 0x80_0000);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_a_panic(text in "(0x81[0-9a-f]{6})?[\\PC\n]{0,60}") {
            let _ = HandleFile::parse(&text);
            let _ = text.parse::<HandleRange>();
        }
    }
}
