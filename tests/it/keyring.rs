mod orders;
mod rotation;
