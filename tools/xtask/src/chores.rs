//! The chores, but for the demo.

use std::path::Path;
use std::process::Command;

use brooklet_firmware::{Error, Registry, Toolchain, compile, ensure_qemu, size};

use crate::steps::{Failure, Steps, run, say};

/// Targets and backends whose runtime is proved not to panic.
const PROVEN: [(&str, &str); 7] = [
    ("thumbv6m-none-eabi", "armv6m"),
    ("thumbv7m-none-eabi", "armv7m"),
    ("thumbv7em-none-eabihf", "armv7em"),
    ("thumbv7em-none-eabihf", "portable"),
    ("thumbv8m.main-none-eabihf", "helium"),
    ("riscv32imac-unknown-none-elf", "rv32"),
    ("riscv32imac-unknown-none-elf", "rvv"),
];

/// The symbol that `boards/no-panic` leaves undefined.
const PANIC: &str = "the_runtime_can_panic";

/// What it means that it was missed.
const CAN_PANIC: &str = "\
error: the runtime has a panic that can be reached
  help: since the last proof something was added that indexes, slices, divides, unwraps,
        expects, or collects into a heapless::Vec; `get`, `?` or a loop of `push` do not panic";

/// The crates of the boards' workspace that run on a host, too.
const HOST_SIDE: [&str; 6] = ["-p", "board-build", "-p", "brooklet-protocol", "-p", "brooklet-app"];

/// `cargo ARGUMENTS` in the folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(folder).args(arguments);
    command
}

/// Likewise in the boards' workspace, for the host.
fn boards_cargo(registry: &Registry, arguments: &[&str]) -> Command {
    let mut command = cargo(registry.folder(), arguments);
    command.env("CARGO_TARGET_DIR", registry.target_dir());
    command
}

/// Everything that CI checks; with `all` the large networks, too.
pub(crate) fn test(steps: &mut Steps, all: bool) -> Result<(), Failure> {
    let registry = Registry::find()?;
    let root = registry.root();
    setup(steps)?;

    steps.step("formatting", || {
        run(&mut cargo(root, &["fmt", "--all", "--check"]))?;
        run(&mut cargo(registry.folder(), &["fmt", "--all", "--check"]))
    });
    steps.step("lints of the host's crates", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run(&mut cargo(root, &lints))?;
        let lints =
            [&["clippy", "--all-targets"], &HOST_SIDE[..], &["--", "-D", "warnings"]].concat();
        run(&mut boards_cargo(&registry, &lints))
    });
    lint_firmware(steps, &registry);
    cross(steps)?;
    steps.step("tests of the boards' host side", || {
        run(&mut boards_cargo(&registry, &[&["test"], &HOST_SIDE[..]].concat()))
    });
    steps.step("tests, those on emulated boards included", || {
        // One failure does not hide the next.
        let tests = ["test", "--workspace", "--no-fail-fast"];
        let large: &[&str] = if all { &["--", "--include-ignored"] } else { &[] };
        run(&mut cargo(root, &[&tests, large].concat()))
    });
    steps.step("what a build lacks it refuses", || {
        let mut alone = cargo(root, &["test", "--package", "brooklet-suite"]);
        run(alone.env("BROOKLET_ALONE", "1"))
    });
    steps.step("instructions and bytes on every board", crate::bench::bench);
    fuzz(steps, &registry);
    steps.step("documentation", || {
        let mut docs = cargo(root, &["doc", "--workspace", "--no-deps"]);
        run(docs.env("RUSTDOCFLAGS", "-D warnings"))?;
        let mut docs = boards_cargo(&registry, &[&["doc", "--no-deps"], &HOST_SIDE[..]].concat());
        run(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    Ok(())
}

/// Compilers for the boards' targets, and their emulators.
pub(crate) fn setup(steps: &mut Steps) -> Result<(), Failure> {
    let registry = Registry::find()?;
    for target in registry.targets() {
        steps.step(&format!("compiler for {target}"), || {
            let toolchain = Toolchain::ensure(target, &mut say)?;
            say(&toolchain.describe());
            Ok(())
        });
    }
    let mut emulators: Vec<_> = registry.boards().iter().collect();
    emulators.sort_by_key(|spec| &spec.qemu.binary);
    emulators.dedup_by_key(|spec| &spec.qemu.binary);
    for spec in emulators {
        steps.step(&format!("emulator {}", spec.qemu.binary), || {
            ensure_qemu(spec, &mut say)?;
            Ok(())
        });
    }
    Ok(())
}

/// Clippy on firmware, where the compiler that builds it has a Clippy.
fn lint_firmware(steps: &mut Steps, registry: &Registry) {
    for spec in registry.boards() {
        steps.step(&format!("lints of {}", spec.name), || {
            let toolchain = Toolchain::ensure(&spec.target, &mut say)?;
            if !toolchain.can_lint() {
                say("left out: Debian's compiler has no Clippy; the compiler's own lints ran");
            }
            let subcommand = if toolchain.can_lint() { "clippy" } else { "check" };
            for features in [&[][..], &["--features", "defmt"]] {
                let mut lints = toolchain.cargo(subcommand, &spec.target);
                lints
                    .args(features)
                    .current_dir(registry.folder().join(&spec.name))
                    .env("CARGO_TARGET_DIR", registry.target_dir());
                if toolchain.can_lint() {
                    lints.args(["--", "-D", "warnings"]);
                }
                run(&mut lints)?;
            }
            Ok(())
        });
    }
}

/// Builds all firmware, and proves that the runtime cannot panic.
pub(crate) fn cross(steps: &mut Steps) -> Result<(), Failure> {
    let registry = Registry::find()?;
    for spec in registry.boards() {
        steps.step(&format!("firmware for {}", spec.name), || {
            let sizes = size::firmware(&registry, spec, &mut say)?;
            let (taken, room) = (sizes.text_bytes + sizes.rodata_bytes, spec.firmware().bytes);
            say(&format!("{taken} of {room} bytes of flash"));
            Ok(())
        });
    }
    for (target, backend) in PROVEN {
        steps.step(&format!("no panic can be reached on {target}, {backend}"), || {
            for features in RUNTIMES.iter().map(|(_, features)| *features).chain([&["int16"][..]]) {
                let features = [&[backend], features].concat();
                match compile::runtime(&registry, target, &features, &mut say) {
                    Err(Error::Build { output, .. }) if output.contains(PANIC) => {
                        return Err(Failure(CAN_PANIC.into()));
                    }
                    built => built?,
                };
            }
            say("the runtime links without its panic handler");
            Ok(())
        });
    }
    // One is enough: it is the same program.
    let Some((target, backend)) = PROVEN.first() else { return Ok(()) };
    steps.step("a planted panic is found", || {
        match compile::runtime(&registry, target, &[backend, "planted-panic"], &mut say) {
            Err(Error::Build { output, .. }) if output.contains(PANIC) => Ok(()),
            Err(other) => Err(other.into()),
            Ok(_) => Err(Failure("error: a planted panic was not found".into())),
        }
    });
    Ok(())
}

/// A bounded run of the fuzz target, from the golden files: arbitrary model files are refused, or
/// run to their end. The coverage that guides it is the stable compiler's; sanitizers, which
/// are not, add nothing to code without `unsafe`.
fn fuzz(steps: &mut Steps, registry: &Registry) {
    steps.step("fuzzing, 20,000 inputs", || {
        let folder = registry.root().join("fuzz");
        let target = registry.target_dir().join("fuzz");
        let corpus = target.join("corpus");
        let failed = |error| Failure(format!("error: {}: {error}", corpus.display()));
        std::fs::create_dir_all(&corpus).map_err(failed)?;
        for golden in ["tiny.brook", "tiny-4.brook", "tiny-16.brook"] {
            let path = registry.root().join("tests/golden").join(golden);
            std::fs::copy(path, corpus.join(golden)).map_err(failed)?;
        }
        let coverage = [
            "--cfg=fuzzing",
            "-Cpasses=sancov-module",
            "-Cllvm-args=-sanitizer-coverage-level=4",
            "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
            "-Cllvm-args=-sanitizer-coverage-pc-table",
            "-Cllvm-args=-sanitizer-coverage-trace-compares",
        ];
        // With a target named, the flags are not for build scripts.
        let host = env!("XTASK_HOST");
        let mut build = cargo(&folder, &["build", "--release", "--target", host]);
        run(build.env("RUSTFLAGS", coverage.join(" ")).env("CARGO_TARGET_DIR", &target))?;
        let mut fuzzer = Command::new(target.join(host).join("release/model"));
        fuzzer.args(["-runs=20000", "-max_len=8192", "-seed=1", "-verbosity=0"]);
        // A crash leaves its input here.
        run(fuzzer.current_dir(&target).arg(&corpus))
    });
}

/// The runtime as networks need it: what it is called, and features of `boards/no-panic`.
const RUNTIMES: [(&str, &[&str]); 5] = [
    ("all", &["int4", "batch-norm"]),
    ("ResNet", &[]),
    ("direct", &["direct"]),
    ("built in", &["built-in"]),
    ("both", &["direct", "built-in"]),
];

/// What runtime and firmware take of each board's flash.
pub(crate) fn size() -> Result<(), Failure> {
    let registry = Registry::find()?;
    println!(
        "The runtime's code: all of it; without what a ResNet does not need (four bits, batch norms); \
         of this the kernels of `Direct`; for a model that is built in and was checked there; both.\n"
    );
    let cell = |cell: &dyn std::fmt::Display| print!("{cell:>10}");
    print!("{:<20}", "");
    RUNTIMES.iter().for_each(|(name, _)| cell(name));
    ["constants", "firmware", "of"].iter().for_each(|name| cell(name));
    println!();
    for spec in registry.boards() {
        print!("{:<20}", spec.name);
        for (_, features) in RUNTIMES {
            cell(&size::runtime(&registry, spec, features, &mut say)?.text_bytes);
        }
        cell(&size::runtime(&registry, spec, &[], &mut say)?.rodata_bytes);
        let firmware = size::firmware(&registry, spec, &mut say)?;
        cell(&(firmware.text_bytes + firmware.rodata_bytes));
        cell(&spec.firmware().bytes);
        println!();
    }
    let Some(spec) = registry.boards().first() else { return Ok(()) };
    println!("\nthe runtime's largest functions on {}:", spec.name);
    let runtime = size::runtime(&registry, spec, &[], &mut say)?;
    for function in runtime.functions.iter().take(12) {
        println!("{:>8}  {}", function.bytes, function.name);
    }
    Ok(())
}
