//! What the fuzz targets share.

use std::cell::OnceCell;
use std::error::Error;
use std::fs;
use std::path::Path;

use brooklet_files::text;
use tempfile::TempDir;

/// Calls `read` with a file of these bytes, because the code under test reads files by name.
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

/// Maximum length of an error message, in bytes.
const MESSAGE: usize = 4096;

/// Asserts that an error and each of its causes can be read at a terminal, whatever the file
/// contains: it is not too long, and nothing in it has to be removed.
pub fn readable(error: &dyn Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        assert!(message.len() <= MESSAGE, "an error of {} bytes", message.len());
        assert_eq!(text::report(&message), message, "an error that a terminal may obey");
        next = error.source();
    }
}
