//! What a policy wants of one claim.

use std::fmt;

use serde_json::{Map, Value};

use super::pattern::Pattern;

/// Which claim, and what it has to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimMatch {
    /// Which claim.
    pub claim: ClaimName,
    /// What it has to be.
    pub expected: Expected,
}

/// What a claim has to be. A list or an object is never it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// One of these, of the same JSON type.
    AnyOf(Vec<ClaimValue>),
    /// A string that the pattern describes.
    Pattern(Pattern),
}

/// A value that is compared exactly: the string `"1"` is not the number 1.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ClaimValue {
    /// A string.
    Text(String),
    /// A number without a fraction.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
}

/// The name of a claim, or the way to one inside others.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClaimName {
    written: String,
    steps: Vec<String>,
}

impl ClaimName {
    /// Reads the name of a claim or, where it begins with `/`, a JSON Pointer (RFC 6901 §3). The pointer leads through
    /// objects only: the order of a list says nothing.
    ///
    /// # Errors
    /// What was expected, for the operator.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let steps = match text.strip_prefix('/') {
            None if text.is_empty() => return Err("expected the name of a claim"),
            None => vec![text.to_owned()],
            Some(pointer) => pointer.split('/').map(unescaped).collect::<Option<_>>().ok_or(
                "expected a JSON Pointer (RFC 6901), in which `~` is written `~0`, and a `/` that is part of a name `~1`",
            )?,
        };
        Ok(Self { written: text.to_owned(), steps })
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The claim of that name in `claims`.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (last, before) = self.steps.split_last()?;
        let innermost = before.iter().try_fold(claims, |object, step| object.get(step)?.as_object())?;
        innermost.get(last)
    }

    /// Gives the claim of that name a value, and makes the objects on the way to it.
    pub fn put(&self, claims: &mut Map<String, Value>, value: Value) {
        let Some((last, before)) = self.steps.split_last() else { return };
        let mut object = claims;
        for step in before {
            let inner = object.entry(step).or_insert(Value::Null);
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            // It is one now.
            let Value::Object(inner) = inner else { return };
            object = inner;
        }
        object.insert(last.clone(), value);
    }
}

/// A step of a JSON Pointer (RFC 6901 §4); `~` stands before 0 and 1 only.
fn unescaped(step: &str) -> Option<String> {
    let mut pieces = step.split('~');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', &piece[1..]),
            b'1' => ('/', &piece[1..]),
            _ => return None,
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Some(text)
}

impl ClaimValue {
    /// The value of a claim; `None` where it is of a type that is never compared.
    pub fn of(claim: &Value) -> Option<Self> {
        match claim {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => number.as_i64().map(Self::Integer),
            Value::Bool(boolean) => Some(Self::Boolean(*boolean)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn is(&self, claim: &Value) -> bool {
        match (self, claim) {
            (Self::Text(expected), Value::String(found)) => expected == found,
            (Self::Integer(expected), Value::Number(found)) => found.as_i64() == Some(*expected),
            (Self::Boolean(expected), Value::Bool(found)) => expected == found,
            _ => false,
        }
    }
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => integer.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

impl Expected {
    /// Whether `claim` is it.
    pub fn is_met_by(&self, claim: &Value) -> bool {
        match (self, claim) {
            (Self::AnyOf(values), _) => values.iter().any(|value| value.is(claim)),
            (Self::Pattern(pattern), Value::String(text)) => pattern.matches(text),
            (Self::Pattern(_), _) => false,
        }
    }
}

impl fmt::Display for Expected {
    /// As an operator would say what it has to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOf(values) => values.iter().enumerate().try_for_each(|(index, value)| {
                let between = if index == 0 { "" } else { " or " };
                write!(f, "{between}{value}")
            }),
            Self::Pattern(pattern) => write!(f, "like {pattern}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "ref": "refs/heads/main", "run": 7, "large": 18_446_744_073_709_551_615_u64, "half": 0.5, "whole": 7.0,
            "protected": true, "nothing": null, "groups": ["a"], "https://example.com/x": "y", "a/b": {"~c": "d"}, "": {"": "e"},
            "kubernetes.io": {"serviceaccount": {"uid": "u-1"}, "list": [{"uid": "u-1"}]},
        });
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn a_name_is_of_the_outermost_claims_and_a_pointer_leads_through_objects() {
        for (name, expected) in [
            ("ref", Some(json!("refs/heads/main"))),
            ("/ref", Some(json!("refs/heads/main"))),
            ("https://example.com/x", Some(json!("y"))),
            ("a/b", Some(json!({"~c": "d"}))),
            ("/a~1b/~0c", Some(json!("d"))),
            ("/kubernetes.io/serviceaccount/uid", Some(json!("u-1"))),
            ("//", Some(json!("e"))),
            ("kubernetes.io/serviceaccount/uid", None),
            ("/kubernetes.io/list/0/uid", None),
            ("/groups/0", None),
            ("/ref/x", None),
            ("Ref", None),
        ] {
            assert_eq!(ClaimName::parse(name).unwrap().find(&claims()), expected.as_ref(), "{name}");
        }
        for name in ["", "/~", "/a~2", "/a~", "/~~0"] {
            assert!(ClaimName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_is_compared_exactly_and_by_its_type() {
        let text = |text: &str| ClaimValue::Text(text.to_owned());
        let is = |name: &str, value: ClaimValue| {
            let claims = claims();
            let claim = ClaimName::parse(name).unwrap().find(&claims).unwrap().clone();
            let is = Expected::AnyOf(vec![text("never"), value.clone()]).is_met_by(&claim);
            assert_eq!(is, ClaimValue::of(&claim) == Some(value), "the index and the comparison agree on {name}");
            is
        };
        assert!(is("ref", text("refs/heads/main")));
        assert!(!is("ref", text("refs/heads/Main")));
        assert!(is("run", ClaimValue::Integer(7)));
        assert!(!is("run", text("7")));
        assert!(!is("whole", ClaimValue::Integer(7)));
        assert!(!is("half", ClaimValue::Integer(0)));
        assert!(!is("large", ClaimValue::Integer(-1)));
        assert!(is("protected", ClaimValue::Boolean(true)));
        assert!(!is("protected", text("true")));
        assert!(!is("nothing", text("")));
        assert!(!is("groups", text("a")));
    }

    #[test]
    fn a_pattern_is_for_strings() {
        let pattern = Expected::Pattern(Pattern::parse("7*").unwrap());
        assert!(pattern.is_met_by(&json!("7a")));
        for claim in [json!(7), json!(["7a"]), json!(null), json!({"7a": "7a"})] {
            assert!(!pattern.is_met_by(&claim), "{claim}");
        }
    }
}
