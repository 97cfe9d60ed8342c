//! Authorization requests: what a client asks a person for, through that person's browser (RFC 6749 §4.1, OpenID Connect
//! Core §3.1.2). mintkeep judges the request and stores it; a front-end asks the person.
//!
//! The order of a request: find the client and where its answers go ([`checks`]), out of the request itself, a signed
//! object ([`request_object`], RFC 9101) or what was pushed before ([`pushed`], RFC 9126). Until both are known an error is
//! a page, because to send a browser where a stranger says is to lend him our name. After that it is a redirect.

mod checks;
mod endpoint;
mod id_token_hint;
mod pushed;
mod request;
mod request_object;

pub use self::checks::AuthorizationError;
pub(super) use self::checks::login_scope;
pub use self::endpoint::AuthorizationEndpoint;
pub use self::id_token_hint::{IdTokenHint, IdTokenHints};
pub use self::pushed::{PushedAnswer, REQUEST_URI_PREFIX};
pub use self::request::{AuthorizationRequest, Prompt};
