//! The linker's arguments: one entry, no start files, and no unused sections.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in ["--entry=infer", "--gc-sections", "--nmagic", "-Ttext=0x10000"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
