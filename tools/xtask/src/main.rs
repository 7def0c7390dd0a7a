//! Chores of this repository. `cargo xtask help` lists them.
//!
//! Each does its own set-up (compilers for the boards, QEMU), and says what it installs.

mod chores;
mod demo;
mod steps;

use std::env;
use std::process::ExitCode;

use steps::Steps;

const HELP: &str = "\
Chores of this repository.

    cargo xtask demo     quantize the built-in ResNet-20, run it here and on two boards
    cargo xtask test     everything that CI checks
    cargo xtask setup    install what the boards need: compilers, QEMU
    cargo xtask cross    build all firmware, and prove that the runtime cannot panic
    cargo xtask size     what runtime and firmware take of each board's flash
";

fn main() -> ExitCode {
    let chore = env::args().nth(1);
    let result = match chore.as_deref() {
        Some("demo") => demo::demo(),
        Some("test") => Steps::run(chores::test),
        Some("setup") => Steps::run(chores::setup),
        Some("cross") => Steps::run(chores::cross),
        Some("size") => chores::size(),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("there is no chore `{other}`\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}
