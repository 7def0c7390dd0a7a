//! Takes the models that are packed for the target's kernels, and tells the linker where memory is.

use std::path::{Path, PathBuf};
use std::{env, fs};

use board_build::Spec;

/// The board of a target, on which QEMU runs the examples.
const BOARDS: [&str; 2] = ["qemu-mps2-an386", "qemu-riscv-virt"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("run by cargo"));
    let target = env::var("TARGET").expect("run by cargo");
    let spec = BOARDS
        .map(|board| Path::new("..").join(board).join("board.toml"))
        .into_iter()
        .map(|path| {
            println!("cargo::rerun-if-changed={}", path.display());
            Spec::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .find(|spec| spec.target == target)
        .unwrap_or_else(|| panic!("there are no models here for {target}"));
    for model in ["net.brook", "second.brook"] {
        let path = Path::new("models").join(&spec.backend).join(model);
        println!("cargo::rerun-if-changed={}", path.display());
        fs::copy(&path, out.join(model))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    fs::write(out.join("memory.x"), spec.memory_x()).expect("OUT_DIR can be written");
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
}
