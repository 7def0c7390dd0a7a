//! Judges mutants with 64 bits and with 32; `tests/mutants` describes them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use brooklet_firmware::{Registry, Toolchain};

use crate::steps::{Failure, run, say};

/// Number of mutants in the maintainers' run.
pub(crate) const MUTANTS: u64 = 200_000;

/// A 32-bit target whose programs run here.
const NARROW: &str = "i686-unknown-linux-gnu";

/// Judges mutants, and lets a 32-bit build judge the same mutants: all verdicts must be equal.
pub(crate) fn judge(count: u64) -> Result<(), Failure> {
    let registry = Registry::find()?;
    let (root, target) = (registry.root(), registry.target_dir().join("mutants"));
    fs::create_dir_all(&target).map_err(|error| failed(&target, &error))?;
    let build = |mut cargo: Command| {
        cargo.args(["--package", "brooklet-mutants"]).current_dir(root);
        run(cargo.env("CARGO_TARGET_DIR", &target))
    };
    let mut cargo = Command::new("cargo");
    cargo.arg("build");
    build(cargo)?;
    let toolchain = Toolchain::ensure(NARROW, &mut say)?;
    say(&toolchain.describe());
    let mut cargo = toolchain.cargo("build", NARROW);
    cargo.arg("--no-default-features");
    build(cargo)?;

    let [wide, narrow] =
        [target.clone(), target.join(NARROW)].map(|path| path.join("debug/brooklet-mutants"));
    let [of_wide, of_narrow] = ["64", "32"].map(|bits| target.join(format!("verdicts-{bits}.txt")));
    let count = count.to_string();
    let judged = run(Command::new(&wide).args(["run", "0", &count]).arg(&of_wide));
    let judged = judged.map_err(|failure| died(&failure, &of_wide));

    let mut makes = Command::new(&wide)
        .args(["make", "0", &count])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&wide, &error))?;
    println!("$ {} make 0 {count} | {} judge 0", wide.display(), narrow.display());
    let made = makes.stdout.take().map_or(Stdio::null(), Stdio::from);
    let status = Command::new(&narrow).args(["judge", "0"]).arg(&of_narrow).stdin(made).status();
    let status = status.map_err(|error| failed(&narrow, &error))?;
    let made = makes.wait().map_err(|error| failed(&wide, &error))?;
    compare(&of_wide, &of_narrow)?;
    judged?;
    if status.success() && made.success() {
        Ok(())
    } else {
        let failure = Failure(format!("error: the build for 32 bits: {status}, {made}"));
        Err(died(&failure, &of_narrow))
    }
}

/// The error of a judge that failed. The judge names the mutant, unless it crashed.
fn died(Failure(failure): &Failure, verdicts: &Path) -> Failure {
    Failure(format!(
        "{failure}\n  help: mutants are named above; if none is, it is the one after the \
         last in {}, and `brooklet-mutants dump NUMBER FILE` writes it",
        verdicts.display()
    ))
}

pub(crate) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("error: {}: {error}", path.display()))
}

/// Fails if verdicts differ.
fn compare(wide: &Path, narrow: &Path) -> Result<(), Failure> {
    let lines = |path: &Path| -> Result<Vec<String>, Failure> {
        let file = File::open(path).map_err(|error| failed(path, &error))?;
        BufReader::new(file).lines().collect::<Result<_, _>>().map_err(|error| failed(path, &error))
    };
    let [wide, narrow] = [lines(wide)?, lines(narrow)?];
    let differ = || wide.iter().zip(&narrow).filter(|(wide, narrow)| wide != narrow);
    let count = differ().count() + wide.len().abs_diff(narrow.len());
    say(&format!("{} verdicts of 64 bits, {} of 32; {count} differ", wide.len(), narrow.len()));
    for (wide, narrow) in differ().take(20) {
        say(&format!("64 bits: {wide}; 32 bits: {narrow}"));
    }
    if count == 0 { Ok(()) } else { Err(Failure(format!("error: {count} verdicts differ"))) }
}
