//! Memory map, constants and linker arguments, all from `board.toml`; and the differences of this
//! chip's `riscv-rt` from that of other boards.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    board_build::generate();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("run by cargo"));
    fs::write(out.join("names.x"), "__estack = _estack;\n").expect("OUT_DIR can be written");
    println!("cargo:rustc-link-arg-bins=-Tnames.x");
    // Default handlers for interrupts that the firmware does not handle.
    println!("cargo:rustc-link-arg-bins=-Tdevice.x");
}
