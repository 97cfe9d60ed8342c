mod admin;
mod attempts;
mod discovery;
mod frontend;
mod limits;
mod openapi;
mod tls;
mod token;
