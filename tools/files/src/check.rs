//! Checks a command's files before the command begins.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::declared::declare;
use super::identity::{Identity, target};
use super::output::{OutputPath, WriteError, WriteProblem};

/// Checks the files of a command: each output can be written, and is neither an input nor another
/// output, whatever names and links lead to it.
///
/// Outputs come with the options that name them.
///
/// # Errors
///
/// [`WriteError`] for the first output that fails.
pub fn check(inputs: &[PathBuf], outputs: &[(String, &OutputPath)]) -> Result<(), WriteError> {
    let outputs = declared(inputs, outputs)?;
    declare(outputs);
    Ok(())
}

/// The identities of the outputs, none of which is an input or another output.
fn declared(
    inputs: &[PathBuf],
    outputs: &[(String, &OutputPath)],
) -> Result<Vec<(String, Identity)>, WriteError> {
    let mut declared: Vec<(String, Identity)> = Vec::new();
    for (option, path) in outputs {
        let wrong = |problem| WriteError { file: path.to_path_buf(), problem };
        path.check()?;
        let (place, found) = target(path).map_err(|error| wrong(error.into()))?;
        let identity = match &found {
            Some(metadata) => Identity::of(&place, metadata),
            None => Some(Identity::Place(place)),
        };
        // A device or a pipe is not replaced.
        let Some(identity) = identity else { continue };
        if found.is_some() {
            if let Some(input) = inputs.iter().find(|input| reads(input, &identity)) {
                let input = input.clone();
                return Err(wrong(WriteProblem::Input { option: option.clone(), input }));
            }
            if streams().any(|stream| stream == identity) {
                return Err(wrong(WriteProblem::Stream { option: option.clone() }));
            }
        }
        if let Some((other, _)) = declared.iter().find(|(_, other)| *other == identity) {
            let options = [other.clone(), option.clone()];
            return Err(wrong(WriteProblem::Twice { options }));
        }
        declared.push((option.clone(), identity));
    }
    Ok(declared)
}

/// Whether an input is that file, or a folder of images that contains it.
fn reads(input: &Path, file: &Identity) -> bool {
    /// Images are in the folder itself, or in subfolders of their classes.
    const DEPTH: usize = 2;
    fn reads(input: &Path, file: &Identity, depth: usize) -> bool {
        let Ok(metadata) = fs::metadata(input) else { return false };
        if !metadata.is_dir() {
            return Identity::of(input, &metadata).as_ref() == Some(file);
        }
        let entries = (depth > 0).then(|| fs::read_dir(input).ok()).flatten();
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        paths
            .filter(|path| is_image(path) || path.is_dir())
            .any(|path| reads(&path, file, depth - 1))
    }
    reads(input, file, DEPTH)
}

/// Whether its name is that of a file that is read from a folder of images.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].iter().any(|image| extension == *image)
}

/// The files that reports and errors go to, if they go to files.
fn streams() -> impl Iterator<Item = Identity> {
    #[cfg(unix)]
    let streams = {
        use std::os::fd::AsFd;
        let (out, errors) = (std::io::stdout(), std::io::stderr());
        [out.as_fd().try_clone_to_owned(), errors.as_fd().try_clone_to_owned()].map(Result::ok)
    };
    #[cfg(not(unix))]
    let streams: [Option<File>; 0] = [];
    streams.into_iter().flatten().filter_map(|stream| {
        let metadata = File::from(stream).metadata().ok()?;
        Identity::of(Path::new(""), &metadata)
    })
}
