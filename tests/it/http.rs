mod admin;
mod attempts;
mod discovery;
mod limits;
mod openapi;
mod token;
