//! What goes wrong, and when. A line of the script is
//!
//! ```text
//! FUNCTION WHEN EFFECT
//! ```
//!
//! FUNCTION is a name such as `C_Sign`, several with commas between them, or `any`. WHEN counts the calls that a
//! process makes to these functions: `3`, once, the third, in whichever process comes to it first; `3+`, from the
//! third on in each process; `3+500ms`, the same for half a second after it happened first. EFFECT is one of [`Effect`].

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cryptoki_sys::{CK_FLAGS, CK_RV, CK_ULONG};

use super::latency::Places;

/// What becomes of a call.
#[derive(Clone)]
pub enum Effect {
    /// `return CODE`: it fails by this code.
    Return(CK_RV),
    /// `delay TIME`: it is made after that time.
    Delay(Duration),
    /// `latency TIME PLACES`: it takes this long at the least, and so many are made at a time.
    Latency(Duration, Arc<Places>),
    /// `hang`: it never returns.
    Hang,
    /// `abort`: the process ends by SIGABRT.
    Abort,
    /// `segfault`: it writes where nothing is.
    Segfault,
    /// `lose-sessions`: every session is gone that was opened until now.
    LoseSessions,
    /// `log-out`: the login is gone.
    LogOut,
    /// `remove-token TIME`: the token is gone, for that time; without one, until the file `removed` is.
    RemoveToken(Duration),
    /// `flip-bit`: one bit of the output is the other one.
    FlipBit,
    /// `length BYTES`: the output is said to have this many bytes.
    Length(CK_ULONG),
    /// `other-key LABEL`: the handle means another private key.
    OtherKey(String),
    /// `raw-point`: `CKA_EC_POINT` is the bare point and not a DER octet string around it.
    RawPoint,
    /// `overwrite-nonce`: the device uses a nonce of its own, and writes it back.
    OverwriteNonce,
    /// `overwrite-zeros`: the same, and it insists on being given zeroes in its place.
    OverwriteZeros,
    /// `append-nonce`, of `C_EncryptInit,C_Encrypt`: the device uses a nonce of its own, and appends it to the output.
    AppendNonce,
    /// `take-nonce`, of `C_EncryptMessage`: the device takes the nonce that it is given where it should generate one.
    TakeNonce,
    /// `hide-gcm`: the device has no `CKM_AES_GCM`.
    HideGcm,
    /// `flags BITS`: further flags of the token.
    Flags(CK_FLAGS),
}

struct Rule {
    functions: Vec<String>,
    first: u64,
    is_once: bool,
    limit: Option<Duration>,
    effect: Effect,
    calls: u64,
    /// There since the rule first took effect, in whichever process.
    marker: PathBuf,
}

/// The folder with script and log, and how far the script is.
pub struct Script {
    folder: PathBuf,
    calls: File,
    /// Inode, size and time of change of the script that was read.
    version: Option<(u64, u64, i64, i64)>,
    rules: Vec<Rule>,
}

impl Script {
    pub fn of_environment() -> Self {
        let folder = std::env::var_os("FAULTY_MODULE_FOLDER").expect("FAULTY_MODULE_FOLDER names the folder");
        let folder = PathBuf::from(folder);
        let calls = OpenOptions::new().create(true).append(true).open(folder.join("calls"));
        Self { calls: calls.expect("a folder that can be written"), folder, version: None, rules: Vec::new() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Counts a call of `function` and says what becomes of it.
    pub fn begin(&mut self, function: &str) -> Vec<Effect> {
        self.read_anew();
        self.note(function);
        self.rules.iter_mut().filter_map(|rule| rule.take_effect(function)).collect()
    }

    /// Adds a line to the log, in one write: several processes may share it.
    pub fn note(&mut self, line: &str) {
        self.calls.write_all(format!("{line}\n").as_bytes()).expect("a disk with room");
    }

    fn read_anew(&mut self) {
        let path = self.folder.join("script");
        let version = fs::metadata(&path).ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
        if version == self.version {
            return;
        }
        self.version = version;
        let text = fs::read_to_string(&path).unwrap_or_default();
        let rules = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        self.rules =
            rules.map(|(number, line)| Rule::parse(line, self.folder.join(format!("fired-{number}")))).collect();
    }
}

impl Rule {
    fn parse(line: &str, marker: PathBuf) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [functions, when, effect @ ..] = words.as_slice() else { panic!("half a line: {line}") };
        let (first, limit) = when.split_once('+').unwrap_or((when, ""));
        Self {
            functions: functions.split(',').map(str::to_owned).collect(),
            first: first.parse().unwrap_or_else(|_| panic!("a number of calls: {line}")),
            is_once: !when.contains('+'),
            limit: (!limit.is_empty()).then(|| time(limit)),
            effect: parse_effect(effect).unwrap_or_else(|| panic!("no such effect: {line}")),
            calls: 0,
            marker,
        }
    }

    fn take_effect(&mut self, function: &str) -> Option<Effect> {
        if !self.functions.iter().any(|name| name == function || name == "any") {
            return None;
        }
        self.calls += 1;
        let is_due = if self.is_once { self.calls == self.first } else { self.calls >= self.first };
        if !is_due {
            return None;
        }
        let is_first = OpenOptions::new().write(true).create_new(true).open(&self.marker).is_ok();
        let is_over = match self.limit {
            Some(limit) => age(&self.marker).is_some_and(|age| age > limit),
            None => self.is_once && !is_first,
        };
        (!is_over).then(|| self.effect.clone())
    }
}

/// How long ago a file was made.
pub fn age(path: &Path) -> Option<Duration> {
    let made = fs::metadata(path).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(made).unwrap_or_default())
}

pub fn parse_effect(words: &[&str]) -> Option<Effect> {
    Some(match words {
        ["return", code] => Effect::Return(number(code)),
        ["delay", by] => Effect::Delay(time(by)),
        ["latency", least, places] => Effect::Latency(time(least), Arc::new(Places::new(places.parse().ok()?))),
        ["hang"] => Effect::Hang,
        ["abort"] => Effect::Abort,
        ["segfault"] => Effect::Segfault,
        ["lose-sessions"] => Effect::LoseSessions,
        ["log-out"] => Effect::LogOut,
        ["remove-token"] => Effect::RemoveToken(Duration::MAX),
        ["remove-token", limit] => Effect::RemoveToken(time(limit)),
        ["flip-bit"] => Effect::FlipBit,
        ["length", bytes] => Effect::Length(number(bytes)),
        ["other-key", label] => Effect::OtherKey((*label).to_owned()),
        ["raw-point"] => Effect::RawPoint,
        ["overwrite-nonce"] => Effect::OverwriteNonce,
        ["overwrite-zeros"] => Effect::OverwriteZeros,
        ["append-nonce"] => Effect::AppendNonce,
        ["take-nonce"] => Effect::TakeNonce,
        ["hide-gcm"] => Effect::HideGcm,
        ["flags", bits] => Effect::Flags(number(bits)),
        _ => return None,
    })
}

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> CK_ULONG {
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| CK_ULONG::from_str_radix(digits, 16));
    parsed.unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Such as `70ms` or `333us`.
fn time(text: &str) -> Duration {
    let count = |unit: &str| text.strip_suffix(unit).and_then(|digits| digits.parse().ok());
    let milliseconds = count("ms").map(Duration::from_millis);
    milliseconds.or_else(|| count("us").map(Duration::from_micros)).unwrap_or_else(|| panic!("not a time: {text}"))
}
