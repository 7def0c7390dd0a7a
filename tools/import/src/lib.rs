//! Reads the file of a trained network as a [`Network`](network::Network), or as a
//! [`QuantizedNetwork`](network::QuantizedNetwork) if it is already int8.
//!
//! The file's extension gives the expected type, its first bytes the actual type; both must agree.
//! ONNX, TFLite and Keras files contain the structure of the network; safetensors files and PyTorch
//! checkpoints only contain named weights, for which [`Arch`] supplies the structure.
//!
//! ```
//! use brooklet_import::network::Op;
//! use brooklet_import::{Arch, Imported, Options, load};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options { arch: Some("resnet20".parse::<Arch>()?), ..Options::default() };
//! let Imported::Float(network) = load("../demo/resnet20.safetensors", &options)? else {
//!     panic!("its weights are float");
//! };
//! assert_eq!(network.input, [32, 32, 3]); // height, width, channels
//! assert_eq!(network.macs(), 40_551_040);
//! // Batch norms are folded, and nodes are named by their position.
//! assert!(network.nodes.iter().all(|node| !matches!(node.op, Op::BatchNorm(_))));
//! assert_eq!(network.nodes[1].name, "stem");
//! # Ok(())
//! # }
//! ```
//!
//! The same weights give the same value, bit for bit, whatever type of file they come from:
//!
//! ```text
//! onnx ────────┐
//! tflite, keras┼──> network: float, int8 ──> rewrite: batch norms, views, channels ──> canonical
//! weights, arch┘
//! ```

mod arch;
pub mod error;
mod format;
mod keras;
pub mod network;
mod onnx;
pub mod proto;
mod rewrite;
mod tflite;
mod weights;

use std::path::Path;

pub use arch::{Arch, ShortcutOption, Stem, StrideIn, Variant};
pub use network::Imported;
pub use rewrite::channels::Channels;
pub use weights::Weights;

use crate::error::{ImportError, LayerProblem, Problem};
use crate::format::Format;
use crate::weights::{pytorch, safetensors};
use brooklet_files::{self as files, Limit};

/// Information that the file itself may not contain.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The architecture of bare weights; other files ignore it.
    pub arch: Option<Arch>,
    /// Differences between the network and its architecture as published.
    pub variant: Variant,
    /// Height and width of the input for bare weights; `None`: as the architecture was published
    /// (224×224 or 32×32).
    pub input: Option<[usize; 2]>,
    /// Names of the outputs to keep, if the network has several; all if empty.
    pub outputs: Vec<String>,
}

/// Reads the network in `path`.
pub fn load(path: impl AsRef<Path>, options: &Options) -> Result<Imported, ImportError> {
    let path = path.as_ref();
    let network = load_file(path, options).and_then(|network| match (network, &options.outputs) {
        (network, names) if names.is_empty() => Ok(network),
        (Imported::Float(network), names) => network.with_outputs(names).map(Imported::Float),
        (Imported::Quantized(network), names) => {
            network.with_outputs(names).map(Imported::Quantized)
        }
    });
    network.map_err(|problem| problem.in_file(path))
}

fn load_file(path: &Path, options: &Options) -> Result<Imported, LayerProblem> {
    let bytes = files::read(path, Limit::Network)?;
    let content = Format::of_content(&bytes[..bytes.len().min(64)], bytes.len() as u64);
    let kind = match (Format::of_extension(path), content) {
        // Both types are zip archives; and Keras 2 wrote HDF5 under any name.
        (Some(Format::KerasArchive), Some(Format::Checkpoint)) => Format::KerasArchive,
        (Some(Format::KerasArchive), Some(Format::KerasHdf5)) => Format::KerasHdf5,
        (Some(named), Some(found)) if named != found && !matches!(named, Format::Other(_)) => {
            return Err(Problem::WrongType { named: named.name(), found: found.name() }.into());
        }
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) => return Err(Problem::UnknownType { found: None }.into()),
    };
    let arch = || options.arch.ok_or(Problem::ArchNeeded);
    Ok(match kind {
        Format::Onnx => onnx::read(&bytes, path.parent().unwrap_or(path))?,
        Format::Tflite => tflite::read(&bytes)?,
        Format::KerasArchive => Imported::Float(keras::read_archive(&bytes)?),
        Format::KerasHdf5 => Imported::Float(keras::read_hdf5(&bytes)?),
        Format::Safetensors => {
            let arch = arch()?;
            Imported::Float(arch.build(
                options.variant,
                safetensors::read(&bytes)?,
                options.input,
            )?)
        }
        Format::Checkpoint => {
            pytorch::refuse_programs(&bytes)?;
            let arch = arch()?;
            Imported::Float(arch.build(options.variant, pytorch::read(path)?, options.input)?)
        }
        Format::Other(name) => return Err(Problem::UnknownType { found: Some(name) }.into()),
    })
}
