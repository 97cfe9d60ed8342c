//! Reading an input without mintkeep, to compare.

use serde_json::{Map, Value};

/// The first line, and all that follows it.
pub fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

/// The JSON object that was taken: it is one for other readers too, and names nothing twice.
pub fn object(json: &[u8]) -> Map<String, Value> {
    let Ok(Value::Object(object)) = serde_json::from_slice(json) else {
        panic!("what was taken is no JSON object: {}", json.escape_ascii())
    };
    assert_eq!(written_members(json), members(&object), "a member is there twice: {}", json.escape_ascii());
    object
}

/// How many members are written in `json`, which is JSON: each has a colon, and there are others in strings only.
fn written_members(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b':' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

fn members(object: &Map<String, Value>) -> usize {
    fn inside(value: &Value) -> usize {
        match value {
            Value::Object(object) => members(object),
            Value::Array(values) => values.iter().map(inside).sum(),
            _ => 0,
        }
    }
    object.len() + object.values().map(inside).sum::<usize>()
}

/// The text of a member, where it is one.
pub fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// The whole seconds of a `NumericDate`, where the member is there.
pub fn seconds(object: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = object.get(name)?;
    #[expect(clippy::cast_possible_truncation, reason = "truncated is what is meant")]
    let whole = || value.as_f64().map(|seconds| seconds as i64);
    Some(value.as_i64().or_else(whole).unwrap_or_else(|| panic!("{name} is no number: {value}")))
}

/// Whether `typ` is there and names `application/{media_type}` (RFC 7515 §4.1.9).
pub fn is_typed(header: &Map<String, Value>, media_type: &str) -> bool {
    let typ = text(header, "typ").unwrap_or_default().to_ascii_lowercase();
    typ == media_type || typ == format!("application/{media_type}")
}

/// The values of `aud`.
pub fn audience(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(value) => value.as_str().into_iter().collect(),
    }
}
