//! JSON of which no two readers can think differently: each member once, at every level, and nothing after it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::jose::Malformed;

/// How much JSON is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Objects and arrays within each other, the outermost one counted.
    pub(crate) depth: usize,
    /// Members of all objects together.
    pub(crate) members: usize,
}

/// The object that `json` is.
pub(crate) fn object(json: &[u8], bounds: Bounds) -> Result<Map<String, Value>, Malformed> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let members_left = Cell::new(bounds.members);
    let value = Strict { depth_left: bounds.depth, members_left: &members_left }.deserialize(&mut reader);
    match (value, reader.end()) {
        (Ok(Value::Object(object)), Ok(())) => Ok(object),
        _ => Err(Malformed::Json),
    }
}

/// Reads one value. serde_json's own reader lets the last one of several members of a name win.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    members_left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn deeper<Error: serde::de::Error>(self) -> Result<Self, Error> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| Error::custom("too deep"))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let left = self.members_left.get().checked_sub(1).ok_or_else(|| A::Error::custom("too many members"))?;
            self.members_left.set(left);
            // Names are compared as they are after their escapes were read: `"\u0061lg"` is `"alg"`.
            if object.contains_key(&name) {
                return Err(A::Error::custom("a member is there twice"));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
