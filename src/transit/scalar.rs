//! Flags and numbers as clients of Vault write them: SPIRE says `"true"`, sigstore `"1"`, others `true` and 1.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A flag; `false` where it is `null` or empty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Flag(pub(super) bool);

/// A number that is not negative; 0 where it is `null` or empty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Count(pub(super) u32);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_unit<E>(self) -> Result<Flag, E> {
                Ok(Flag(false))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                match value {
                    0 => Ok(Flag(false)),
                    1 => Ok(Flag(true)),
                    other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
                }
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Flag, E> {
                match value {
                    "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Flag(false)),
                    "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Flag(true)),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number that is not negative")
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
                u32::try_from(value).map(Count).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Count, E> {
                // `u32::from_str` takes a plus sign too.
                let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit());
                match value.parse() {
                    _ if value.is_empty() => Ok(Count(0)),
                    Ok(count) if is_decimal => Ok(Count(count)),
                    _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn flags_are_read_as_vault_reads_them() {
        for yes in [json!(true), json!("true"), json!("1"), json!(1), json!("T")] {
            assert_eq!(from_value::<Flag>(yes.clone()).ok(), Some(Flag(true)), "{yes}");
        }
        for no in [json!(false), json!("false"), json!(""), json!(0), json!(null)] {
            assert_eq!(from_value::<Flag>(no.clone()).ok(), Some(Flag(false)), "{no}");
        }
        for other in [json!("yes"), json!(2), json!(-1), json!([]), json!({}), json!(1.0), json!("tRue")] {
            assert!(from_value::<Flag>(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn numbers_are_read_as_vault_reads_them() {
        for (text, count) in [(json!(7), 7), (json!("7"), 7), (json!(""), 0), (json!(null), 0), (json!("0"), 0)] {
            assert_eq!(from_value::<Count>(text.clone()).ok(), Some(Count(count)), "{text}");
        }
        for other in
            [json!(-1), json!("-1"), json!("+1"), json!("latest"), json!(4_294_967_296_u64), json!(1.5), json!([1])]
        {
            assert!(from_value::<Count>(other.clone()).is_err(), "{other}");
        }
    }
}
