mod delegated;
pub mod orders;
mod rotation;
