//! What a claim has to be, as it is written under `match`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Error as _, Visitor};

use crate::oauth::trust::claim::{ClaimName, ClaimValue, Expected};
use crate::oauth::trust::pattern::Pattern;

/// Reads the name of a claim.
pub(super) fn claim_name(text: &str) -> Result<ClaimName, &'static str> {
    match text.strip_prefix('/').unwrap_or(text) {
        "iss" => Err("the policy says the issuer as `issuer`; remove it here"),
        "aud" => Err("the policy says the audience as `audience`; remove it here"),
        _ => ClaimName::parse(text),
    }
}

/// A string, an integer or a boolean, a list of them, or `{ pattern = "…" }`.
#[derive(Clone, Debug)]
pub(super) struct ExpectedValue(pub(super) Expected);

impl<'de> Deserialize<'de> for ExpectedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpectedVisitor).map(Self)
    }
}

struct ExpectedVisitor;

impl<'de> Visitor<'de> for ExpectedVisitor {
    type Value = Expected;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer, true or false, a list of those, or { pattern = \"…\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
        ExactVisitor.visit_str(text).map(one)
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Expected, E> {
        ExactVisitor.visit_i64(integer).map(one)
    }

    fn visit_bool<E: de::Error>(self, boolean: bool) -> Result<Expected, E> {
        ExactVisitor.visit_bool(boolean).map(one)
    }

    fn visit_seq<S: de::SeqAccess<'de>>(self, mut sequence: S) -> Result<Expected, S::Error> {
        let mut values = Vec::new();
        while let Some(Exact(value)) = sequence.next_element()? {
            // Each is in the index once.
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.is_empty() {
            return Err(S::Error::custom("expected at least one value: no claim is one of none"));
        }
        Ok(Expected::AnyOf(values))
    }

    fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Expected, M::Error> {
        let other = || {
            M::Error::custom(
                "expected { pattern = \"…\" }; a claim inside another is named by a JSON Pointer, such as \"/outer/inner\"",
            )
        };
        if map.next_key::<String>()?.as_deref() != Some("pattern") {
            return Err(other());
        }
        let pattern = Pattern::parse(&map.next_value::<String>()?).map_err(M::Error::custom)?;
        if map.next_key::<String>()?.is_some() {
            return Err(other());
        }
        Ok(Expected::Pattern(pattern))
    }
}

fn one(value: ClaimValue) -> Expected {
    Expected::AnyOf(vec![value])
}

/// A value that is compared exactly.
struct Exact(ClaimValue);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExactVisitor).map(Self)
    }
}

struct ExactVisitor;

impl Visitor<'_> for ExactVisitor {
    type Value = ClaimValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer, true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Text(text.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Integer(integer))
    }

    fn visit_bool<E: de::Error>(self, boolean: bool) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Boolean(boolean))
    }
}
