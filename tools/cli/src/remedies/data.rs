//! Remedies for errors of images, and of networks that cannot be quantized.

use brooklet_quantize::error::{
    DataError, DataProblem, EngineError, QuantizeError, Unrepresentable,
};

use super::Remedy;

impl Remedy for DataError {
    fn remedy(&self) -> Option<String> {
        Some(match &self.problem {
            DataProblem::File(problem) => return problem.remedy(),
            DataProblem::Data { .. } => {
                "data is a folder of png or jpeg images with one subfolder per class, a CIFAR-10 \
                 binary file, an .npy, .npz or IDX file of images or features, or random:N"
                    .to_owned()
            }
            DataProblem::Label { .. } => {
                "check that the data is this network's: labels count from 0, class folders in the \
                 order of their names"
                    .to_owned()
            }
            DataProblem::Image { .. } => "give a whole png or jpeg file".to_owned(),
            DataProblem::Pixels { most, .. } => format!("scale it down to at most {most} pixels"),
            DataProblem::Resized { most, .. } => format!(
                "quantize with a smaller --resize, or give images that are less elongated: \
                 they are resized to at most {most} pixels"
            ),
            DataProblem::ImageSize { wanted: [height, width, _], .. } => format!(
                "`brooklet quantize` with --resize {} --crop {height}x{width}, or with \
                 --resize {height}x{width}, which changes their ratio, makes a model that takes \
                 images of any size; or give images of the network's size",
                height.max(width)
            ),
            DataProblem::CropSize { crop: [height, width], .. } => format!(
                "`brooklet quantize` with --resize {} scales images before they are cropped; or \
                 give larger images",
                height.max(width)
            ),
            _ => return None,
        })
    }
}

impl Remedy for EngineError {
    fn remedy(&self) -> Option<String> {
        Some("this is a bug in brooklet: please report it with the network".to_owned())
    }
}

impl Remedy for Unrepresentable {
    fn remedy(&self) -> Option<String> {
        let pixels = match self.raw_pixels {
            true => {
                "pixels were raw values from 0 to 255: if it was trained with others, give --mean and \
                 --std (`brooklet doctor NETWORK DATA` finds them); otherwise "
            }
            false => "",
        };
        Some(format!(
            "{pixels}check that the network was trained and exported correctly: it must be built of \
             residual blocks, and have no scale of zero and no layer that is all but zero"
        ))
    }
}

impl Remedy for QuantizeError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.remedy(),
            Self::Data(error) => error.remedy(),
            Self::Unrepresentable(error) => error.remedy(),
            Self::Overflows { .. } => Some(
                "check --mean and --std, and that the training did not diverge: the network's weights \
                 may be far too large"
                    .to_owned(),
            ),
        }
    }
}
