//! Projects of `brooklet init`, built beside the boards.

use std::fs;
use std::path::Path;

use brooklet_firmware::Registry;

/// Crates of which boards choose features, by the section of a project that depends on them.
const SHARED: [(&str, &[&str]); 2] =
    [("[dependencies]\n", &["typenum"]), ("[build-dependencies]\n", &["proc-macro2", "syn"])];

/// Lets a new project use what is already installed and compiled for boards: their versions, and
/// their features of crates that it depends on through others. What it names itself stays as it is.
pub(crate) fn share_dependencies(registry: &Registry, project: &Path) {
    fs::copy(registry.folder().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let boards = fs::read_to_string(registry.folder().join("Cargo.toml")).unwrap();
    let path = project.join("Cargo.toml");
    let mut manifest = fs::read_to_string(&path).unwrap();
    for (section, crates) in SHARED {
        let at = manifest.find(section).unwrap() + section.len();
        for name in crates {
            let line = boards.lines().find(|line| line.starts_with(&format!("{name} = ")));
            manifest.insert_str(at, &format!("{}\n", line.unwrap()));
        }
    }
    fs::write(path, manifest).unwrap();
}
