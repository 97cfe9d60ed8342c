//! Vault's form of signing, as its clients send it: field by field.

mod bad_input;
mod callers;
mod dex;
mod rights;
mod scene;
mod sigstore;
mod spire;

pub use scene::{Scene, document_digest};
