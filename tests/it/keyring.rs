pub mod orders;
mod rotation;
