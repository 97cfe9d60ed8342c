mod authentication;
mod client_credentials;
mod dpop;
mod introspection;
mod refresh_token;
mod registration;
mod revocation;
mod target;
