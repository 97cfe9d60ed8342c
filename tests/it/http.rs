mod admin;
mod discovery;
mod limits;
mod token;
