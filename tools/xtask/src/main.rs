//! Chores of this repository. `cargo xtask help` lists them.
//!
//! Each chore sets up what it needs (compilers for the boards, QEMU), and reports what it installs.

mod bench;
mod chores;
mod demo;
mod dependencies;
mod examples;
mod fuzz;
mod miri;
mod mutants;
mod pages;
mod sizes;
mod steps;
mod test;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
Chores of this repository.

    cargo xtask demo     quantize the built-in ResNet-20, run it here and on two boards
    cargo xtask test     everything that CI checks; with names of steps, only those; with --all,
                         also the large networks and the slow proofs
    cargo xtask bench    cost of an image on every board, compared with other engines
    cargo xtask fuzz     judge 200,000 changed model files with 64 bits and with 32;
                         with --mutants N, judge N
    cargo xtask miri     run unit tests of the core under Miri, which finds undefined behaviour
    cargo xtask setup    install what the boards need: compilers, QEMU
    cargo xtask cross    build firmware, and prove that the runtime cannot panic; with --all, also
                         firmware of the boards that CI leaves out
    cargo xtask firmware build firmware of all boards as ELF files, for `brooklet` outside of a checkout
    cargo xtask wasm     compile the core for the pages of `brooklet report`, after a change of the core
    cargo xtask pages    take screenshots of that page in four widths, light and dark, and run axe-core
    cargo xtask size     print the flash that runtime and firmware take on each board
";

fn main() -> ExitCode {
    brooklet_firmware::apt::allow();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["bench"] => bench::bench(bench::build(), true),
        ["demo"] => demo::demo(),
        ["test", ref words @ ..] => {
            let all = words.contains(&"--all");
            let steps: Vec<&str> = words.iter().copied().filter(|&word| word != "--all").collect();
            test::test(&steps, all)
        }
        ["fuzz"] => mutants::judge(mutants::MUTANTS),
        ["fuzz", "--mutants", count] => match count.parse() {
            Ok(count) => mutants::judge(count),
            Err(_) => Err(steps::Failure(format!("error: `{count}` is not a number of mutants"))),
        },
        ["miri"] => miri::miri(),
        ["setup"] => chores::setup(),
        ["cross"] => chores::cross(false),
        ["cross", "--all"] => chores::cross(true),
        ["firmware"] => chores::firmware(),
        ["wasm"] => chores::wasm(),
        ["pages"] => pages::pages(),
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
