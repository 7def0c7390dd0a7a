//! Memory map, constants and linker arguments, all from `board.toml`; and what this chip's `riscv-rt`
//! has in another way than that of other boards.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    board_build::generate();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("run by cargo"));
    fs::write(out.join("names.x"), "__estack = _estack;\n").expect("OUT_DIR can be written");
    println!("cargo:rustc-link-arg-bins=-Tnames.x");
    // Handlers of interrupts that the firmware has not.
    println!("cargo:rustc-link-arg-bins=-Tdevice.x");
}
