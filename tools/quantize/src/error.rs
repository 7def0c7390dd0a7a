//! What can go wrong while a network is quantized.

use std::path::{Path, PathBuf};

use brooklet_plan::Preprocess;

pub use brooklet_import::error::Error;
pub(crate) use brooklet_import::error::{Fault, Problem};

/// A network that cannot be brought into the core's form, and the layer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{}`{layer}`: {what}", file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
#[diagnostic(help(
    "{}check that the network was trained and exported as it should: built of residual blocks, no \
     scale zero, no layer as good as dead",
    if *raw_pixels {
        "pixels went in as raw 0 to 255: if it was trained with others, give --mean and --std \
         (`brooklet doctor NETWORK DATA` finds them); else "
    } else {
        ""
    }
))]
pub struct Unrepresentable {
    /// The network's file.
    pub file: Option<PathBuf>,
    /// The layer's name.
    pub layer: String,
    /// What cannot be represented.
    pub what: String,
    /// Whether it is a range, measured on pixels without mean and deviation.
    pub raw_pixels: bool,
}

impl Unrepresentable {
    pub(crate) fn new(layer: &str, what: impl Into<String>) -> Self {
        Self { file: None, layer: layer.to_owned(), what: what.into(), raw_pixels: false }
    }

    /// Of a range that images in other units may have.
    pub(crate) fn of_range(layer: &str, what: &str, preprocess: &Preprocess) -> Self {
        let raw_pixels = preprocess.mean.is_none() && preprocess.std.is_none();
        Self { raw_pixels, ..Self::new(layer, what) }
    }

    /// The same, with the network's file named.
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }
}

/// Why nothing was learned.
#[derive(Debug)]
pub enum Failure {
    /// The float engine failed.
    Engine(Problem),
    /// The data cannot be read.
    Data(Error),
    /// The network has no quantized form.
    Unrepresentable(Unrepresentable),
    /// The float network computes values that are not finite.
    Overflows {
        /// The layer's name in the file.
        layer: String,
    },
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Engine(problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Data(error)
    }
}

impl From<Unrepresentable> for Failure {
    fn from(error: Unrepresentable) -> Self {
        Self::Unrepresentable(error)
    }
}
