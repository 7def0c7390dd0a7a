//! Reading files that come from anywhere.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::declared::replaced_by;
use super::identity::kind;

/// How long a file of a kind may be. What is longer is not what it claims to be, or more than is
/// held in memory here.
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
    /// What a part of a compressed file unpacks to: 4 GiB.
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

    /// A device, a pipe or a socket, which has no end, or none that is known.
    #[error("is {what}, not a file")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },

    /// Longer than files of its kind are.
    #[error("has {bytes} bytes, but at most {} are read of a file of this kind", limit.bytes())]
    TooLong {
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        limit: Limit,
    },

    /// There is not as much memory.
    #[error("takes {bytes} bytes of memory, which are not to be had")]
    Memory {
        /// What it takes.
        bytes: u64,
    },

    /// The command's output would replace it.
    #[error("is read, but {option} would replace it")]
    Replaced {
        /// The option that names the output.
        option: String,
    },
}

// By hand: as a source it would be told twice.
impl From<io::Error> for FileProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a regular file, and says how long it is.
///
/// # Errors
///
/// [`FileProblem`], also if an output of the command is that file.
pub fn open(path: &Path) -> Result<(File, u64), FileProblem> {
    // Asked before: opening a pipe waits for its writer.
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
/// [`FileProblem`]; nothing is read of what is no regular file, or too long.
pub fn read(path: &Path, limit: Limit) -> Result<Vec<u8>, FileProblem> {
    let (file, bytes) = open(path)?;
    take(file, bytes, limit)
}

/// All of a reader that says how many bytes it gives.
///
/// # Errors
///
/// [`FileProblem`] if these are too many, cannot be had or cannot be read.
pub fn take(reader: impl Read, bytes: u64, limit: Limit) -> Result<Vec<u8>, FileProblem> {
    if bytes > limit.bytes() {
        return Err(FileProblem::TooLong { bytes, limit });
    }
    let mut contents = reserved(bytes)?;
    // A file that grows is read as far as it was long.
    reader.take(bytes).read_to_end(&mut contents)?;
    Ok(contents)
}

/// Memory for a number of bytes, or an error instead of the end of the program.
fn reserved(bytes: u64) -> Result<Vec<u8>, FileProblem> {
    let lacking = || FileProblem::Memory { bytes };
    let mut memory = Vec::new();
    let count = usize::try_from(bytes).map_err(|_| lacking())?;
    memory.try_reserve_exact(count).map_err(|_| lacking())?;
    Ok(memory)
}
