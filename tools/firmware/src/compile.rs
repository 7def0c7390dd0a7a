//! Builds firmware: each board in its own folder, all in one target directory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use board_build::{LIMITS, Spec};
use wait4::Wait4;

use crate::{FirmwareError, Registry, Report, Toolchain};

/// The feature for firmware that runs convolutions on both cores; boards with a `second_core` have
/// it.
pub const TWO_CORES: &str = "two-cores";

/// Builds a board's firmware: for the board itself, or for one that has
/// [less RAM](Spec::limited). Returns its ELF file.
pub fn firmware(
    registry: &Registry,
    spec: &Spec,
    features: &[&str],
    report: Report<'_>,
) -> Result<PathBuf, FirmwareError> {
    let full = registry.board(&spec.name)?;
    let limits = [spec.ram.bytes, spec.arena_bytes];
    let limits = ([full.ram.bytes, full.arena_bytes] != limits).then_some(limits);
    if !registry.is_checkout() {
        let prebuilt = registry.prebuilt(spec).filter(|_| limits.is_none() && features.is_empty());
        return prebuilt.ok_or(FirmwareError::NoCheckout);
    }
    let limits: Vec<_> = LIMITS.into_iter().zip(limits.into_iter().flatten()).collect();
    let limits: Vec<_> =
        limits.into_iter().map(|(name, bytes)| (name, bytes.to_string())).collect();
    crate_for(registry, &spec.name, &spec.target, features, &limits, report)
}

/// Builds firmware of a board that takes models over its link, signed for this public key of 64
/// hexadecimal digits.
///
/// Returns its ELF file.
pub fn firmware_with_slots(
    registry: &Registry,
    spec: &Spec,
    public_key: &str,
    report: Report<'_>,
) -> Result<PathBuf, FirmwareError> {
    let key = [("BROOKLET_PUBLIC_KEY", public_key.to_owned())];
    crate_for(registry, &spec.name, &spec.target, &["updates"], &key, report)
}

/// Builds the runtime alone (`boards/no-panic`), which links only if it cannot panic.
///
/// Returns its ELF file.
pub fn runtime(
    registry: &Registry,
    target: &str,
    features: &[&str],
    report: Report<'_>,
) -> Result<PathBuf, FirmwareError> {
    crate_for(registry, "no-panic", target, features, &[], report)
}

/// The target of [`page`].
pub const PAGE_TARGET: &str = "wasm32v1-none";

/// Builds the core for web pages (`boards/page`), optimized for speed and stripped.
///
/// Returns the WebAssembly module.
pub fn page(registry: &Registry, report: Report<'_>) -> Result<PathBuf, FirmwareError> {
    let profile =
        [("CARGO_PROFILE_RELEASE_STRIP", "true"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")];
    let profile = profile.map(|(name, value)| (name, value.to_owned()));
    let program = crate_for(registry, "page", PAGE_TARGET, &[], &profile, report)?;
    Ok(program.with_extension("wasm"))
}

/// Builds the plugin that counts in QEMU (`tools/plugin`) for this computer.
///
/// Returns the library.
pub fn plugin(registry: &Registry) -> Result<PathBuf, FirmwareError> {
    registry.checkout()?;
    let folder = registry.target_dir().join("plugin");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--package", "brooklet-plugin"])
        .current_dir(registry.root())
        .env("CARGO_TARGET_DIR", &folder)
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_BOOTSTRAP");
    let output = run(&mut command)?;
    if !output.0 {
        return Err(FirmwareError::Build {
            what: "brooklet-plugin".to_owned(),
            target: "this computer".to_owned(),
            output: tail(&output.1, 40),
        });
    }
    let name = format!("{DLL_PREFIX}brooklet_plugin{DLL_SUFFIX}");
    Ok(folder.join("release").join(name))
}

/// Builds the crate in `boards/NAME`, whose program has the same name: once per process, during
/// which its source does not change.
fn crate_for(
    registry: &Registry,
    name: &str,
    target: &str,
    features: &[&str],
    environment: &[(&'static str, String)],
    report: Report<'_>,
) -> Result<PathBuf, FirmwareError> {
    type Key = (PathBuf, String, String, Vec<(&'static str, String)>);
    static BUILT: Mutex<BTreeMap<Key, PathBuf>> = Mutex::new(BTreeMap::new());
    let built = || BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let key = (
        registry.checkout()?.join(name),
        target.to_owned(),
        features.join(","),
        environment.to_vec(),
    );
    if let Some(program) = built().get(&key) {
        return Ok(program.clone());
    }
    let program = build(registry, name, target, features, environment, report)?;
    built().insert(key, program.clone());
    Ok(program)
}

fn build(
    registry: &Registry,
    name: &str,
    target: &str,
    features: &[&str],
    environment: &[(&'static str, String)],
    report: Report<'_>,
) -> Result<PathBuf, FirmwareError> {
    let toolchain = Toolchain::ensure(target, report)?;
    // Firmware with other features, limits or keys is another program, and gets a folder of its own
    // so that the programs do not overwrite each other. Dependencies are built once for all; with
    // other limits or keys only the board's own crate is built again.
    let mut folder = registry.target_dir();
    for feature in features {
        folder = folder.join(feature);
    }
    if !environment.is_empty() {
        let values: Vec<&str> = environment.iter().map(|(_, value)| value.as_str()).collect();
        folder = folder.join(values.join("-"));
    }
    let mut command = toolchain.cargo("build", target);
    command
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .args(["--release", "--features", &features.join(",")])
        .current_dir(registry.folder().join(name))
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_BUILD_BUILD_DIR", registry.target_dir());
    let output = run(&mut command)?;
    if !output.0 {
        return Err(FirmwareError::Build {
            what: name.to_owned(),
            target: target.to_owned(),
            output: tail(&output.1, 40),
        });
    }
    Ok(folder.join(target).join("release").join(name))
}

thread_local! {
    /// Processor time of the commands that this thread has run.
    static CPU_TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The processor time of all builds that this thread has requested.
pub fn cpu_time() -> Duration {
    CPU_TIME.get()
}

/// Runs a command without showing its output.
///
/// Returns whether it succeeded, and the output.
pub(crate) fn run(command: &mut Command) -> Result<(bool, String), FirmwareError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| FirmwareError::Run { program, source };
    let (mut said, quiet) = (Vec::new(), || Stdio::null());
    let spawned = command.stdin(quiet()).stdout(quiet()).stderr(Stdio::piped()).spawn();
    let ended = spawned.and_then(|mut child| {
        if let Some(mut errors) = child.stderr.take() {
            errors.read_to_end(&mut said)?;
        }
        child.wait4()
    });
    let ended = ended.map_err(failed)?;
    CPU_TIME.set(CPU_TIME.get() + ended.rusage.utime + ended.rusage.stime);
    Ok((ended.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
