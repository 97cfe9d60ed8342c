//! Authorization requests: what a client asks a person for, through that person's browser (RFC 6749 §4.1, OpenID Connect
//! Core §3.1.2).

mod request;

pub use self::request::{AuthorizationRequest, Prompt};
