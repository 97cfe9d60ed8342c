mod authentication;
mod client_credentials;
mod client_limits;
mod dpop;
mod introspection;
mod refresh_token;
mod revocation;
mod target;
