//! mintkeep mints short-lived OAuth tokens while its keys stay in hardware.
//!
//! The modules are declared in the order of their layers: **a module names only modules that
//! are declared before it** (`tests/layers.rs` proves it; `ARCHITECTURE.md` says why).

pub mod clock;
mod budget;
pub mod entropy;
pub mod secret_source;
pub mod jose;
pub mod fetch;
pub mod hardware;
pub mod keeper;
pub mod store;
pub mod keyring;
pub mod sealing;
pub mod oauth;
pub mod transit;
pub mod http;
pub mod kubernetes;
pub mod client;
pub mod telemetry;
pub mod config;
pub mod app;
pub mod cli;
