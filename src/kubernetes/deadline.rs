//! How long a caller waits: `grpc-timeout`, as the protocol of gRPC over HTTP/2 has it.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// A `grpc-timeout` that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// How long the caller waits for its answer, where it says.
pub(super) fn of(metadata: &MetadataMap) -> Result<Option<Duration>, Malformed> {
    let mut timeouts = metadata.get_all("grpc-timeout").iter();
    let Some(timeout) = timeouts.next() else { return Ok(None) };
    // Of two, which one it meant nobody knows.
    if timeouts.next().is_some() {
        return Err(Malformed);
    }
    parse(timeout.as_encoded_bytes()).map(Some).ok_or(Malformed)
}

/// One to eight digits and a unit.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 60 * 60)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("60S", Duration::from_secs(60)),
            ("59999m", Duration::from_millis(59_999)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "999999999S", "1SS"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        let mut metadata = MetadataMap::new();
        assert_eq!(of(&metadata), Ok(None));
        metadata.append("grpc-timeout", "1S".parse().unwrap());
        assert_eq!(of(&metadata), Ok(Some(Duration::from_secs(1))));
        metadata.append("grpc-timeout", "2S".parse().unwrap());
        assert_eq!(of(&metadata), Err(Malformed));
    }
}
