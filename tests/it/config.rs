mod examples;
mod mistakes;
