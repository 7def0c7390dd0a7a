//! From a trained network's file to a [`Network`] or a [`QuantizedNetwork`].
//!
//! The file's extension says what it should be, its first bytes what it is; both must agree.
//! ONNX and TFLite files hold the structure themselves; safetensors files and PyTorch checkpoints
//! hold named weights only, so [`Arch`] supplies the structure.

mod arch;
mod canonical;
pub mod channels;
mod checkpoint;
pub mod error;
pub mod network;
mod onnx;
pub mod proto;
pub mod quantized;
mod safetensors;
mod tflite;
mod view;

use std::path::Path;

pub use arch::{Arch, ShortcutOption, StrideIn, Variant};

use crate::error::{Error, Fault, Problem};
use crate::network::Network;
use crate::quantized::QuantizedNetwork;
use brooklet_files::{self as files, Limit};

/// What the file itself does not say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which network bare weights belong to; other files ignore it.
    pub arch: Option<Arch>,
    /// What the network does otherwise than the architecture was published with.
    pub variant: Variant,
    /// Height and width of the input for bare weights; default: what the architecture was
    /// published with (224×224 or 32×32).
    pub input: Option<[usize; 2]>,
}

/// An imported network, in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    /// Float weights, to be quantized.
    Float(Network),
    /// Already int8.
    Quantized(QuantizedNetwork),
}

/// Reads the network in `path`.
pub fn load(path: impl AsRef<Path>, options: &Options) -> Result<Imported, Error> {
    let path = path.as_ref();
    load_file(path, options).map_err(|fault| fault.in_file(path))
}

/// A kind of file, by its name or by its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Onnx,
    Tflite,
    Safetensors,
    Checkpoint,
    /// Recognized, but not read; with what to call it.
    Other(&'static str),
}

impl Kind {
    fn of_extension(path: &Path) -> Option<Kind> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "onnx" => Some(Kind::Onnx),
            "tflite" => Some(Kind::Tflite),
            "safetensors" => Some(Kind::Safetensors),
            "pt" | "pth" | "th" => Some(Kind::Checkpoint),
            "h5" | "hdf5" | "keras" => Some(Kind::Other("a Keras file")),
            "pb" => Some(Kind::Other("a TensorFlow graph")),
            "brook" => Some(Kind::Other("a brooklet model, already quantized and planned")),
            _ => None,
        }
    }

    /// What the content shows beyond doubt. (Protocol buffers and old tar checkpoints have no
    /// magic number.)
    fn of_content(head: &[u8], length: u64) -> Option<Kind> {
        let word = |at: usize| head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        let header = word(0).map_or(u64::MAX, u64::from_le_bytes);
        if head.get(4..8) == Some(b"TFL3") {
            Some(Kind::Tflite)
        } else if head.get(8) == Some(&b'{') && header < length {
            Some(Kind::Safetensors)
        } else if head.starts_with(b"PK\x03\x04") || matches!(head, [0x80, 2..=5, ..]) {
            Some(Kind::Checkpoint)
        } else if head.starts_with(b"\x89HDF") {
            Some(Kind::Other("an HDF5 (Keras) file"))
        } else if head.starts_with(b"version https://git-lfs") {
            Some(Kind::Other("a Git LFS pointer, not the file itself (run `git lfs pull`)"))
        } else if head.starts_with(b"<") || head.starts_with(b"{") {
            Some(Kind::Other("text"))
        } else if head.starts_with(b"\x89PNG") || head.starts_with(b"\xff\xd8\xff") {
            Some(Kind::Other("an image"))
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Onnx => "an ONNX network",
            Kind::Tflite => "a TFLite network",
            Kind::Safetensors => "a safetensors file",
            Kind::Checkpoint => "a PyTorch checkpoint",
            Kind::Other(name) => name,
        }
    }
}

fn load_file(path: &Path, options: &Options) -> Result<Imported, Fault> {
    let bytes = files::read(path, Limit::Network)?;
    let content = Kind::of_content(&bytes[..bytes.len().min(64)], bytes.len() as u64);
    let kind = match (Kind::of_extension(path), content) {
        (Some(named), Some(found)) if named != found && !matches!(named, Kind::Other(_)) => {
            return Err(Problem::WrongType { named: named.name(), found: found.name() }.into());
        }
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) => return Err(Problem::UnknownType { found: None }.into()),
    };
    let arch = || options.arch.ok_or(Problem::ArchNeeded);
    Ok(match kind {
        Kind::Onnx => onnx::read(&bytes, path.parent().unwrap_or(path))?,
        Kind::Tflite => tflite::read(&bytes)?,
        Kind::Safetensors => {
            let arch = arch()?;
            Imported::Float(arch.build(
                options.variant,
                safetensors::read(&bytes)?,
                options.input,
            )?)
        }
        Kind::Checkpoint => {
            let arch = arch()?;
            Imported::Float(arch.build(options.variant, checkpoint::read(path)?, options.input)?)
        }
        Kind::Other(name) => return Err(Problem::UnknownType { found: Some(name) }.into()),
    })
}
