mod examples;
mod mistakes;
mod signing_profile;
mod trust;
