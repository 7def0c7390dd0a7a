//! Reads files that are not trusted.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::declared::replaced_by;
use super::identity::kind;

/// Maximum length of a kind of file.
///
/// A longer file is of another kind, or too large to hold in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Names, ranges, options: 64 MiB.
    Text,
    /// One png or jpeg image: 256 MiB.
    Image,
    /// A model file: 1 GiB.
    Model,
    /// A network, or the weights beside one: 4 GiB.
    Network,
    /// An array of images or logits: 16 GiB.
    Array,
    /// A part of a compressed file, unpacked: 4 GiB.
    Unpacked,
}

impl Limit {
    /// The limit, in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Text => 64 << 20,
            Self::Image => 256 << 20,
            Self::Model => 1 << 30,
            Self::Network | Self::Unpacked => 4 << 30,
            Self::Array => 16 << 30,
        }
    }
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The operating system could not read it.
    #[error("cannot be read: {0}")]
    Io(io::Error),

    /// A device, a pipe or a socket, whose length is not known.
    #[error("is {what}, not a file")]
    NotAFile {
        /// Description of what it is.
        what: &'static str,
    },

    /// It is longer than files of its kind may be.
    #[error("has {bytes} bytes, but at most {} are read from a file of this kind", limit.bytes())]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The maximum length.
        limit: Limit,
    },

    /// There is not enough memory.
    #[error("takes {bytes} bytes of memory, which are not available")]
    Memory {
        /// The memory that it takes.
        bytes: u64,
    },

    /// The command's output would replace it.
    #[error("is read, but {option} would replace it")]
    Replaced {
        /// The option that names the output.
        option: String,
    },
}

// Implemented by hand, since the error would otherwise be shown twice, also as the source.
impl From<io::Error> for FileProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a regular file, and returns its length.
///
/// # Errors
///
/// [`FileProblem`], also if an output of the command would replace the file.
pub fn open(path: &Path) -> Result<(File, u64), FileProblem> {
    // Checked first, since opening a pipe waits for its writer.
    regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    match replaced_by(path, &metadata) {
        Some(option) => Err(FileProblem::Replaced { option }),
        None => Ok((file, metadata.len())),
    }
}

fn regular(metadata: &Metadata) -> Result<(), FileProblem> {
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    match metadata.is_file() {
        true => Ok(()),
        false => Err(FileProblem::NotAFile { what: kind(metadata) }),
    }
}

/// The bytes of a regular file, up to a limit.
///
/// # Errors
///
/// [`FileProblem`]; nothing is read if it is not a regular file, or too long.
pub fn read(path: &Path, limit: Limit) -> Result<Vec<u8>, FileProblem> {
    let (file, bytes) = open(path)?;
    take(file, bytes, limit)
}

/// Reads all bytes of a reader, of which there are `bytes`.
///
/// # Errors
///
/// [`FileProblem`] if these are too many, do not fit into memory, or cannot be read.
pub fn take(reader: impl Read, bytes: u64, limit: Limit) -> Result<Vec<u8>, FileProblem> {
    if bytes > limit.bytes() {
        return Err(FileProblem::TooLong { bytes, limit });
    }
    let mut contents = reserved(bytes)?;
    // A file that grows meanwhile is read up to the length that it had.
    reader.take(bytes).read_to_end(&mut contents)?;
    Ok(contents)
}

/// Reserves memory for a number of bytes; gives an error where an allocation would abort.
fn reserved(bytes: u64) -> Result<Vec<u8>, FileProblem> {
    let lacking = || FileProblem::Memory { bytes };
    let mut memory = Vec::new();
    let count = usize::try_from(bytes).map_err(|_| lacking())?;
    memory.try_reserve_exact(count).map_err(|_| lacking())?;
    Ok(memory)
}
