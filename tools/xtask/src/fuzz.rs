//! Runs the fuzz targets for a bounded number of inputs. `fuzz/README.md` describes them and their results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_firmware::Registry;

use crate::mutants::failed;
use crate::steps::{Failure, run};

/// The fuzz targets, with the number of inputs in a short run of each, and the largest input.
const TARGETS: [(&str, u32, u32); 6] = [
    ("model", 10_000, 8192),
    ("network", 8_000, 4096),
    ("image", 4_000, 4096),
    ("array", 8_000, 4096),
    ("ranges", 20_000, 4096),
    ("frames", 100_000, 1024),
];

/// Runs each fuzz target for a bounded number of inputs, from the seeds and golden files.
///
/// The stable compiler measures the coverage that guides them. Sanitizers are not stable, and would
/// find nothing more in code without `unsafe`.
pub(crate) fn fuzz(registry: &Registry) -> Result<(), Failure> {
    let folder = registry.root().join("fuzz");
    let target = registry.target_dir().join("fuzz");
    let coverage = [
        "--cfg=fuzzing",
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
    ];
    // With a target named, the flags do not apply to build scripts.
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--target", HOST]).current_dir(&folder);
    run(build.env("RUSTFLAGS", coverage.join(" ")).env("CARGO_TARGET_DIR", &target))?;
    // The next target runs even if one fails.
    let mut outcome = Ok(());
    for (name, runs, longest) in TARGETS {
        let corpus = target.join("corpus").join(name);
        gather(registry.root(), name, &corpus)?;
        let mut fuzzer = Command::new(target.join(HOST).join("release").join(name));
        fuzzer.args(["-seed=1", "-verbosity=0", "-timeout=10", "-rss_limit_mb=2048"]);
        fuzzer.args([format!("-runs={runs}"), format!("-max_len={longest}")]);
        // A crash leaves its input in the current folder.
        outcome = outcome.and(run(fuzzer.current_dir(&target).arg(&corpus)));
    }
    outcome
}

/// The target of this computer.
const HOST: &str = env!("XTASK_HOST");

/// Copies the seeds and golden files into the corpus of a target.
fn gather(root: &Path, target: &str, corpus: &Path) -> Result<(), Failure> {
    fs::create_dir_all(corpus).map_err(|error| failed(corpus, &error))?;
    let mut folders: Vec<PathBuf> = vec![root.join("fuzz/seeds").join(target)];
    if target == "model" {
        folders.push(root.join("tests/golden"));
    }
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let entries = folder.read_dir().map_err(|error| failed(folder, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| failed(folder, &error))?.path();
            if path.is_file()
                && path
                    .extension()
                    .is_none_or(|extension| extension != "json" || target == "ranges")
            {
                let to = corpus.join(path.file_name().unwrap_or_default());
                fs::copy(&path, to).map_err(|error| failed(&path, &error))?;
            }
        }
    }
    Ok(())
}
