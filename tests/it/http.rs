mod admin;
mod attempts;
mod discovery;
mod limits;
mod tls;
mod token;
