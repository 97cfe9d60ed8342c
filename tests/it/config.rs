mod examples;
mod frontend;
mod kubernetes;
mod mistakes;
mod signing_profile;
mod trust;
