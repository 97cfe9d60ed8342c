//! The OAuth protocol: clients and how they prove themselves, scopes, grants, issuing. It knows neither
//! HTTP nor SQL.
//!
//! The order of an exchange: authenticate the client ([`authentication`]), let a grant decide
//! ([`refresh_token`], [`client_credentials`], [`workload`]), which alone can make an [`authorized::Authorized`], and hand that to
//! [`issuer::Issuer`], which alone can use it up.

pub mod once;
pub mod error;
pub mod scope;
pub mod secret;
pub mod remote_keys;
pub mod key_sets;
pub mod redirect_uri;
pub mod client;
pub mod handle;
pub mod resource_server;
pub mod source;
mod source_budgets;
pub mod certificate;
pub mod attempts;
pub mod beginnings;
pub mod parameters;
pub mod target;
pub mod trust;
pub mod registration;
pub mod frontend;
pub mod registrations;
mod request_limits;
pub mod client_limits;
pub mod delegated;
pub mod refresh_cookie;
pub mod request;
pub mod authentication;
pub mod dpop;
pub mod login_record;
pub mod authorization;
pub mod acceptance;
pub mod login;
pub mod backchannel_logout;
pub mod session_end;
pub mod logout;
pub mod authorized;
pub mod client_credentials;
pub mod refresh_token;
pub mod code;
pub mod device;
pub mod frontend_grant;
pub mod workload;
pub mod token_type;
mod shared_tokens;
pub mod issuer;
pub mod access_token;
pub mod trusted_token;
pub mod trusted_grant;
pub mod token_endpoint;
pub mod revocation;
pub mod introspection;
pub mod userinfo;
pub mod openid;
pub mod metadata;

pub use error::OAuthError;
