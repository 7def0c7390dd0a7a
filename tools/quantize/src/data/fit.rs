//! Fits an image to a network's input.

use std::path::Path;

use brooklet_files::{self as files, Limit};
use brooklet_plan::Preprocess;
use image::{DynamicImage, imageops};
use ndarray::{Array3, Axis};

use super::decode;
use crate::error::{DataError, DataProblem};
use crate::network::Shape;

/// Resizes and crops an image to the network's input size.
pub(super) fn fit(
    preprocess: &Preprocess,
    image: DynamicImage,
    input: Shape,
) -> Result<Array3<u8>, DataProblem> {
    let mut image = image;
    if let Some(resize) = preprocess.resize {
        image = decode::resize(image, resize)?;
    }
    if let Some([height, width]) = preprocess.crop {
        let found = [image.height(), image.width()];
        if found[0] < height || found[1] < width {
            let [found, crop] = [found, [height, width]].map(|size| size.map(|n| n as usize));
            return Err(DataProblem::CropSize { found, crop });
        }
        // Halves round to even, as in Python.
        let start = |all: u32, part: u32| (f64::from(all - part) / 2.0).round_ties_even() as u32;
        let (x, y) = (start(found[1], width), start(found[0], height));
        image = imageops::crop_imm(&image, x, y, width, height).to_image().into();
    }
    let [height, width, channels] = input;
    let size = [image.height() as usize, image.width() as usize];
    let pixels = match channels {
        1 => image.into_luma8().into_raw(),
        _ => image.into_rgb8().into_raw(),
    };
    if size != [height, width] || channels * height * width != pixels.len() {
        let found = [size[0], size[1], pixels.len() / (size[0] * size[1]).max(1)];
        return Err(DataProblem::ImageSize { found, wanted: input });
    }
    Ok(Array3::from_shape_vec((height, width, channels), pixels).expect("as many pixels"))
}

/// [`Preprocess::normalize`] for all pixels of one image.
pub fn normalized(preprocess: &Preprocess, pixels: &Array3<u8>) -> Array3<f32> {
    let channels = pixels.len_of(Axis(2));
    let tables: Vec<[f32; 256]> = (0..channels)
        .map(|channel| std::array::from_fn(|pixel| preprocess.normalize(pixel as u8, channel)))
        .collect();
    let mut result = Array3::zeros(pixels.dim());
    for ((index, &pixel), value) in pixels.indexed_iter().zip(&mut result) {
        *value = tables[index.2][usize::from(pixel)];
    }
    result
}

/// Reads one image file, fitted to the network's input.
pub fn read_image(
    path: impl AsRef<Path>,
    input: Shape,
    preprocess: &Preprocess,
) -> Result<Array3<u8>, DataError> {
    let path = path.as_ref();
    let read = || {
        let bytes = files::read(path, Limit::Image)?;
        fit(preprocess, decode::decode(&bytes)?, input)
    };
    read().map_err(|problem: DataProblem| problem.in_file(path))
}
