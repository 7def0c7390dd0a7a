//! Reasons why a network is not imported: the file, the layer if there is one, and what is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use brooklet_files::FileProblem;
use brooklet_files::text::line;

/// A network's file that cannot be used, and why.
#[derive(Debug)]
pub struct ImportError {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The layer or tensor in the file, by its name there.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Maximum lengths of a name and of a description that are shown, in characters.
        const MOST: [usize; 2] = [120, 600];
        write!(f, "{}: ", self.file.display())?;
        if let Some(layer) = &self.layer {
            write!(f, "`{}`: ", line(layer, MOST[0]))?;
        }
        write!(f, "{}", line(&self.problem.to_string(), MOST[1]))
    }
}

impl std::error::Error for ImportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileProblem),

    /// The file with its weights, which should be beside it, cannot be read.
    #[error("its weights are in `{location}`, which {problem}")]
    Companion {
        /// The name of that file in the network.
        location: String,
        /// What is wrong with that file.
        problem: FileProblem,
    },

    /// The file is of a type that is not supported.
    #[error("is not a kind of network that brooklet reads{}", found.map(|f| format!(" (it is {f})")).unwrap_or_default())]
    UnknownType {
        /// The type that the content shows, if it is known.
        found: Option<&'static str>,
    },

    /// The file's name and its content disagree.
    #[error("is named like {named}, but its content is {found}")]
    WrongType {
        /// The type that the extension stands for.
        named: &'static str,
        /// The type that the content shows.
        found: &'static str,
    },

    /// The file's structure is broken.
    #[error("is not a valid {format} file: {detail}")]
    Corrupt {
        /// Name of the format.
        format: &'static str,
        /// What the parser found.
        detail: String,
    },

    /// The network has an operator that brooklet does not support.
    #[error("operator {op} is not supported")]
    UnsupportedOperator {
        /// The operator's type in the terms of the file.
        op: String,
        /// What the user can do.
        remedy: String,
    },

    /// An operator is used in a way that brooklet does not support.
    #[error("{what}")]
    Unsupported {
        /// The unsupported use.
        what: String,
        /// What the user can do.
        remedy: String,
    },

    /// An input size that is only known at run time.
    #[error("the input has no fixed size: its shape is {shape}")]
    DynamicShape {
        /// The shape as the file states it.
        shape: String,
    },

    /// The quantized ONNX network has quantized operators that are not supported.
    #[error("operator {op} is not supported: quantized ONNX networks must be in QDQ form")]
    QuantizedOnnx {
        /// The first quantized operator.
        op: String,
    },

    /// An output was asked for that the network does not have.
    #[error("has no output `{name}`; its outputs are {names}")]
    NoOutput {
        /// The name asked for.
        name: String,
        /// The names of its outputs.
        names: String,
    },

    /// A parameter is NaN or infinite.
    #[error("{what} contain {value}")]
    NotFinite {
        /// The parameter.
        what: &'static str,
        /// The wrong value.
        value: f64,
    },

    /// Shapes that do not match.
    #[error("{detail}")]
    Shape {
        /// What does not fit.
        detail: String,
    },

    /// A graph that is not a residual network.
    #[error("{detail}")]
    Topology {
        /// What was found.
        detail: String,
    },

    /// The file has bare weights, and no architecture was given.
    #[error("holds weights only, not the network's structure")]
    ArchNeeded,

    /// The name is not one of a known architecture.
    #[error("`{name}` is not a known architecture")]
    UnknownArch {
        /// The name given.
        name: String,
    },

    /// The architecture does not have this variant.
    #[error("{arch} {why}: {option} does not apply to it")]
    NoVariant {
        /// The architecture asked for.
        arch: String,
        /// The option.
        option: &'static str,
        /// Why the option does not apply.
        why: &'static str,
    },

    /// A tensor of the architecture is missing.
    #[error("is missing, but {arch} has it")]
    MissingTensor {
        /// The architecture asked for.
        arch: String,
        /// Some of the names in the file.
        holds: String,
    },

    /// A tensor's shape is not that of the architecture.
    #[error("has shape {found:?}, but {arch} has {expected}")]
    TensorShape {
        /// The architecture asked for.
        arch: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// The expected shape.
        expected: String,
    },

    /// Tensors that do not belong to the architecture.
    #[error("is not part of {arch}{}", if *others > 0 { format!(" ({others} more tensors are not, either)") } else { String::new() })]
    LeftOver {
        /// The architecture asked for.
        arch: String,
        /// Number of further such tensors.
        others: usize,
    },

    /// A tensor is not of float32.
    #[error("has element type {found}")]
    ElementType {
        /// The element type in the file.
        found: String,
    },
}

/// A problem without the name of the file, which is added later.
#[derive(Debug)]
pub struct LayerProblem {
    /// The layer or tensor, if known.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl From<Problem> for LayerProblem {
    fn from(problem: Problem) -> Self {
        LayerProblem { layer: None, problem }
    }
}

impl From<FileProblem> for LayerProblem {
    fn from(problem: FileProblem) -> Self {
        Problem::from(problem).into()
    }
}

impl From<std::io::Error> for LayerProblem {
    fn from(error: std::io::Error) -> Self {
        FileProblem::from(error).into()
    }
}

impl LayerProblem {
    /// Adds the name of the file.
    pub fn in_file(self, file: &Path) -> ImportError {
        ImportError { file: file.to_owned(), layer: self.layer, problem: self.problem }
    }
}

/// Adds the layer's name to a problem without one.
pub trait AtLayer<T> {
    /// Adds the name.
    ///
    /// # Errors
    ///
    /// The problem, with the name.
    fn at(self, layer: &str) -> Result<T, LayerProblem>;
}

impl<T, E: Into<LayerProblem>> AtLayer<T> for Result<T, E> {
    fn at(self, layer: &str) -> Result<T, LayerProblem> {
        self.map_err(|error| {
            let mut problem = error.into();
            problem.layer.get_or_insert_with(|| layer.to_owned());
            problem
        })
    }
}

/// Creates the most common problem.
pub fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::Unsupported { what: what.into(), remedy: remedy.into() }
}
