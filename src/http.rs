//! HTTP: listeners, routers, and how requests and errors are written. What a request means is
//! [`crate::oauth`]'s to know.

pub mod tls;
pub mod listener;
pub mod forwarded;
mod render;
mod document;
mod openapi;
pub mod public;
pub mod frontend;
pub mod transit;
pub mod admin;
