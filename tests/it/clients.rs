//! Clients that are not ours, as people use them, against a running mint. The scripts are in `tests/clients`.

mod curl;
mod frontend;
mod node_oidc_provider;
mod oauth2;
mod openid_client;
mod proofs;
mod schemathesis;
mod vaultrs;
