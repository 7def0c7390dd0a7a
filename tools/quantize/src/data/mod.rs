//! Images for calibration and evaluation, as bytes of exactly the network's input size.
//!
//! A [`Dataset`] gives an image by its index and reads it on demand, so it can be shared between
//! threads and holds no more than a list of files (except for `.npy` and `.npz`, which are held
//! whole). [`Preprocess`] describes how images of other sizes are fitted, and how bytes become the
//! numbers that a float network takes.

mod dataset;
mod decode;
mod fit;
mod noise;
mod numbers;
mod source;

pub use brooklet_plan::{Preprocess, Resize};
pub use dataset::{Dataset, Image};
pub use fit::{normalized, read_image};
pub use source::{images_in, range_of_numbers};
