//! One kind of error for everything that reads files: it names the file, the layer where there is
//! one, what is wrong, and (as miette's `help`) what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use brooklet_files::FileProblem;
use brooklet_files::text::line;

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct Error {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The layer or tensor in it, by the file's own name.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Error {
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileProblem),

    /// The file is not of a kind that is read here.
    #[error("is not a kind of network that brooklet reads{}", found.map(|f| format!(" (it is {f})")).unwrap_or_default())]
    #[diagnostic(help(
        "give an .onnx, .tflite or .safetensors file or a PyTorch checkpoint (.pt, .pth, .th); \
         a Keras .h5 or SavedModel can be converted to .onnx with tf2onnx"
    ))]
    UnknownType {
        /// What the content looks like, if known.
        found: Option<&'static str>,
    },

    /// The name says one thing, the content another.
    #[error("is named like {named}, but its content is {found}")]
    #[diagnostic(help("give the file its right extension, or fetch it again"))]
    WrongType {
        /// What the extension stands for.
        named: &'static str,
        /// What the content looks like.
        found: &'static str,
    },

    /// The file's structure is broken.
    #[error("is not a valid {format} file: {detail}")]
    #[diagnostic(help("the file is damaged or incomplete: fetch or export it again"))]
    Corrupt {
        /// Name of the format.
        format: &'static str,
        /// What the parser found.
        detail: String,
    },

    /// An operator that brooklet does not have.
    #[error("operator {op} is not supported")]
    #[diagnostic(help("{remedy}"))]
    UnsupportedOperator {
        /// The operator's type in the file's own vocabulary.
        op: String,
        /// What the user can do.
        remedy: String,
    },

    /// A known operator used in a way that brooklet does not have.
    #[error("{what}")]
    #[diagnostic(help("{remedy}"))]
    Unsupported {
        /// The unsupported use.
        what: String,
        /// What the user can do.
        remedy: String,
    },

    /// An input size that is only known at run time.
    #[error("the input has no fixed size: its shape is {shape}")]
    #[diagnostic(help(
        "export the network with a fixed height, width and number of channels \
         (only the batch size may stay open)"
    ))]
    DynamicShape {
        /// The shape as the file states it.
        shape: String,
    },

    /// A quantized ONNX network whose operators are quantized ones.
    #[error("operator {op}: of quantized ONNX networks only the QDQ form is read")]
    #[diagnostic(help(
        "quantize it with QuantizeLinear and DequantizeLinear around float operators (with ONNX \
         Runtime: quantize_static, QuantFormat.QDQ), or give the float network, which brooklet \
         quantizes itself"
    ))]
    QuantizedOnnx {
        /// The first quantized operator.
        op: String,
    },

    /// NaN or infinity among the weights.
    #[error("{what} contain {value}")]
    #[diagnostic(help("training diverged or the file is damaged: use an earlier checkpoint"))]
    NotFinite {
        /// Which parameter.
        what: &'static str,
        /// The offending value.
        value: f64,
    },

    /// Shapes that do not fit together.
    #[error("{detail}")]
    #[diagnostic(help("the network is inconsistent: export it again"))]
    Shape {
        /// What does not fit.
        detail: String,
    },

    /// A graph that is not a residual network.
    #[error("{detail}")]
    #[diagnostic(help(
        "brooklet runs networks that are one chain of layers and residual blocks (two branches \
         that meet in an addition)"
    ))]
    Topology {
        /// What was found.
        detail: String,
    },

    /// Bare weights without an architecture.
    #[error("holds weights only, not the network's structure")]
    #[diagnostic(help("say which network it is with --arch: {}", crate::Arch::list()))]
    ArchNeeded,

    /// A name that `--arch` does not know.
    #[error("`{name}` is not a known architecture")]
    #[diagnostic(help("--arch takes one of {}", crate::Arch::list()))]
    UnknownArch {
        /// The name given.
        name: String,
    },

    /// A variant that the architecture does not have.
    #[error("{arch} {why}: {option} means nothing for it")]
    #[diagnostic(help("leave out {option}, or choose another of {}", crate::Arch::list()))]
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
    #[diagnostic(help("check --arch; the file holds {holds}"))]
    MissingTensor {
        /// The architecture asked for.
        arch: String,
        /// A few names that the file does hold.
        holds: String,
    },

    /// A tensor of another shape than the architecture's.
    #[error("has shape {found:?}, but {arch} has {expected}")]
    #[diagnostic(help("check --arch, and that the network's widths are the standard ones"))]
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
    #[diagnostic(help("check --arch: the file holds a larger or a different network"))]
    LeftOver {
        /// The architecture asked for.
        arch: String,
        /// How many more there are.
        others: usize,
    },

    /// A tensor that is not of float32.
    #[error("has element type {found}")]
    #[diagnostic(help("save the weights as float32"))]
    ElementType {
        /// The element type in the file.
        found: String,
    },

    /// Data of a kind that is not read here, or not well formed.
    #[error("{detail}")]
    #[diagnostic(help(
        "data is a folder of png or jpeg images with one subfolder a class, a CIFAR-10 binary \
         file, an .npy or .npz file of uint8 images, or random:N"
    ))]
    Data {
        /// What is wrong.
        detail: String,
    },

    /// A label that the network has no class for.
    #[error("its label is class {label}, but the network's classes are 0 to {}", classes - 1)]
    #[diagnostic(help(
        "check that the data is this network's: labels count from 0, class folders in the order of \
         their names"
    ))]
    Label {
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// An image that cannot be decoded.
    #[error("is not a png or jpeg image: {detail}")]
    #[diagnostic(help("give a whole png or jpeg file"))]
    Image {
        /// The decoder's words.
        detail: String,
    },

    /// Images of another size than the network's input.
    #[error(
        "is {}×{}×{} (height, width, channels), but the network takes {}×{}×{}",
        found[0], found[1], found[2], wanted[0], wanted[1], wanted[2]
    )]
    #[diagnostic(help(
        "`brooklet quantize` with --resize {} --crop {}x{} makes a model that takes images of \
         any size; or give images of the network's size",
        wanted[0].max(wanted[1]), wanted[0], wanted[1]
    ))]
    ImageSize {
        /// Height, width, channels of the image after any --resize and --crop.
        found: [usize; 3],
        /// Height, width, channels of the network's input.
        wanted: [usize; 3],
    },

    /// A crop that does not fit into the image.
    #[error("is {}×{}, too small to crop {}×{} from", found[0], found[1], crop[0], crop[1])]
    #[diagnostic(help(
        "`brooklet quantize` with --resize {} scales images before they are cropped; or give \
         larger ones",
        crop[0].max(crop[1])
    ))]
    CropSize {
        /// Height and width of the image.
        found: [usize; 2],
        /// Height and width of the crop.
        crop: [usize; 2],
    },

    /// The float network computes NaN or infinity.
    #[error("the float network computes values that are not finite here")]
    #[diagnostic(help(
        "check --mean and --std, and that the network was trained to the end: its weights may be \
         far too large"
    ))]
    Overflows,

    /// The float engine refused the network or failed while running it.
    #[error("the float engine failed: {detail}")]
    #[diagnostic(help("this is a bug in brooklet: please report it with the network"))]
    Engine {
        /// The engine's own words.
        detail: String,
    },
}

/// A problem on its way to the place that knows the file's name.
#[derive(Debug)]
pub struct Fault {
    /// The layer or tensor, if known.
    pub layer: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Fault { layer: None, problem }
    }
}

impl From<FileProblem> for Fault {
    fn from(problem: FileProblem) -> Self {
        Problem::from(problem).into()
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        FileProblem::from(error).into()
    }
}

impl Fault {
    /// Names the file.
    pub fn in_file(self, file: &Path) -> Error {
        Error { file: file.to_owned(), layer: self.layer, problem: self.problem }
    }
}

/// Adds the layer's name to a fault that has none yet.
pub trait AtLayer<T> {
    /// Adds the name.
    ///
    /// # Errors
    ///
    /// The fault, with the name.
    fn at(self, layer: &str) -> Result<T, Fault>;
}

impl<T, E: Into<Fault>> AtLayer<T> for Result<T, E> {
    fn at(self, layer: &str) -> Result<T, Fault> {
        self.map_err(|error| {
            let mut fault = error.into();
            fault.layer.get_or_insert_with(|| layer.to_owned());
            fault
        })
    }
}

/// Shorthand for the commonest problem.
pub fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::Unsupported { what: what.into(), remedy: remedy.into() }
}
