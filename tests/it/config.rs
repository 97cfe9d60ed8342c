mod examples;
mod frontend;
mod mistakes;
mod signing_profile;
mod trust;
