//! Wiring: the one place that chooses backends, starts processes and puts the layers together.

mod descriptors;
mod device;
mod environment;
mod failure;
mod keeper_memory;
mod public_key_file;
pub mod keeper_process;
pub mod store;
pub mod services;
mod kubernetes;
mod reload;
mod frontend_listener;
mod session_ends;
mod signals;
pub mod mint;
pub mod admin_client;
pub mod grant;
pub mod sessions;
pub mod clients;
pub mod trust;
pub mod keys;
pub mod attestation;
pub mod check;
pub mod development_key;
pub mod dev;

pub use failure::{Failure, Kind};
