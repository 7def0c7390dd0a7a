//! Images to calibrate and to evaluate with, as bytes of exactly the network's input size.
//!
//! A [`Dataset`] gives any image by its number and reads it when asked, so it can be shared
//! between threads and never holds more than a list of files (`.npy` and `.npz` excepted: those
//! are held whole). [`Preprocess`] says how an image of another size is fitted, and how bytes
//! become the numbers that a float network takes.

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
