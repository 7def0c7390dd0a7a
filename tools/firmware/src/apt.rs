//! Installs Debian packages that a fresh machine lacks.
//!
//! Only chores of the checkout do so.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::Report;

/// Whether this program may install packages.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Allows this program to install packages, with apt-get, and with sudo if it is not root.
///
/// Only chores of the checkout call it, never the command.
pub fn allow() {
    ALLOWED.store(true, Relaxed);
}

/// Installs `packages` with apt-get, and reports what it installs and why.
///
/// The error contains apt's message.
pub fn install(packages: &[&str], why: &str, report: Report<'_>) -> Result<(), String> {
    if !ALLOWED.load(Relaxed) {
        return Err(
            "this program does not install packages; in a checkout, `cargo xtask setup` does"
                .into(),
        );
    }
    if !runs("apt-get", &["--version"]) {
        return Err("there is no apt-get to install it with".into());
    }
    update(report)?;
    report(&format!("installing {} with apt-get: {why}", packages.join(", ")));
    let first = apt(&[&["install", "--no-install-recommends"], packages].concat());
    let Err(first) = first else { return Ok(()) };

    // QEMU's packages must have the same version. If a newer qemu-utils comes from elsewhere (such
    // as backports), it must be replaced by the version that belongs to the emulator.
    let qemu = packages.iter().find(|package| package.starts_with("qemu-system"));
    let Some(version) = qemu.and_then(|package| candidate(package)) else { return Err(first) };
    let utils = format!("qemu-utils={version}");
    report(&format!("that conflicts with the installed qemu-utils: trying again with {utils}"));
    let second = ["install", "--no-install-recommends", "--allow-downgrades", &utils];
    apt(&[&second, packages].concat())
}

/// Updates apt's lists, once per run of this program.
fn update(report: Report<'_>) -> Result<(), String> {
    static UPDATED: OnceLock<Result<(), String>> = OnceLock::new();
    UPDATED
        .get_or_init(|| {
            report("updating apt's package lists");
            apt(&["update"])
        })
        .clone()
}

/// The version of a package that apt would install.
fn candidate(package: &str) -> Option<String> {
    let output =
        Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output().ok()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = output.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Runs apt-get, as root or with sudo. The error is the end of its output.
fn apt(arguments: &[&str]) -> Result<(), String> {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let mut command = if is_root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    let output = command
        .args(["--quiet=2", "--yes"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::inherit()) // sudo may ask for a password
        .output()
        .map_err(|error| format!("apt-get could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(crate::compile::tail(&said, 6))
}

/// Whether this program exists and runs.
pub fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_leave_nothing_is_installed() {
        let mut said = Vec::new();
        let error = install(&["hello"], "", &mut |line| said.push(line.to_owned())).unwrap_err();
        assert!(error.contains("cargo xtask setup") && said.is_empty(), "{error} {said:?}");
    }
}
