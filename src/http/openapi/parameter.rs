//! The parameters of the forms.

use serde_json::{Map, Value};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::{ArrayBuilder, Content, ContentBuilder, ObjectBuilder, Required, Schema, Type};

use crate::oauth::authentication::ASSERTION_TYPE;

/// What is said of one parameter. One that is empty counts as left out; one that nobody knows is ignored; unless it is repeatable,
/// none may be there twice (RFC 6749 §3.2).
pub(in crate::http) struct Parameter {
    name: &'static str,
    description: &'static str,
    is_required: bool,
    is_repeatable: bool,
    values: Vec<&'static str>,
    example: Option<&'static str>,
}

impl Parameter {
    /// One that has to be there.
    pub(in crate::http) fn required(name: &'static str, description: &'static str) -> Self {
        Self { name, description, is_required: true, is_repeatable: false, values: Vec::new(), example: None }
    }

    /// One that may be left out.
    pub(in crate::http) fn optional(name: &'static str, description: &'static str) -> Self {
        Self { is_required: false, ..Self::required(name, description) }
    }

    /// It has one of `values`.
    pub(in crate::http) fn one_of(self, values: impl IntoIterator<Item = &'static str>) -> Self {
        Self { values: values.into_iter().collect(), ..self }
    }

    /// What it is in a request that works, with the others that have an example.
    pub(in crate::http) fn example(self, value: &'static str) -> Self {
        Self { example: Some(value), ..self }
    }

    /// It may be there several times.
    pub(in crate::http) fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    /// The kind of a token (RFC 7009 §2.1, RFC 7662 §2.1).
    pub(in crate::http) fn token_type_hint() -> Self {
        Self::optional("token_type_hint", "Not looked at: a token says by itself what it is.")
    }

    /// Those by which a client, or a resource server, says and proves who it is.
    pub(super) fn credentials() -> [Self; 4] {
        [
            Self::optional("client_id", "Who sends this, unless the Authorization header says so."),
            Self::optional("client_secret", "Its secret, where it is registered for client_secret_post."),
            Self::optional("client_assertion_type", "How client_assertion proves it (RFC 7521 §4.2).")
                .one_of([ASSERTION_TYPE]),
            Self::optional("client_assertion", "A JWT that it signed, where it is registered for private_key_jwt."),
        ]
    }

    /// As a part of the query.
    pub(super) fn in_query(self) -> ParameterBuilder {
        let required = if self.is_required { Required::True } else { Required::False };
        let (name, description) = (self.name, self.description);
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(required);
        parameter.description(Some(description)).schema(Some(self.schema()))
    }

    fn schema(self) -> Schema {
        let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(self.description));
        let schema = match self.is_required {
            // Empty is left out.
            true => schema.min_length(Some(1)),
            false => schema,
        };
        let schema = if self.values.is_empty() { schema } else { schema.enum_values(Some(self.values)) };
        match self.is_repeatable {
            true => ArrayBuilder::new().items(schema).into(),
            false => schema.into(),
        }
    }
}

/// A form of `parameters`.
pub(super) fn form(parameters: impl Iterator<Item = Parameter>) -> Content {
    let (mut schema, mut example) = (ObjectBuilder::new().schema_type(Type::Object), Map::new());
    for parameter in parameters {
        let name = parameter.name;
        example.extend(parameter.example.map(|value| (name.to_owned(), value.into())));
        if parameter.is_required {
            schema = schema.required(name);
        }
        schema = schema.property(name, parameter.schema());
    }
    let example = (!example.is_empty()).then_some(Value::Object(example));
    ContentBuilder::new().schema(Some(schema.build())).example(example).build()
}
