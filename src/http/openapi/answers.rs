//! What several endpoints answer.

use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{Content, Object, Ref, Response, ResponseBuilder, Type};

use super::{JSON, Listener};
use crate::http::render::ErrorBody;

/// An answer that is described once, and named by the endpoints that have it.
pub(super) struct SharedAnswer {
    pub(super) status: u16,
    pub(super) name: &'static str,
    description: &'static str,
    /// Names, and what they tell.
    headers: &'static [(&'static str, Type, &'static str)],
    has_body: bool,
}

const RETRY_AFTER: (&str, Type, &str) = ("Retry-After", Type::Integer, "Seconds to wait.");

/// What any request may be answered.
pub(super) const TO_ANYTHING: [SharedAnswer; 4] = [
    SharedAnswer {
        status: 405,
        name: "MethodNotAllowed",
        description: "The endpoint does not take the method.",
        headers: &[("Allow", Type::String, "The methods that it takes.")],
        has_body: true,
    },
    SharedAnswer {
        status: 408,
        name: "TimedOut",
        description: "The request did not come, or was not answered, in time.",
        headers: &[],
        has_body: false,
    },
    SharedAnswer {
        status: 413,
        name: "TooLarge",
        description: "The body is larger than 16 KiB.",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 431,
        name: "HeadTooLarge",
        description: "The head is larger than 16 KiB, or has too many fields.",
        headers: &[],
        has_body: false,
    },
];

/// What a form, or a request with a bearer token, may be answered that is not a success.
pub(super) const TO_FORMS: [SharedAnswer; 5] = [
    SharedAnswer {
        status: 400,
        name: "Refused",
        description: "The request is malformed, or may not be granted (RFC 6749 §5.2).",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 401,
        name: "NotAuthenticated",
        description: "The credentials prove nobody.",
        headers: &[("WWW-Authenticate", Type::String, "The challenge.")],
        has_body: true,
    },
    SharedAnswer {
        status: 429,
        name: "TooMany",
        description: "As 400 or 401, to who failed too often; or temporarily_unavailable, to a client over a limit of its own, \
            or where more logins are begun from one source than may be.",
        headers: &[
            RETRY_AFTER,
            ("WWW-Authenticate", Type::String, "The challenge, where the credentials prove nobody."),
        ],
        has_body: true,
    },
    SharedAnswer {
        status: 500,
        name: "Contradiction",
        description: "mintkeep contradicts itself.",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 503,
        name: "Unavailable",
        description: "Hardware, keeper or store cannot serve this now.",
        headers: &[RETRY_AFTER],
        has_body: true,
    },
];

/// What a front-end may be answered that is not a success.
pub(super) const TO_FRONTENDS: [SharedAnswer; 6] = [
    SharedAnswer {
        status: 400,
        name: "Refused",
        description: "The request is malformed, or cannot be served as it is.",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 401,
        name: "NotAuthenticated",
        description: "The caller proves to be no front-end.",
        headers: &[("WWW-Authenticate", Type::String, "The challenge.")],
        has_body: true,
    },
    SharedAnswer {
        status: 403,
        name: "Forbidden",
        description: "The front-end has no right to this.",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 429,
        name: "TooMany",
        description: "As 401, to who failed too often; or temporarily_unavailable, to a front-end over a limit of its own.",
        headers: &[
            RETRY_AFTER,
            ("WWW-Authenticate", Type::String, "The challenge, where the caller proves to be no front-end."),
        ],
        has_body: true,
    },
    SharedAnswer {
        status: 500,
        name: "Contradiction",
        description: "mintkeep contradicts itself.",
        headers: &[],
        has_body: true,
    },
    SharedAnswer {
        status: 503,
        name: "Unavailable",
        description: "Hardware, keeper or store cannot serve this now.",
        headers: &[RETRY_AFTER],
        has_body: true,
    },
];

/// All of those of `listener`, by their names.
pub(super) fn shared(listener: Listener) -> impl Iterator<Item = (&'static str, Response)> {
    let further: &[SharedAnswer] = match listener {
        Listener::Public => &TO_FORMS,
        Listener::Frontends => &TO_FRONTENDS,
    };
    TO_ANYTHING.iter().chain(further).map(|answer| (answer.name, answer.response()))
}

/// The answer of an endpoint that is not in use.
pub(in crate::http) fn off() -> ResponseBuilder {
    ResponseBuilder::new().description("The operator has this endpoint off.")
}

/// An error that is of one endpoint.
pub(in crate::http) fn problem(description: &str) -> ResponseBuilder {
    uncached(description).content(JSON, Content::new(Some(Ref::from_schema_name(ErrorBody::name()))))
}

/// An answer that no cache may keep.
pub(in crate::http) fn uncached(description: &str) -> ResponseBuilder {
    with_header(ResponseBuilder::new().description(description), "Cache-Control", Type::String, "no-store")
}

/// A document that may be kept for a while.
pub(in crate::http) fn kept(description: &str) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(description);
    let response = with_header(response, "Cache-Control", Type::String, "public, and for how many seconds");
    with_header(response, "ETag", Type::String, "A strong entity tag, for If-None-Match.")
}

/// The answer to who has the document already.
pub(in crate::http) fn not_modified() -> ResponseBuilder {
    kept("The document has the entity tag of If-None-Match.")
}

impl SharedAnswer {
    fn response(&self) -> Response {
        let mut response = if self.has_body {
            uncached(self.description).content(JSON, Content::new(Some(Ref::from_schema_name(ErrorBody::name()))))
        } else {
            ResponseBuilder::new().description(self.description)
        };
        for (name, kind, description) in self.headers {
            response = with_header(response, name, kind.clone(), description);
        }
        response.build()
    }
}

fn with_header(response: ResponseBuilder, name: &str, kind: Type, description: &str) -> ResponseBuilder {
    let header = HeaderBuilder::new().schema(Some(Object::with_type(kind))).description(Some(description));
    response.header(name, header.build())
}
