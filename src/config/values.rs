//! Values that check themselves while they are read, so that the parser says the line.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserializer, Error as _, IntoDeserializer as _, Visitor};
use serde::{Deserialize, de};

use super::problem::nearest;
use crate::http::forwarded::Proxy;
use crate::oauth::scope::Scope;
use crate::oauth::secret::SecretHash;
use crate::secret_source::SecretSource;

/// Longer than anything that is waited for, and short enough to calculate with.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A duration such as `"5m"` or `"30d"`, at least a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("expected a duration such as \"5m\" or \"30d\": {error}")))?;
        if duration < Duration::from_secs(1) || duration.subsec_nanos() != 0 {
            return Err(D::Error::custom("expected a duration of whole seconds, at least one"));
        }
        if duration > LONGEST {
            return Err(D::Error::custom("expected at the most a hundred years"));
        }
        Ok(Self(duration))
    }
}

/// A proxy, or a network of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProxyText(pub(super) Proxy);

impl<'de> Deserialize<'de> for ProxyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Proxy::parse(&text).map(Self).ok_or_else(|| {
            D::Error::custom("expected an address such as \"127.0.0.1\", or a network such as \"10.0.0.0/8\"")
        })
    }
}

/// A scope, at least one value.
#[derive(Clone, Debug)]
pub(super) struct ScopeText(pub(super) Scope);

impl<'de> Deserialize<'de> for ScopeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let scope = Scope::parse(&text).map_err(|_| {
            D::Error::custom("expected scope values separated by one space each, such as \"read write\"")
        })?;
        if scope.as_str().is_empty() {
            return Err(D::Error::custom("expected at least one scope value"));
        }
        Ok(Self(scope))
    }
}

/// The SHA-256 of a client secret. What was written instead is not repeated: it may be the secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecretHashText(pub(super) SecretHash);

impl<'de> Deserialize<'de> for SecretHashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SecretHash::from_hexadecimal(&text).map(Self).ok_or_else(|| {
            D::Error::custom("expected the SHA-256 of a secret as 64 hexadecimal digits; run `mintkeep client secret`")
        })
    }
}

/// One value that is written as a string, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrSeveral<Value>(pub(super) Vec<Value>);

impl<'de, Value: Deserialize<'de>> Deserialize<'de> for OneOrSeveral<Value> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not serde's `untagged`, which would forget what was wrong with the value.
        deserializer.deserialize_any(OneOrSeveralVisitor(PhantomData))
    }
}

struct OneOrSeveralVisitor<Value>(PhantomData<Value>);

impl<'de, Value: Deserialize<'de>> Visitor<'de> for OneOrSeveralVisitor<Value> {
    type Value = OneOrSeveral<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Value::deserialize(text.to_owned().into_deserializer()).map(|value| OneOrSeveral(vec![value]))
    }

    fn visit_seq<S: de::SeqAccess<'de>>(self, sequence: S) -> Result<Self::Value, S::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(sequence)).map(OneOrSeveral)
    }
}

/// `{ file = … }`, `{ env = … }`, `{ systemd-credential = … }`, or `"prompt"`. A PIN or a password written here by mistake
/// is refused without being repeated.
#[derive(Clone, Debug)]
pub(super) struct SecretTable(SecretSource);

impl<'de> Deserialize<'de> for SecretTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

impl SecretTable {
    /// Whether a person is asked, which only the PIN of a token is asked of.
    pub(super) fn asks(&self) -> bool {
        self.0 == SecretSource::Prompt
    }

    /// The source; a file is looked for from `folder`.
    pub(super) fn source(self, folder: &Path) -> SecretSource {
        match self.0 {
            SecretSource::File(path) => SecretSource::File(from_folder(folder, path)),
            other => other,
        }
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "{ file = \"…\" }, { env = \"…\" } or { systemd-credential = \"…\" }; the secret itself is never written here",
        )
    }

    // The names of the types are told, and what was written is not: it may be the secret.

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretTable, E> {
        match text {
            "prompt" => Ok(SecretTable(SecretSource::Prompt)),
            _ => Err(E::invalid_type(de::Unexpected::Other("a string"), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretTable, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretTable, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<SecretTable, M::Error> {
        let kind: String = map.next_key()?.ok_or_else(|| M::Error::invalid_length(0, &self))?;
        let source: fn(String) -> SecretSource = match kind.as_str() {
            "file" => |place| SecretSource::File(PathBuf::from(place)),
            "env" => SecretSource::Environment,
            "systemd-credential" => SecretSource::SystemdCredential,
            // The name that was written is not repeated: it may be the secret.
            other => {
                let meant = nearest(other, ["file", "env", "systemd-credential"]);
                let suggestion = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                let message = "expected file, env or systemd-credential; the secret itself is never written here";
                return Err(M::Error::custom(format!("{message}{suggestion}")));
            }
        };
        let place = map.next_value()?;
        match map.next_key::<String>()? {
            None => Ok(SecretTable(source(place))),
            Some(_) => Err(M::Error::invalid_length(2, &self)),
        }
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub(super) struct VariableName(pub(super) String);

impl TryFrom<String> for VariableName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err("expected the name of an environment variable");
        }
        Ok(Self(name))
    }
}

/// The value of an environment variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VariableValue(pub(super) String);

impl TryFrom<String> for VariableValue {
    type Error = &'static str;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        if value.contains('\0') { Err("expected the value of an environment variable") } else { Ok(Self(value)) }
    }
}

/// `path`, from the folder of the configuration where it is relative.
pub(super) fn from_folder(folder: &Path, path: PathBuf) -> PathBuf {
    folder.join(path)
}

/// `value`, or so many seconds.
pub(super) fn seconds_or(value: Option<Seconds>, default_seconds: u64) -> Duration {
    value.map_or(Duration::from_secs(default_seconds), |value| value.0)
}
