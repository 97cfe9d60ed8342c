//! What the schemas that are derived from our types do not know of how these are written.
//!
//! - What is absent is left out, and never `null`: every `Option` that is written says so by `skip_serializing_if`.
//! - `deny_unknown_fields` is for what we read. Who reads our answers ignores what it does not know (RFC 6749 §5.1).

use serde_json::{Value, json};

/// Has the schemas of `description` say so.
pub(super) fn as_written(description: &mut Value) {
    let schemas = description["components"]["schemas"].clone();
    walk(description, &schemas);
}

fn walk(value: &mut Value, schemas: &Value) {
    if let Value::Object(members) = value
        && members.get("additionalProperties") == Some(&Value::Bool(false))
    {
        members.remove("additionalProperties");
    }
    if let Some(Value::Array(types)) = value.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            value["type"] = only.clone();
        }
    }
    // Members that are flattened, and are there together or not at all.
    if let Some(Value::Array(parts)) = value.get_mut("allOf") {
        for part in parts {
            if let Some(group) = nullable(part) {
                let is_there: Vec<Value> = members(&group, schemas).map(|name| json!({ "required": [name] })).collect();
                *part = json!({ "oneOf": [group, { "not": { "anyOf": is_there } }] });
            }
        }
    }
    if let Some(schema) = nullable(value) {
        *value = schema;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| walk(value, schemas)),
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, schemas)),
        _ => {}
    }
}

/// The schema of which `schema` says that it or `null` is there.
fn nullable(schema: &Value) -> Option<Value> {
    let parts = schema.get("oneOf")?.as_array()?;
    let null = json!({ "type": "null" });
    let mut others = parts.iter().filter(|part| **part != null);
    let only = others.next().filter(|_| others.next().is_none() && parts.len() == 2)?;
    Some(only.clone())
}

/// The names of the members of `schema`, or of the one that it refers to.
fn members<'a>(schema: &'a Value, schemas: &'a Value) -> impl Iterator<Item = &'a str> {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let properties = &name.map_or(schema, |name| &schemas[name])["properties"];
    properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_absent_is_never_null_and_what_is_unknown_is_not_refused() {
        let mut description = json!({ "components": { "schemas": {
            "Group": {
                "type": "object",
                "properties": { "a": { "type": ["string", "null"] }, "b": {} },
                "additionalProperties": false,
            },
            "Whole": { "allOf": [{ "oneOf": [{ "$ref": "#/components/schemas/Group" }, { "type": "null" }] }] },
            "Member": { "properties": { "c": { "oneOf": [{ "type": "null" }, { "type": "object" }] } } },
            "Choice": { "oneOf": [{ "type": "string" }, { "type": "array" }] },
        } } });
        as_written(&mut description);
        let expected = json!({
            "Group": { "type": "object", "properties": { "a": { "type": "string" }, "b": {} } },
            "Whole": { "allOf": [{ "oneOf": [
                { "$ref": "#/components/schemas/Group" },
                { "not": { "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] } },
            ] }] },
            "Member": { "properties": { "c": { "type": "object" } } },
            "Choice": { "oneOf": [{ "type": "string" }, { "type": "array" }] },
        });
        assert_eq!(description["components"]["schemas"], expected);
    }
}
