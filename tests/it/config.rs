mod examples;
mod mistakes;
mod trust;
