//! Runs the core under Miri, an interpreter that finds undefined behaviour.

use std::process::Command;

use brooklet_firmware::Registry;

use crate::steps::{Failure, run};

/// Parts of the names of the tests that Miri runs. It is thousands of times slower than a
/// processor, so whole networks would take too long.
const TESTS: [&str; 6] = [
    "logits::tests",
    "rows::tests::",
    "packing::tests",
    "softmax::tests::equal",
    "quant::tests::high",
    "quant::tests::shift",
];

/// Runs unit tests of the core that cut rows out of the arena, read words and unpack weights.
///
/// Installs a nightly compiler with Miri.
pub(crate) fn miri() -> Result<(), Failure> {
    let registry = Registry::find()?;
    let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
    run(Command::new("rustup").args(install).args(["--component", "miri,rust-src"]))?;
    let target = registry.target_dir().join("miri");
    let mut miri = Command::new("rustup");
    miri.args(["run", "nightly", "cargo", "miri", "test", "--package", "brooklet", "--lib"]);
    miri.args(["--features", "int16,operators,self-test,sub-byte"]);
    miri.arg("--").args(TESTS).args(["--skip", "verify::"]).current_dir(registry.root());
    // Checks that addresses are only derived from pointers.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-strict-provenance");
    run(miri.env("CARGO_TARGET_DIR", &target))
}
