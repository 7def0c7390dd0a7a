//! The core under Miri, an interpreter that finds undefined behaviour.

use std::process::Command;

use brooklet_firmware::Registry;

use crate::steps::{Failure, run};

/// What Miri runs: a test target, and names that its tests contain. Miri is thousands of times
/// slower than a processor, so these are the tests that look at every kind of access once.
const RUNS: [(&[&str], &[&str]); 2] = [
    (
        &["--lib"],
        &["logits", "rows", "format::packing", "quant::tests::high", "quant::tests::shift"],
    ),
    (&["--test", "it"], &["worked_example", "under_an_interpreter"]),
];

/// Runs what of the core Miri can: the format, checks, the schedule, the portable kernels, and the
/// glue of the x86-64 kernels. Installs a nightly compiler with Miri.
pub(crate) fn miri() -> Result<(), Failure> {
    let registry = Registry::find()?;
    let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
    run(Command::new("rustup").args(install).args(["--component", "miri,rust-src"]))?;
    let target = registry.target_dir().join("miri");
    for (tests, names) in RUNS {
        let mut miri = Command::new("rustup");
        miri.args(["run", "nightly", "cargo", "miri", "test", "--package", "brooklet"]);
        miri.args(["--features", "int4,int16,batch-norm,self-test,x86_64"]);
        miri.args(tests).arg("--").args(names).current_dir(registry.root());
        // Files are read; and addresses are made of pointers alone.
        miri.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-strict-provenance");
        miri.env("RUSTFLAGS", "-Ctarget-feature=+avx2");
        run(miri.env("CARGO_TARGET_DIR", &target))?;
    }
    Ok(())
}
