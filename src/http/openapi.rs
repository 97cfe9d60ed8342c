//! The descriptions of the listeners in OpenAPI 3.1, made of what their routers route and of the types that are
//! written.
//!
//! An [`Endpoint`] has both its handlers and what is said of them, so that no route is without a description.

mod answers;
mod parameter;
mod written;

use std::sync::Arc;

use axum::routing::MethodRouter;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, Object, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema, Type,
};

use self::answers::SharedAnswer;
use crate::http::render::ErrorBody;
use crate::keyring::Document;

pub(super) use self::answers::{kept, not_modified, off, problem, uncached};
pub(super) use self::parameter::Parameter;

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The one way of proving oneself that OpenAPI has a notion of. What a form proves is among its parameters.
const BASIC: &str = "client_secret_basic";

/// What whoever registers a client holds.
const BEARER: &str = "registration_access_token";

/// What shows that somebody logged in.
const ACCESS_TOKEN: &str = "access_token";
/// What a front-end holds.
const TOKEN: &str = "frontend_token";

/// Whose endpoints are described.
#[derive(Clone, Copy)]
pub(super) enum Listener {
    /// Those of clients and resource servers.
    Public,
    /// Those of front-ends.
    Frontends,
}

impl Listener {
    fn description(self) -> &'static str {
        match self {
            Self::Public => "The endpoints of clients and resource servers. What is not described is answered 404.",
            Self::Frontends => "The endpoints of front-ends. What is not described is answered 404.",
        }
    }

    fn schemes(self) -> Vec<(&'static str, SecurityScheme)> {
        let bearer = |description| {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description));
            SecurityScheme::Http(bearer.build())
        };
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("client_id and client_secret, each in the encoding of a form (RFC 6749 §2.3.1)"));
        match self {
            Self::Public => vec![
                (BASIC, SecurityScheme::Http(basic.build())),
                (
                    BEARER,
                    bearer(
                        "To register, an initial access token (RFC 7591 §3); after that, what the client was told (RFC 7592 §3)",
                    ),
                ),
                (ACCESS_TOKEN, bearer("Or by the scheme DPoP, one that is bound to a key (RFC 9449 §7.1)")),
            ],
            Self::Frontends => {
                vec![(TOKEN, bearer("The token of a front-end, unless it proves itself by its certificate or its uid"))]
            }
        }
    }
}

/// A path, what answers there, and what is said of it.
pub(super) struct Endpoint<Api> {
    pub(super) path: String,
    pub(super) methods: MethodRouter<Arc<Api>>,
    item: PathItem,
    schemas: NamedSchemas,
}

/// What is said of one method of an endpoint.
pub(super) struct Description {
    operation: OperationBuilder,
    schemas: NamedSchemas,
}

type NamedSchemas = Vec<(String, RefOr<Schema>)>;

impl<Api> Endpoint<Api> {
    /// `methods` at `path`, where a parameter of the path is written as `{name}`.
    pub(super) fn new(path: String, methods: MethodRouter<Arc<Api>>) -> Self {
        Self { path, methods, item: PathItem::default(), schemas: NamedSchemas::new() }
    }

    /// Says something of one of its methods.
    pub(super) fn describe(mut self, method: HttpMethod, description: Description) -> Self {
        self.schemas.extend(description.schemas);
        self.item.merge_operations(PathItem::new(method, description.operation));
        self
    }
}

impl Description {
    /// The operation `id`, with every answer that any request may get.
    pub(super) fn new(id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        Self { operation, schemas: NamedSchemas::new() }.shared(&answers::TO_ANYTHING)
    }

    /// It takes a form of `parameters` and of the credentials of who sends it, with every answer that it may get
    /// where it is not a success.
    pub(super) fn form(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        let parameters = parameters.into_iter().chain(Parameter::credentials());
        let body = RequestBodyBuilder::new().content(FORM, parameter::form(parameters)).required(Some(Required::True));
        self.operation = self
            .operation
            .request_body(Some(body.build()))
            .security(SecurityRequirement::new::<_, _, &str>(BASIC, []))
            // Or by the form, or not at all.
            .security(SecurityRequirement::default());
        self.shared(&answers::TO_FORMS)
    }

    /// It takes a form of `parameters`, from anybody.
    pub(super) fn plain_form(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        let body = RequestBodyBuilder::new()
            .content(FORM, parameter::form(parameters.into_iter()))
            .required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// It takes `parameters` in its query.
    pub(super) fn query(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        for parameter in parameters {
            self.operation = self.operation.parameter(parameter.in_query());
        }
        self
    }

    /// It takes a bearer token, with every answer that it may get where it is not a success.
    pub(super) fn bearer(mut self) -> Self {
        self.operation = self.operation.security(SecurityRequirement::new::<_, _, &str>(BEARER, []));
        self.shared(&answers::TO_FORMS)
    }

    /// It takes an access token of ours, with every answer that it may get where it is not a success.
    pub(super) fn access_token(mut self) -> Self {
        self.operation = self.operation.security(SecurityRequirement::new::<_, _, &str>(ACCESS_TOKEN, []));
        self = self.answer(403, problem("The token is not for this (RFC 6750 §3.1)."));
        self.shared(&answers::TO_FORMS)
    }

    /// It is for front-ends, with every answer that they may get where it is not a success.
    pub(super) fn frontend(mut self) -> Self {
        self.operation = self
            .operation
            .security(SecurityRequirement::new::<_, _, &str>(TOKEN, []))
            // Or by a certificate or a uid.
            .security(SecurityRequirement::default());
        self.shared(&answers::TO_FRONTENDS)
    }

    /// It takes a `T` in JSON.
    pub(super) fn json<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// `name` is in its path.
    pub(super) fn in_path(mut self, name: &str, description: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(Object::with_type(Type::String)));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It may have the header `name`.
    pub(super) fn header(mut self, name: &str, description: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .description(Some(description))
            .schema(Some(Object::with_type(Type::String)));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It may be answered by `response`.
    pub(super) fn answer(mut self, status: u16, response: ResponseBuilder) -> Self {
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// It may be answered by `response` with a `T`.
    pub(super) fn answer_of<T: ToSchema>(mut self, status: u16, media_type: &str, response: ResponseBuilder) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        self.answer(status, response.content(media_type, content))
    }

    fn shared(mut self, shared: &[SharedAnswer]) -> Self {
        for answer in shared {
            let reference = Ref::from_response_name(answer.name);
            self.operation = self.operation.response(answer.status.to_string(), reference);
        }
        self
    }
}

/// The description of the `endpoints` of `listener`.
///
/// # Panics
/// Where it cannot be written as JSON, which is for no endpoint so.
pub(super) fn description<Api>(listener: Listener, endpoints: &[Endpoint<Api>]) -> Document {
    let mut components =
        ComponentsBuilder::new().responses_from_iter(answers::shared(listener)).schema_from::<ErrorBody>();
    for (name, scheme) in listener.schemes() {
        components = components.security_scheme(name, scheme);
    }
    let mut paths = PathsBuilder::new();
    for Endpoint { path, item, schemas, .. } in endpoints {
        components = components.schemas_from_iter(schemas.iter().cloned());
        paths = paths.path(path, item.clone());
    }
    let info = InfoBuilder::new()
        .title("mintkeep")
        .description(Some(listener.description()))
        .version(env!("CARGO_PKG_VERSION"));
    let whole = OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build();
    let mut description = serde_json::to_value(whole).expect("a description is JSON");
    written::as_written(&mut description);
    Document::of(&description)
}
