mod examples;
mod frontend;
mod kubernetes;
mod mistakes;
mod trust;
