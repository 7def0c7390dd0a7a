//! Finds a compiler for a board's target.
//!
//! There are three ways, which are tried in this order:
//!
//! 1. The installed Rust has the target: nothing to do.
//! 2. rustup adds it.
//! 3. If rustup cannot download it: Debian's packages rustc-web, cargo-web and rust-web-src. These
//!    contain the source of `core`, which cargo then builds itself; the linker is rustup's rust-lld,
//!    or Debian's lld.
//!
//! `BROOKLET_TOOLCHAIN=debian` chooses the third way.
//!
//! A target with an operating system, such as 32-bit Linux for tests that run here, is set up in
//! the same ways. In the third way `std` is built, too, and Debian's gcc-multilib has the C library
//! to link with.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::{FirmwareError, Report, apt};

/// How to compile for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The installed Rust can do it.
    Installed,
    /// Debian's compiler, which builds `core` itself, and a linker from elsewhere.
    Debian {
        /// LLVM's linker.
        linker: PathBuf,
    },
}

/// Debian's compiler is called by its path, since rustup's usually comes first in `PATH`.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

impl Toolchain {
    /// A toolchain for `target`, which is set up if needed.
    ///
    /// The result is remembered.
    pub fn ensure(target: &str, report: Report<'_>) -> Result<Self, FirmwareError> {
        static KNOWN: Mutex<Option<HashMap<String, Toolchain>>> = Mutex::new(None);
        let known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Some(toolchain) = known.as_ref().and_then(|known| known.get(target)) {
            return Ok(toolchain.clone());
        }
        let toolchain = Self::set_up(target, report)?;
        if !is_bare(target) && !links(target) {
            let reason = apt::install(&["gcc-multilib"], "a C library for 32 bits", report);
            if let Some(reason) = reason
                .err()
                .or_else(|| (!links(target)).then(|| "cc still cannot link for 32 bits".to_owned()))
            {
                let program = "cc -m32".to_owned();
                return Err(FirmwareError::NoProgram {
                    program,
                    packages: "gcc-multilib".into(),
                    reason,
                });
            }
        }
        let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.get_or_insert_default().insert(target.to_owned(), toolchain.clone());
        Ok(toolchain)
    }

    fn set_up(target: &str, report: Report<'_>) -> Result<Self, FirmwareError> {
        let mut tried = Vec::new();
        if env::var_os("BROOKLET_TOOLCHAIN").is_none_or(|wanted| wanted != "debian") {
            if has_core("rustc", target) {
                return Ok(Self::Installed);
            }
            report(&format!("adding the target {target} with rustup"));
            match Command::new("rustup").args(["target", "add", target]).output() {
                Ok(output) if output.status.success() && has_core("rustc", target) => {
                    return Ok(Self::Installed);
                }
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    tried.push(format!("rustup: {}", crate::compile::tail(&said, 2)));
                }
                Err(error) => tried.push(format!("rustup: {error}")),
            }
            report("rustup cannot provide it: falling back on Debian's Rust compiler");
        }
        Self::debian(report).map_err(|reason| {
            tried.push(format!("Debian's rustc-web: {reason}"));
            FirmwareError::NoToolchain { target: target.to_owned(), reason: tried.join("; ") }
        })
    }

    fn debian(report: Report<'_>) -> Result<Self, String> {
        let complete = || {
            Path::new(DEBIAN_CARGO).exists()
                && sysroot(DEBIAN_RUSTC)
                    .is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").exists())
        };
        if !complete() {
            apt::install(&DEBIAN_PACKAGES, "a Rust compiler that can build `core`", report)?;
            if !complete() {
                return Err(format!("{DEBIAN_RUSTC} still lacks the source of `core`"));
            }
        }
        if let Some(linker) = rust_lld() {
            return Ok(Self::Debian { linker });
        }
        let lld = PathBuf::from("/usr/bin/ld.lld");
        if !lld.exists() {
            apt::install(&["lld"], "a linker for firmware", report)?;
        }
        if lld.exists() { Ok(Self::Debian { linker: lld }) } else { Err("no linker".into()) }
    }

    /// `cargo SUBCOMMAND --target TARGET`, to run in a crate's own folder.
    pub fn cargo(&self, subcommand: &str, target: &str) -> Command {
        let mut command = match self {
            Self::Installed => {
                let mut command = Command::new("cargo");
                // Unstable features of a test run must not cause everything to be rebuilt.
                command.arg(subcommand).env_remove("RUSTC_BOOTSTRAP");
                command
            }
            Self::Debian { linker } => {
                let mut command = Command::new(DEBIAN_CARGO);
                let library = if is_bare(target) { "core" } else { "std,panic_unwind" };
                command.args([subcommand, &format!("-Zbuild-std={library}")]);
                // Building `core` is an unstable feature, which works well with this compiler.
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
                command.env_remove("RUSTUP_TOOLCHAIN");
                if is_bare(target) {
                    let name = target.to_uppercase().replace(['-', '.'], "_");
                    command.env(format!("CARGO_TARGET_{name}_LINKER"), linker);
                }
                command
            }
        };
        // Settings of cargo or clippy for this program are not meant for the firmware.
        command.env_remove("CARGO_BUILD_TARGET").env_remove("RUSTC_WORKSPACE_WRAPPER");
        command.args(["--target", target]);
        command
    }

    /// Whether it can lint, too: Debian's compiler has no Clippy of its version.
    pub fn can_lint(&self) -> bool {
        *self == Self::Installed
    }

    /// A description for people.
    pub fn describe(&self) -> String {
        let (rustc, way) = match self {
            Self::Installed => ("rustc", ""),
            Self::Debian { .. } => (DEBIAN_RUSTC, ", building `core` (Debian)"),
        };
        let version = Command::new(rustc).arg("--version").output().ok();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        format!("{}{way}", version.unwrap_or_else(|| rustc.to_owned()))
    }
}

/// Whether the target has no operating system.
fn is_bare(target: &str) -> bool {
    target.contains("-none-")
}

/// Whether programs for that target, with an operating system like this one's, can be linked here.
fn links(target: &str) -> bool {
    let bits = if target.starts_with("i686-") { "-m32" } else { "-m64" };
    let mut cc = Command::new("cc");
    cc.args([bits, "-shared", "-o", "/dev/null", "-x", "c", "/dev/null", "-lgcc_s"]);
    cc.output().is_ok_and(|output| output.status.success())
}

/// Whether this compiler has `core` for `target`.
fn has_core(rustc: &str, target: &str) -> bool {
    let output =
        Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    let Ok(output) = output else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    folder.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// The linker that comes with rustup's compiler.
fn rust_lld() -> Option<PathBuf> {
    let rustlib = sysroot("rustc")?.join("lib/rustlib");
    let hosts = rustlib.read_dir().ok()?;
    hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|lld| lld.exists())
}
