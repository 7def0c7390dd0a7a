//! Memory map, constants and linker arguments, all from `board.toml`.

fn main() {
    board_build::generate();
    // The machine has at least two cores. The others wait, and need no stack.
    println!("cargo:rustc-link-arg-bins=--defsym=_max_hart_id=4");
    println!("cargo:rustc-link-arg-bins=--defsym=_hart_stack_size=0");
}
