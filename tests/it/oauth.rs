mod authentication;
mod client_credentials;
mod refresh_token;
