mod authentication;
mod client_credentials;
mod introspection;
mod refresh_token;
mod revocation;
mod target;
