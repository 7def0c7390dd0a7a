//! The checks that CI runs.

use std::path::Path;
use std::process::Command;

use brooklet_firmware::compile::TWO_CORES;
use brooklet_firmware::{Registry, Toolchain};

use crate::bench::bench;
use crate::chores::{builds, compilers, emulators, llvm};
use crate::dependencies::{WORKSPACES, check};
use crate::examples::{self, examples};
use crate::fuzz::fuzz;
use crate::pages::pages;
use crate::steps::{Failure, Step, run, run_phases, say, step};

/// All packages except `brooklet-log`, whose dependencies take long to build. The step `log` runs it.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "brooklet-log"];

/// Runs everything that CI checks, or the steps that `wanted` names; with `all` also the large
/// networks and the slow proofs.
pub(crate) fn test(wanted: &[&str], all: bool) -> Result<(), Failure> {
    let registry = Registry::find()?;
    let quick = vec![format(&registry), step("dependencies", || check(&registry))];
    let mut prepare = vec![compilers(&registry, all), emulators(&registry)];
    if all {
        prepare.push(llvm());
    }
    // Tests first compile and then compute. Steps that mostly compile are in a second lane beside them.
    let tests = vec![tests(&registry, all)];
    let mut beside = builds(&registry, all, all);
    beside.push(step("examples", || examples(&registry)));
    beside.push(lints_of_firmware(&registry, all));
    // The command is built together with the whole workspace. Built alone, its dependencies would
    // have other features and be compiled again.
    let build = linted(cargo(registry.root(), &[&BUILD_TESTS[..], &["--no-run"]].concat()));
    beside.push(step("bench", move || bench(build, all)));
    beside.push(doctests(&registry));
    beside.extend([docs(&registry, all), alone(&registry), packages(&registry, all)]);
    // The tests are built with Clippy. Alone, it checks all dependencies once more.
    if wanted.contains(&"lints") {
        beside.push(lints(&registry));
    }
    // The library for probes takes minutes to build.
    if all || wanted.contains(&"probe") {
        beside.push(probe(&registry));
    }
    // So does the library for Espressif's boot loaders, and firmware is built for their boards.
    if all || wanted.contains(&"espflash") {
        beside.push(espflash(&registry));
    }
    // These two build a part of the tools again.
    if all || wanted.contains(&"log") {
        beside.push(log(&registry));
    }
    if all || wanted.contains(&"fuzz") {
        beside.push(step("fuzz", || fuzz(&registry)));
    }
    // A browser opens the page a dozen times.
    if all || wanted.contains(&"pages") {
        beside.push(step("pages", pages));
    }
    run_phases(vec![vec![quick, prepare], vec![tests, beside]], wanted)
}

/// `cargo ARGUMENTS` in the folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(folder).args(arguments);
    command
}

/// The command, with Clippy as the compiler of the workspace's packages. It compiles, too, so that
/// dependencies are built once for lints and tests.
fn linted(mut command: Command) -> Command {
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    // How `cargo clippy` passes its arguments on.
    command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    command
}

fn format(registry: &Registry) -> Step<'_> {
    step("format", || {
        run(&mut cargo(registry.root(), &["fmt", "--all", "--check"]))?;
        run(&mut cargo(registry.folder(), &["fmt", "--all", "--check"]))?;
        // Boards in workspaces of their own.
        for folder in WORKSPACES.iter().filter(|folder| folder.starts_with("boards/")) {
            run(&mut cargo(&registry.root().join(folder), &["fmt", "--all", "--check"]))?;
        }
        Ok(())
    })
}

fn lints(registry: &Registry) -> Step<'_> {
    step("lints", || {
        let lints =
            [&["clippy", "--all-targets"], &WORKSPACE[..], &["--", "-D", "warnings"]].concat();
        run(&mut cargo(registry.root(), &lints))
    })
}

/// Runs Clippy on firmware that logs: for one board. With `all`, for each board, on firmware that does
/// not log, and on the examples, too. If the compiler that builds it has no Clippy, its own lints run
/// while firmware is built, and only firmware that logs is checked here.
///
/// The profile is that of the builds, so that macros and build scripts are compiled once for both.
fn lints_of_firmware(registry: &Registry, all: bool) -> Step<'_> {
    step("firmware-lints", move || {
        // One whose chip needs no large crate.
        let boards = registry.boards().iter().filter(|spec| all || spec.qemu.is_some());
        for spec in boards.take(if all { usize::MAX } else { 1 }) {
            let toolchain = Toolchain::ensure(&spec.target, &mut say)?;
            let logs = ["--features", "defmt"];
            let (subcommand, features): (_, &[&[&str]]) = match toolchain.can_lint() {
                true if all => ("clippy", &[&[], &logs]),
                true => ("clippy", &[&logs]),
                false => ("check", &[&logs]),
            };
            let two_cores = ["--features", TWO_CORES];
            let updates = ["--features", "updates"];
            let more = spec.second_core.is_some().then_some(&two_cores[..]);
            let more = more.into_iter().chain((all && spec.updates).then_some(&updates[..]));
            for features in features.iter().copied().chain(more) {
                let mut lints = toolchain.cargo(subcommand, &spec.target);
                lints
                    .arg("--release")
                    .args(features)
                    .current_dir(registry.folder().join(&spec.name))
                    .env("CARGO_TARGET_DIR", registry.target_dir())
                    // Any key, for firmware that takes signed models.
                    .env("BROOKLET_PUBLIC_KEY", "0".repeat(64));
                if toolchain.can_lint() {
                    lints.args(["--", "-D", "warnings"]);
                }
                run(&mut lints)?;
            }
        }
        for board in examples::BOARDS.iter().filter(|_| all) {
            let spec = registry.board(board)?;
            let toolchain = Toolchain::ensure(&spec.target, &mut say)?;
            if toolchain.can_lint() {
                let mut lints = toolchain.cargo("clippy", &spec.target);
                lints.args(["--release", "--", "-D", "warnings"]);
                lints.current_dir(registry.folder().join("examples"));
                run(lints.env("CARGO_TARGET_DIR", registry.target_dir()))?;
            }
        }
        Ok(())
    })
}

/// Arguments that build all tests of the workspace, with the features that all packages together
/// need.
const BUILD_TESTS: [&str; 5] = ["test", "--all-targets", WORKSPACE[0], WORKSPACE[1], WORKSPACE[2]];

/// All tests of the workspace except those in documentation, on emulated boards, too. A lint fails the
/// build.
fn tests(registry: &Registry, all: bool) -> Step<'_> {
    step("tests", move || {
        // The other tests run even if one fails. Reporting the times of tests is an unstable
        // feature of the test harness, so only its environment gets the flag.
        let timed = ["--no-fail-fast", "--", "-Zunstable-options", "--report-time"];
        let large: &[&str] = if all { &["--include-ignored"] } else { &[] };
        let mut tests = linted(cargo(registry.root(), &[&BUILD_TESTS[..], &timed, large].concat()));
        let runner = env!("XTASK_HOST").to_uppercase().replace('-', "_");
        // Clippy is not for what tests build.
        let environment = "env -u RUSTC_WORKSPACE_WRAPPER -u CLIPPY_ARGS RUSTC_BOOTSTRAP=1";
        tests.env(format!("CARGO_TARGET_{runner}_RUNNER"), environment);
        if all {
            tests.env("BROOKLET_THOROUGH", "1");
        }
        run(&mut tests)
    })
}

/// The examples in the documentation, with the libraries of the tests.
fn doctests(registry: &Registry) -> Step<'_> {
    step("doctests", || {
        let examples = [&["test", "--doc", "--no-fail-fast"], &WORKSPACE[..]].concat();
        run(&mut linted(cargo(registry.root(), &examples)))
    })
}

/// The command with debug probes: lints, and tests with a fake probe.
fn probe(registry: &Registry) -> Step<'_> {
    step("probe", || {
        let feature =
            ["--package", "brooklet-cli", "--features", "log,probe", "--", "-D", "warnings"];
        run(&mut cargo(registry.root(), &[&["clippy"], &feature[..]].concat()))?;
        let test =
            ["test", "--package", "brooklet-firmware", "--features", "probe", "--lib", "probe"];
        run(&mut cargo(registry.root(), &test))
    })
}

/// The command with boot loaders of Espressif's chips: lints, and tests of the images that they take
/// and of the command's reports.
fn espflash(registry: &Registry) -> Step<'_> {
    step("espflash", || {
        let with = |subcommand, package, more: &[&str]| {
            let feature = [subcommand, "--package", package, "--features", "espflash"];
            run(&mut cargo(registry.root(), &[&feature[..], more].concat()))
        };
        with("clippy", "brooklet-cli", &["--", "-D", "warnings"])?;
        with("test", "brooklet-firmware", &["--lib", "espflash"])?;
        with("test", "brooklet-cli", &["--test", "it", "espressif"])
    })
}

/// Decodes the log of a board, also by the command.
fn log(registry: &Registry) -> Step<'_> {
    step("log", || {
        let command = ["clippy", "--package", "brooklet-cli", "--features", "log"];
        run(&mut cargo(registry.root(), &[&command[..], &["--", "-D", "warnings"]].concat()))?;
        let lints =
            ["clippy", "--package", "brooklet-log", "--all-targets", "--", "-D", "warnings"];
        run(&mut cargo(registry.root(), &lints))?;
        run(&mut cargo(registry.root(), &["test", "--package", "brooklet-log"]))?;
        let logs =
            ["test", "--package", "brooklet-cli", "--features", "log", "--test", "it", "log"];
        run(&mut cargo(registry.root(), &logs))
    })
}

fn alone(registry: &Registry) -> Step<'_> {
    step("features", || {
        // Nothing of the chores is built. Chosen together with them, dependencies have the features
        // that they have for the chores, and are not compiled again.
        let both = ["--package", "brooklet-suite", "--package", "xtask"];
        let test = [&["test", "--test", "features"], &both[..]].concat();
        let mut alone = cargo(registry.root(), &test);
        run(alone.env("BROOKLET_ALONE", "1"))
    })
}

/// The documentation of the core, which has the guide, as docs.rs builds it. With `all` that of the
/// tools, too, whose dependencies take long to check.
fn docs(registry: &Registry, all: bool) -> Step<'_> {
    step("docs", move || {
        let core = &["--package", "brooklet", "--all-features"][..];
        for packages in [core, &WORKSPACE].iter().take(if all { 2 } else { 1 }) {
            let mut docs = cargo(registry.root(), &[&["doc", "--no-deps"], *packages].concat());
            run(docs.env("RUSTDOCFLAGS", "-D warnings"))?;
        }
        Ok(())
    })
}

/// The libraries that can be published, each after its dependencies.
const LIBRARIES: [&str; 6] = [
    "brooklet",
    "brooklet-files",
    "board-build",
    "brooklet-plan",
    "brooklet-import",
    "brooklet-quantize",
];

/// Makes the packages of the libraries. With `all`, each library is also built from its package.
fn packages(registry: &Registry, all: bool) -> Step<'_> {
    step("packages", move || {
        let mut package = cargo(registry.root(), &["package", "--quiet", "--allow-dirty"]);
        for library in LIBRARIES {
            package.args(["--package", library]);
        }
        if !all {
            package.arg("--no-verify");
        }
        run(&mut package)
    })
}
