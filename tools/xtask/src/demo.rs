//! The demo: from a trained network to the same bytes on three machines.
//!
//! It only runs commands of the `brooklet` program, as a user would type them.

use std::path::Path;
use std::process::Command;

use brooklet_firmware::{Registry, Toolchain, ensure_emulator};

use crate::steps::{Failure, run, say};

/// The boards it runs on.
const BOARDS: [&str; 2] = ["qemu-mps2-an386", "qemu-riscv-virt"];

fn show(root: &Path, brooklet: &Path) -> Result<(), Failure> {
    let demo = root.join("tools/demo");
    let (network, ranges, photo) =
        (demo.join("resnet20.safetensors"), demo.join("ranges.json"), demo.join("chelsea.png"));
    let model = root.join("target/demo.brook");
    let call = |words: &[&str]| {
        let mut command = Command::new(brooklet);
        command.args(words).current_dir(root);
        command
    };

    heading("a trained ResNet-20, quantized to int8");
    let mut quantize = call(&["quantize", "--arch", "resnet20", "--resize", "32", "--crop", "32"]);
    quantize.args(["--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616"]);
    run(quantize.arg(&network).arg("--ranges").arg(&ranges).arg("-o").arg(&model))?;
    heading("the result: size, memory plan");
    run(call(&["inspect"]).arg(&model))?;
    heading("a photo, classified by the simulator on this computer");
    run(call(&["run"]).arg(&model).arg(&photo))?;
    for board in BOARDS {
        heading(&format!("the same file on {board}: are its logits the same bytes?"));
        let mut flash = call(&["flash", "--board", board, "--check"]);
        run(flash.arg(&model).arg("--run").arg(&photo))?;
    }
    Ok(())
}

/// Sets up, builds the program, and runs the demo.
pub(crate) fn demo() -> Result<(), Failure> {
    let registry = Registry::find()?;
    heading("set-up");
    for name in BOARDS {
        let spec = registry.board(name)?;
        say(&format!("{}: {}", spec.target, Toolchain::ensure(&spec.target, &mut say)?.describe()));
        ensure_emulator(&registry, spec, &mut say)?;
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--package", "brooklet-cli"]).current_dir(registry.root());
    run(&mut build)?;
    // Firmware is built in a folder within the host's target folder.
    let target = registry.target_dir();
    let brooklet = target.parent().unwrap_or(&target).join("debug/brooklet");
    show(registry.root(), &brooklet)
}

fn heading(text: &str) {
    println!("\n── {text}");
}
