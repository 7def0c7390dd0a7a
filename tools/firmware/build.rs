//! Includes the list of boards in the library, for programs that run outside of the checkout.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boards = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../boards").canonicalize()?;
    println!("cargo::rerun-if-changed={}", boards.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&boards)? {
        let file = entry?.path().join("board.toml");
        if file.is_file() {
            println!("cargo::rerun-if-changed={}", file.display());
            files.push(file);
        }
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in files {
        writeln!(list, "    include_str!({file:?}),")?;
    }
    list += "]\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("boards.rs"), list)?;
    Ok(())
}
