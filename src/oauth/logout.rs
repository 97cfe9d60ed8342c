//! Logouts that clients ask for (OpenID Connect RP-Initiated Logout 1.0): the request is judged and kept, the front-end asks
//! the person, and the browser goes back to the client.

mod decision;
mod request;

pub use self::decision::{AfterLogout, LogoutAcceptance, Logouts, WaitingLogout};
pub use self::request::{LogoutEndpoint, LogoutRequest};
