//! What fuzz targets have in common.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Calls `read` with a file of these bytes: what is fuzzed reads files, by their names.
pub fn in_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("there is room for files"));
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("there is room for a file");
        read(&path)
    })
}

/// An error is one that people can read, whatever the file says.
pub fn readable(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(text.len() < 65_536, "an error of {} bytes", text.len());
}
