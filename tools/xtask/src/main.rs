//! Chores of this repository. `cargo xtask help` lists them.
//!
//! Each does its own set-up (compilers for the boards, QEMU), and says what it installs.

mod bench;
mod chores;
mod demo;
mod steps;

use std::env;
use std::process::ExitCode;

use steps::Steps;

const HELP: &str = "\
Chores of this repository.

    cargo xtask demo     quantize the built-in ResNet-20, run it here and on two boards
    cargo xtask test     everything that CI checks; with --all, the large networks, too
    cargo xtask bench    what a picture costs on every board, next to other engines
    cargo xtask setup    install what the boards need: compilers, QEMU
    cargo xtask cross    build all firmware, and prove that the runtime cannot panic
    cargo xtask size     what runtime and firmware take of each board's flash
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["bench"] => bench::bench(),
        ["demo"] => demo::demo(),
        ["test"] => Steps::run(|steps| chores::test(steps, false)),
        ["test", "--all"] => Steps::run(|steps| chores::test(steps, true)),
        ["setup"] => Steps::run(chores::setup),
        ["cross"] => Steps::run(chores::cross),
        ["size"] => chores::size(),
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("there is no chore `{}`\n\n{HELP}", arguments.join(" "));
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
