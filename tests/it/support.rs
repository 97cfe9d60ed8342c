//! What the tests are built from: a deployment of one's own in a temporary folder, and a running mint.
//! A test shows only what differs from the defaults here.

pub mod answer;
pub mod client_key;
pub mod deployment;
pub mod dev;
pub mod disk;
pub mod example;
pub mod faulty;
pub mod fleet;
pub mod frontend;
pub mod https_server;
pub mod issuer;
pub mod jose;
pub mod login;
pub mod node;
pub mod postgres;
pub mod process;
pub mod running;
pub mod spy;
pub mod swtpm;
pub mod tls;
#[cfg(feature = "tpm")]
pub mod tpm_proxy;

pub use answer::Answer;
pub use deployment::{API, Deployment, SERVICE, WORKLOAD};
pub use postgres::Postgres;
pub use running::RunningMint;
pub use swtpm::Swtpm;

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mintkeep");

/// SoftHSM2, where Debian has it.
pub const SOFTHSM2: &str = "/usr/lib/softhsm/libsofthsm2.so";
