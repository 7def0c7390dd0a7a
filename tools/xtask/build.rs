//! Tells the chores which target the host is.

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=XTASK_HOST={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
