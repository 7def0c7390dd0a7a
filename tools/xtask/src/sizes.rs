//! Compares the flash that firmware takes with `tests/golden/sizes.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use brooklet_firmware::Registry;

use crate::steps::Failure;

/// Tolerance for the growth of firmware, in percent, because compilers differ.
const TOLERANCE: u64 = 5;

/// Bytes of flash by board.
pub(crate) struct Sizes {
    path: PathBuf,
    before: BTreeMap<String, u64>,
    now: BTreeMap<String, u64>,
}

impl Sizes {
    /// Reads the file.
    pub(crate) fn read(registry: &Registry) -> Result<Self, Failure> {
        let path = registry.root().join("tests/golden/sizes.json");
        let failed =
            |error: &dyn std::fmt::Display| Failure(format!("error: {}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let before = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        Ok(Self { path, before, now: BTreeMap::new() })
    }

    /// Records the size of a board's firmware.
    pub(crate) fn compare(&mut self, board: &str, bytes: u64) {
        self.now.insert(board.to_owned(), bytes);
    }

    /// Fails if any firmware grew; `BROOKLET_BLESS` writes the file again.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        let grown = self.now.iter().filter_map(|(board, &now)| match self.before.get(board) {
            Some(&before) if now * 100 <= before * (100 + TOLERANCE) => None,
            Some(before) => Some(format!("{board}: {now} bytes of flash, before {before}")),
            None => Some(format!("{board}: not in the file")),
        });
        let grown: Vec<String> = grown.collect();
        let path = self.path.display();
        if std::env::var_os("BROOKLET_BLESS").is_some() {
            self.before.append(&mut self.now);
            let failed = |error: &dyn std::fmt::Display| Failure(format!("error: {path}: {error}"));
            let text =
                serde_json::to_string_pretty(&self.before).map_err(|error| failed(&error))?;
            return std::fs::write(&self.path, text + "\n").map_err(|error| failed(&error));
        }
        if grown.is_empty() {
            return Ok(());
        }
        Err(Failure(format!(
            "error: {}\n  help: if this is intended, BROOKLET_BLESS=1 cargo xtask cross --all writes \
             {path} again",
            grown.join("\n       ")
        )))
    }
}
