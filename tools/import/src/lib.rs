//! From a trained network's file to a [`Network`](network::Network), or to a
//! [`QuantizedNetwork`](network::QuantizedNetwork) where the file is int8 already.
//!
//! The file's extension says what it should be, its first bytes what it is; both must agree.
//! ONNX, TFLite and Keras files hold the structure themselves; safetensors files and PyTorch checkpoints
//! hold named weights only, so [`Arch`] supplies the structure.
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
//! // Batch norms are folded, and nodes named by their places.
//! assert!(network.nodes.iter().all(|node| !matches!(node.op, Op::BatchNorm(_))));
//! assert_eq!(network.nodes[1].name, "stem");
//! # Ok(())
//! # }
//! ```
//!
//! From whatever file a network comes, the same weights give the same value, bit for bit:
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

pub use arch::{Arch, ShortcutOption, StrideIn, Variant};
pub use network::Imported;
pub use rewrite::channels::Channels;
pub use weights::Weights;

use crate::error::{ImportError, LayerProblem, Problem};
use crate::format::Format;
use crate::weights::{pytorch, safetensors};
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
    /// Names of the outputs that are wanted, of a network that has several; none: all.
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
        // Both are archives; and Keras 2 wrote HDF5 whatever the name.
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
