//! Reasons why a network is not quantized, and why images cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use brooklet_files::FileProblem;
use brooklet_files::text::line;
use brooklet_plan::Preprocess;

/// Maximum length of a name that is shown, in characters.
const NAME: usize = 120;

/// Images that cannot be used, and why.
#[derive(Debug)]
pub struct DataError {
    /// The file or folder, as the user named it.
    pub file: PathBuf,
    /// The image in it.
    pub image: Option<String>,
    /// What is wrong.
    pub problem: DataProblem,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Maximum length of a description that is shown, in characters.
        const MOST: usize = 600;
        write!(f, "{}: ", self.file.display())?;
        if let Some(image) = &self.image {
            write!(f, "`{image}`: ")?;
        }
        write!(f, "{}", line(&self.problem.to_string(), MOST))
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What can be wrong with images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataProblem {
    /// They cannot be read.
    #[error(transparent)]
    File(#[from] FileProblem),

    /// The data have an unsupported type, or are malformed.
    #[error("{detail}")]
    Data {
        /// What is wrong.
        detail: String,
    },

    /// A label for which the network has no class.
    #[error("its label is class {label}, but the network's classes are 0 to {}", classes - 1)]
    Label {
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// An image that cannot be decoded.
    #[error("is not an image that is read here (png, jpeg, bmp, ppm, webp): {detail}")]
    Image {
        /// The decoder's message.
        detail: String,
    },

    /// The image has too many pixels to decode.
    #[error("has {}×{} pixels (height, width), too many to decode", size[0], size[1])]
    Pixels {
        /// Height and width.
        size: [u64; 2],
        /// The maximum number of pixels.
        most: u64,
    },

    /// The resized image would have too many pixels.
    #[error(
        "is {}×{} (height, width), which resizing makes {}×{}: too many pixels",
        from[0], from[1], to[0], to[1]
    )]
    Resized {
        /// Height and width before.
        from: [u64; 2],
        /// Height and width that it would have.
        to: [u64; 2],
        /// The maximum number of pixels.
        most: u64,
    },

    /// Images of another size than the network's input.
    #[error(
        "is {}×{}×{} (height, width, channels), but the network takes {}×{}×{}",
        found[0], found[1], found[2], wanted[0], wanted[1], wanted[2]
    )]
    ImageSize {
        /// Height, width, channels of the image after it was resized and cropped.
        found: [usize; 3],
        /// Height, width, channels of the network's input.
        wanted: [usize; 3],
    },

    /// A crop that does not fit into the image.
    #[error("is {}×{}, too small to crop {}×{} from", found[0], found[1], crop[0], crop[1])]
    CropSize {
        /// Height and width of the image.
        found: [usize; 2],
        /// Height and width of the crop.
        crop: [usize; 2],
    },
}

impl From<std::io::Error> for DataProblem {
    fn from(error: std::io::Error) -> Self {
        FileProblem::from(error).into()
    }
}

impl DataProblem {
    /// Names the file or folder.
    pub(crate) fn in_file(self, file: &Path) -> DataError {
        DataError { file: file.to_owned(), image: None, problem: self }
    }

    /// Names the file and the number of the image.
    pub(crate) fn of_image(self, file: &Path, index: usize) -> DataError {
        DataError { image: Some(format!("image {index}")), ..self.in_file(file) }
    }
}

/// The float engine refused the network, or failed while running it.
#[derive(Debug, thiserror::Error)]
#[error("the float engine failed: {detail}")]
pub struct EngineError {
    /// The engine's message.
    pub detail: String,
}

impl EngineError {
    pub(crate) fn new(detail: impl ToString) -> Self {
        Self { detail: detail.to_string() }
    }
}

/// A network that cannot be represented by the core's records, with the layer.
#[derive(Debug, thiserror::Error)]
#[error("{}`{layer}`: {what}", file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
pub struct Unrepresentable {
    /// The network's file.
    pub file: Option<PathBuf>,
    /// The layer's name.
    pub layer: String,
    /// What cannot be represented.
    pub what: String,
    /// Whether it is a range that was measured on pixels without mean and deviation.
    pub raw_pixels: bool,
}

impl Unrepresentable {
    pub(crate) fn new(layer: &str, what: impl Into<String>) -> Self {
        Self { file: None, layer: layer.to_owned(), what: what.into(), raw_pixels: false }
    }

    /// An error about a range, which images in other units may have caused.
    pub(crate) fn of_range(layer: &str, what: &str, preprocess: &Preprocess) -> Self {
        let raw_pixels = preprocess.mean.is_none() && preprocess.std.is_none();
        Self { raw_pixels, ..Self::new(layer, what) }
    }

    /// The same error, with the name of the network's file.
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }
}

/// Reasons why a network is not quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The float engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network has no quantized form.
    #[error(transparent)]
    Unrepresentable(#[from] Unrepresentable),
    /// The float network computes values that are not finite.
    #[error("`{}`: the float network computes values that are not finite here", line(layer, NAME))]
    Overflows {
        /// The layer's name in the file.
        layer: String,
    },
}
