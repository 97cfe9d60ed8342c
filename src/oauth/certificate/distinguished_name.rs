//! A distinguished name as a string (RFC 4514): one name has one spelling, so that strings can be compared.

use x509_parser::asn1_rs::ToDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::Malformed;

/// The attribute types that have names (RFC 4514 §3).
const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The string of `name`.
pub(super) fn rfc4514(name: &X509Name<'_>) -> Result<String, Malformed> {
    let rdns: Vec<_> = name.iter_rdn().collect();
    // The most significant comes last (§2.1).
    let written = rdns.into_iter().rev().map(|rdn| {
        let attributes = rdn.iter().map(attribute).collect::<Result<Vec<_>, _>>()?;
        Ok(attributes.join("+"))
    });
    Ok(written.collect::<Result<Vec<_>, _>>()?.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Result<String, Malformed> {
    let number = dotted(attribute.attr_type().as_bytes())?;
    let name = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    match (name, attribute.as_str()) {
        (Some(name), Ok(value)) => Ok(format!("{name}={}", escaped(value))),
        // The string form is for values that have one, the DER for all others (§2.4).
        (name, _) => Ok(format!("{}={}", name.unwrap_or(&number), hexadecimal(attribute)?)),
    }
}

/// The numbers of an object identifier, of which each has one encoding (X.690 §8.19). By hand: x509-parser's own string is
/// empty for an empty one, the same for several, and another than everybody's below 2.40.
fn dotted(encoded: &[u8]) -> Result<String, Malformed> {
    let mut numbers: Vec<u64> = Vec::new();
    for bytes in encoded.split_inclusive(|byte| byte & 0x80 == 0) {
        // Neither padded in front, nor cut off, nor larger than any that is in use.
        let is_whole = bytes.first() != Some(&0x80) && bytes.last().is_some_and(|last| last & 0x80 == 0);
        if !is_whole || bytes.len() > 9 {
            return Err(Malformed);
        }
        numbers.push(bytes.iter().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)));
    }
    // The first two are encoded as one (§8.19.4).
    let both = *numbers.first().ok_or(Malformed)?;
    let first = (both / 40).min(2);
    let rest = numbers[1..].iter().map(|number| format!(".{number}"));
    Ok(format!("{first}.{}", both - first * 40) + &rest.collect::<String>())
}

/// `value` with what means something in a name behind a backslash (§2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len() - value.chars().next_back().map_or(0, char::len_utf8);
    for (at, character) in value.char_indices() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            // No line of a log is broken by a name.
            character if character.is_control() => {
                let bytes = character.to_string().into_bytes();
                text.extend(bytes.iter().map(|byte| format!("\\{byte:02X}")));
            }
            _ => text.push(character),
        }
    }
    text
}

/// `#` and the DER of the value.
fn hexadecimal(attribute: &AttributeTypeAndValue<'_>) -> Result<String, Malformed> {
    let der = attribute.attr_value().to_der_vec().map_err(|_| Malformed)?;
    Ok(der.iter().fold(String::from("#"), |text, byte| format!("{text}{byte:02x}")))
}
