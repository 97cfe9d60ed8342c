//! Device authorization (RFC 8628): a device shows a code, its person types it at the front-end's page, and the device polls
//! for its tokens.

mod decision;
mod endpoint;
pub(super) mod grant;
mod user_code;

pub use self::decision::{Devices, WaitingDevice};
pub use self::endpoint::{DeviceAuthorization, DeviceEndpoint, DeviceRequest};
