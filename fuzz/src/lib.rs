//! What is done with each input of the fuzz targets (`fuzz_targets`), one module for each. Every `run` says whether the
//! input was taken, and panics where what was taken breaks a rule. It reads the input a second time for that, by itself.
//!
//! `tests/it/fuzz.rs` includes this file, so that the seeds pass in every test run, without cargo-fuzz.

mod scene;
mod reading;
mod once_store;

pub mod form;
pub mod jws;
pub mod dpop;
pub mod assertion;
pub mod policy;
pub mod trust;
pub mod frames;
pub mod certificate;
pub mod redirect;
