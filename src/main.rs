//! The binary: it decides the exit code, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    mintkeep::cli::run()
}
