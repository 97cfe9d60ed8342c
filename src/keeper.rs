//! The keeper: the only process that loads a PKCS#11 module, knows the PIN and holds sessions, and
//! the mint's way to it.
//!
//! In the keeper's process: [`server`] takes requests, [`policy`] judges what may be signed,
//! [`worker`] has the hardware do it. In the mint's process: [`Keeper`] is the handle, kept connected
//! by the [`supervisor`]; [`Keepers`] are the handles to all devices. Between them: [`wire`].

pub mod counters;
pub mod policy;
pub mod wire;
pub mod worker;
pub mod server;
mod health;
mod error;
mod admission;
mod link;
mod known_keys;
pub mod launch;
mod signable;
pub mod supervisor;
mod handle;
mod keepers;
mod route;

pub use admission::Work;
pub use error::KeeperError;
pub use handle::Keeper;
pub use health::Condition;
pub use keepers::{Keepers, MOST_DEVICES, Member, SignedBy, Standing};
pub use signable::{PresentedDigest, Signable};
