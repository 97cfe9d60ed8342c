//! The integration tests: mintkeep as its users meet it, on real SoftHSM2, SQLite and HTTP. The modules
//! mirror `src`.

#![expect(unreachable_pub, reason = "the modules of a program have no outside")]
#![cfg_attr(not(feature = "tpm"), expect(dead_code, reason = "what the tests on a TPM are built from"))]
#![expect(clippy::unwrap_used, reason = "in a test, what must not be is a failure of the test")]

mod support;

mod fetch;
mod hardware;
mod keeper;
mod store;
mod keyring;
mod oauth;
mod transit;
mod http;
mod client;
mod kubernetes;
mod config;
mod app;
mod clients;
mod crash;
mod sweep;
mod documents;
mod fuzz;
