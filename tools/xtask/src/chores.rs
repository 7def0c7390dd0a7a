//! The chores, except for the demo, the benchmark, and what CI runs.

use std::collections::BTreeSet;

use brooklet::kernels::Isa;
use brooklet_firmware::{
    FirmwareError, Registry, Spec, Toolchain, apt, compile, ensure_emulator, size,
};

use crate::sizes::Sizes;
use crate::steps::{Failure, Lane, run_phases, say, step};

/// All features of the runtime. A proof with all of them also holds with fewer.
const UNION: [&str; 7] =
    ["weights-window", "int16", "maps", "operators", "self-test", "stream16", "sub-byte"];

/// The features with which firmware of a backend is built, so that the core is compiled once for
/// firmware and proof: all, but weights behind a driver only if a board has them there.
fn of_firmware(registry: &Registry, backend: &str) -> &'static [&'static str] {
    let behind_driver = |spec: &Spec| spec.backend == backend && spec.weights_window.is_some();
    if registry.boards().iter().any(behind_driver) { &UNION } else { &UNION[1..] }
}

/// The symbol that `boards/no-panic` leaves undefined.
const PANIC: &str = "the_runtime_can_panic";

/// The message if the linker reports that symbol.
const CAN_PANIC: &str = "\
error: the runtime can reach a panic
  help: a change since the last proof indexes, slices, divides, unwraps, expects, or collects into
        a heapless::Vec; `get`, `?` and a loop of `push` do not panic";

/// Installs the compilers and emulators that the boards need.
pub(crate) fn setup() -> Result<(), Failure> {
    let registry = Registry::find()?;
    run_phases(vec![vec![vec![compilers(&registry, true), emulators(&registry)]]], &[])
}

/// Sets up compilers for the targets of the boards that are built: all boards if `all`.
pub(crate) fn compilers(registry: &Registry, all: bool) -> crate::steps::Step<'_> {
    step("compilers", move || {
        let targets: BTreeSet<&str> = built(registry, all).map(|spec| &*spec.target).collect();
        for target in targets {
            let toolchain = Toolchain::ensure(target, &mut say)?;
            say(&format!("{target}: {}", toolchain.describe()));
        }
        Ok(())
    })
}

/// Installs the boards' emulators.
pub(crate) fn emulators(registry: &Registry) -> crate::steps::Step<'_> {
    step("emulators", || {
        let mut known = Vec::new();
        for spec in registry.boards().iter().filter(|spec| spec.is_emulated()) {
            let emulator = match (&spec.qemu, spec.emulator) {
                (Some(qemu), _) => qemu.binary.as_str(),
                (None, Some(emulator)) => emulator.runner.name(),
                (None, None) => continue,
            };
            if !known.contains(&emulator) {
                ensure_emulator(registry, spec, &mut say)?;
                say(emulator);
                known.push(emulator);
            }
        }
        Ok(())
    })
}

/// Installs LLVM's scheduling models, with which tests compare the timings of cores.
pub(crate) fn llvm() -> crate::steps::Step<'static> {
    step("llvm", || {
        if !apt::runs("llvm-mca-19", &["--version"]) {
            apt::install(&["llvm-19"], "timings of cores are compared with its models", &mut say)
                .map_err(|reason| Failure(format!("error: llvm-mca-19: {reason}")))?;
        }
        Ok(())
    })
}

/// Compiles the core for the pages of `brooklet report`, which embed it.
pub(crate) fn wasm() -> Result<(), Failure> {
    let registry = Registry::find()?;
    let module = compile::page(&registry, &mut say)?;
    let place = registry.root().join("tools/cli/src/report/page/core.wasm");
    let failed = |error: std::io::Error| Failure(format!("error: {}: {error}", place.display()));
    let bytes = std::fs::read(&module).map_err(failed)?;
    std::fs::write(&place, &bytes).map_err(failed)?;
    say(&format!("{}: {} bytes", place.display(), bytes.len()));
    Ok(())
}

/// Builds firmware, of all boards if `all`, and proves that the runtime cannot panic.
pub(crate) fn cross(all: bool) -> Result<(), Failure> {
    let registry = Registry::find()?;
    let prepare = vec![compilers(&registry, all)];
    run_phases(vec![vec![prepare], vec![builds(&registry, true, all)]], &[])
}

/// Builds the firmware of all boards, as one ELF file per board, in one folder.
pub(crate) fn firmware() -> Result<(), Failure> {
    let registry = Registry::find()?;
    let target = registry.target_dir();
    let folder = target.parent().unwrap_or(&target).join("firmware");
    let failed = |error: std::io::Error| Failure(format!("error: {}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for spec in registry.boards() {
        let elf = compile::firmware(&registry, spec, &[], &mut say)?;
        std::fs::copy(&elf, folder.join(format!("{}.elf", spec.name))).map_err(failed)?;
        say(&spec.name);
    }
    say(&format!("the files are in BROOKLET_FIRMWARE={}", folder.display()));
    Ok(())
}

/// The boards whose firmware is built: all of them if `all`.
pub(crate) fn built(registry: &Registry, all: bool) -> impl Iterator<Item = &Spec> {
    registry.boards().iter().filter(move |spec| all || !spec.only_in_all)
}

/// Builds the firmware of the boards that CI builds, or of all boards if `all`. Then it proves that
/// the runtime cannot panic: with the features of firmware, and if `each`, also with all of them and
/// in every form that a network may need.
pub(crate) fn builds(registry: &Registry, each: bool, all: bool) -> Lane<'_> {
    vec![
        step("firmware", move || {
            let mut golden = Sizes::read(registry)?;
            for spec in built(registry, all) {
                let sizes = size::firmware(registry, spec, &mut say)?;
                let (taken, room) = (sizes.text_bytes + sizes.rodata_bytes, spec.firmware().bytes);
                say(&format!("{}: {taken} of {room} bytes of flash", spec.name));
                golden.compare(&spec.name, taken);
            }
            golden.end()
        }),
        step("no-panic", move || {
            for Isa { name: backend, target, .. } in Isa::DEVICES {
                let Some(target) = target else { continue };
                let forms = RUNTIMES.iter().map(|(_, features)| *features).chain([&UNION[..]]);
                for features in forms.filter(|_| each).chain([of_firmware(registry, backend)]) {
                    let features = [&[backend], features].concat();
                    match compile::runtime(registry, target, &features, &mut say) {
                        Err(FirmwareError::Build { output, .. }) if output.contains(PANIC) => {
                            return Err(Failure(CAN_PANIC.into()));
                        }
                        built => built?,
                    };
                }
                say(&format!("no panic can be reached on {target}, {backend}"));
            }
            // Shows once that the proof would find a panic. It works in the same way for other programs.
            let Isa { name: backend, target, .. } = Isa::ARMV6M;
            let target = target.unwrap_or_default();
            let planted = [&[backend, "planted-panic"], of_firmware(registry, backend)].concat();
            match compile::runtime(registry, target, &planted, &mut say) {
                Err(FirmwareError::Build { output, .. }) if output.contains(PANIC) => Ok(()),
                Err(other) => Err(other.into()),
                Ok(_) => Err(Failure("error: a planted panic was not found".into())),
            }
        }),
    ]
}

/// The runtime in the forms that networks need: name, and features of `boards/no-panic`.
const RUNTIMES: [(&str, &[&str]); 6] = [
    ("all", &["sub-byte", "operators"]),
    ("few bits", &["sub-byte", "batch-norm"]),
    ("ResNet", &[]),
    ("direct", &["direct"]),
    ("built in", &["built-in"]),
    ("both", &["direct", "built-in"]),
];

/// Prints the flash that runtime and firmware take on each board.
pub(crate) fn size() -> Result<(), Failure> {
    let registry = Registry::find()?;
    println!(
        "Code size of the runtime: with all features; with weights in three to six bits and batch norms; \
         with only what a ResNet needs; the same with the kernels of `Direct`; the same for a model that \
         is built in and was checked at build time; with both.\n"
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
