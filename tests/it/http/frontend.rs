//! Front-ends prove who they are, each in its one way, and have what they were given.

mod proof;
mod requests;
mod signing;
