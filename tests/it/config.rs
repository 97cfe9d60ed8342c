mod examples;
mod frontend;
mod mistakes;
mod trust;
