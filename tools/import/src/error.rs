//! Why a network is not imported: the file, the layer where there is one, and what is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use brooklet_files::FileProblem;
use brooklet_files::text::line;

/// A network's file that cannot be used, and why.
#[derive(Debug)]
pub struct ImportError {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The layer or tensor in it, by the file's own name.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longest name and longest description that are shown, in characters.
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
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileProblem),

    /// The file beside it that holds its weights cannot be read.
    #[error("its weights are in `{location}`, which {problem}")]
    Companion {
        /// Its name, as the network has it.
        location: String,
        /// What is wrong with it.
        problem: FileProblem,
    },

    /// The file is not of a kind that is read here.
    #[error("is not a kind of network that brooklet reads{}", found.map(|f| format!(" (it is {f})")).unwrap_or_default())]
    UnknownType {
        /// What the content looks like, if known.
        found: Option<&'static str>,
    },

    /// The name says one thing, the content another.
    #[error("is named like {named}, but its content is {found}")]
    WrongType {
        /// What the extension stands for.
        named: &'static str,
        /// What the content looks like.
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

    /// An operator that brooklet does not have.
    #[error("operator {op} is not supported")]
    UnsupportedOperator {
        /// The operator's type in the file's own vocabulary.
        op: String,
        /// What the user can do.
        remedy: String,
    },

    /// A known operator used in a way that brooklet does not have.
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

    /// A quantized ONNX network whose operators are quantized ones.
    #[error("operator {op}: of quantized ONNX networks only the QDQ form is read")]
    QuantizedOnnx {
        /// The first quantized operator.
        op: String,
    },

    /// An output that the network does not have.
    #[error("has no output `{name}`; its outputs are {names}")]
    NoOutput {
        /// The name asked for.
        name: String,
        /// The names that it has.
        names: String,
    },

    /// NaN or infinity among the weights.
    #[error("{what} contain {value}")]
    NotFinite {
        /// Which parameter.
        what: &'static str,
        /// The offending value.
        value: f64,
    },

    /// Shapes that do not fit together.
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

    /// Bare weights without an architecture.
    #[error("holds weights only, not the network's structure")]
    ArchNeeded,

    /// A name that no architecture has.
    #[error("`{name}` is not a known architecture")]
    UnknownArch {
        /// The name given.
        name: String,
    },

    /// A variant that the architecture does not have.
    #[error("{arch} {why}: {option} means nothing for it")]
    NoVariant {
        /// The architecture asked for.
        arch: String,
        /// The option.
        option: &'static str,
        /// What the architecture is like.
        why: &'static str,
    },

    /// A tensor that the architecture needs is not there.
    #[error("is missing, but {arch} has it")]
    MissingTensor {
        /// The architecture asked for.
        arch: String,
        /// A few names that the file does hold.
        holds: String,
    },

    /// A tensor of another shape than the architecture's.
    #[error("has shape {found:?}, but {arch} has {expected}")]
    TensorShape {
        /// The architecture asked for.
        arch: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape it should have.
        expected: String,
    },

    /// Tensors that the architecture has no place for.
    #[error("is not part of {arch}{}", if *others > 0 { format!(" (nor are {others} more tensors)") } else { String::new() })]
    LeftOver {
        /// The architecture asked for.
        arch: String,
        /// How many more there are.
        others: usize,
    },

    /// A tensor that is not of float32.
    #[error("has element type {found}")]
    ElementType {
        /// The element type in the file.
        found: String,
    },
}

/// A problem on its way to the place that knows the file's name.
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
    /// Names the file.
    pub fn in_file(self, file: &Path) -> ImportError {
        ImportError { file: file.to_owned(), layer: self.layer, problem: self.problem }
    }
}

/// Adds the layer's name to a problem that has none yet.
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

/// Shorthand for the commonest problem.
pub fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::Unsupported { what: what.into(), remedy: remedy.into() }
}
