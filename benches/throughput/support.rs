//! What the tests have too.
#![expect(dead_code, reason = "the tests use more of it")]

#[path = "../../tests/it/support/postgres.rs"]
pub mod postgres;
#[path = "../../tests/it/support/process.rs"]
pub mod process;
#[path = "../../tests/it/support/swtpm.rs"]
pub mod swtpm;
