//! Builds the examples for authors of firmware (`boards/examples`) for two targets, runs them in QEMU, and
//! compares what they print with the text beside each example.

use std::fs;
use std::path::Path;
use std::time::Duration;

use brooklet_firmware::monitor::Lines;
use brooklet_firmware::{Registry, Spec, Toolchain, ensure_emulator};

use crate::steps::{Failure, run, say};

/// The boards whose memory map, kernels and emulator the examples use.
pub(crate) const BOARDS: [&str; 2] = ["qemu-mps2-an386", "qemu-riscv-virt"];

/// How long an example may print nothing. The examples print within milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds and runs all examples. With `BROOKLET_BLESS` it writes the expected texts again, with the same
/// number of lines.
pub(crate) fn examples(registry: &Registry) -> Result<(), Failure> {
    let folder = registry.folder().join("examples");
    let programs = programs(&folder.join("src/bin"))?;
    for board in BOARDS {
        let spec = registry.board(board)?;
        let mut build = Toolchain::ensure(&spec.target, &mut say)?.cargo("build", &spec.target);
        build.args(["--release", "--bins"]).current_dir(&folder);
        run(build.env("CARGO_TARGET_DIR", registry.target_dir()))?;
        ensure_emulator(registry, spec, &mut say)?;
        let spec = with_model(spec, &folder);
        let built = registry.target_dir().join(&spec.target).join("release");
        for (name, text) in &programs {
            compare(registry, &spec, &built.join(name), text)?;
        }
        say(&format!("{} examples print what they should on {board}", programs.len()));
    }
    Ok(())
}

/// The names of the examples, and the texts that they must print.
fn programs(folder: &Path) -> Result<Vec<(String, std::path::PathBuf)>, Failure> {
    let failed = |error: std::io::Error| Failure(format!("error: {}: {error}", folder.display()));
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            programs.push((name, path.with_extension("txt")));
        }
    }
    programs.sort();
    Ok(programs)
}

/// The board, with a model in the memory that stands for an SPI flash.
fn with_model(spec: &Spec, folder: &Path) -> Spec {
    let mut spec = spec.clone();
    let model = folder.join("models").join(&spec.backend).join("net.brook");
    let place = format!("addr={:#x},force-raw=on", spec.slot.address);
    if let Some(qemu) = &mut spec.qemu {
        let loader =
            format!("loader,file={},{place}", model.display().to_string().replace(',', ",,"));
        qemu.args.extend(["-device".to_owned(), loader]);
    }
    spec
}

/// Runs an example until it has printed the expected number of lines.
fn compare(registry: &Registry, spec: &Spec, program: &Path, text: &Path) -> Result<(), Failure> {
    let expected = fs::read_to_string(text)
        .map_err(|error| Failure(format!("error: {}: {error}", text.display())))?;
    let lines = Lines::of_emulator(registry, spec, program, &mut say)?.patient_for(PATIENCE);
    let said: String =
        lines.take(expected.lines().count()).flat_map(|line| [line, "\n".to_owned()]).collect();
    if said == expected {
        return Ok(());
    }
    if std::env::var_os("BROOKLET_BLESS").is_some() {
        return fs::write(text, said)
            .map_err(|error| Failure(format!("error: {}: {error}", text.display())));
    }
    Err(Failure(format!(
        "error: on {}, {} prints\n{said}\n  help: expected is {}; if the new text is right, BROOKLET_BLESS=1 \
         cargo xtask test examples writes it",
        spec.name,
        program.display(),
        text.display()
    )))
}
