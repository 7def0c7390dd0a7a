//! Arrays of images, and of numbers that are not pixels: features of sound or motion.
//!
//! A network takes one byte for each number of its input, whatever it means. Numbers are quantized
//! to bytes with one scale and one zero point, which are stored as mean and deviation of
//! [`Preprocess`].

use brooklet_plan::Preprocess;
use ndarray::{Array4, ArrayD, Axis, Ix4, IxDyn};

use crate::array::{element, npy};
use crate::error::DataProblem;
use crate::network::Shape;

/// The contents of an array file.
pub(crate) enum Numbers {
    /// Pixels.
    Bytes(ArrayD<u8>),
    /// Numbers of a sensor that are already quantized.
    Int8(ArrayD<i8>),
    /// Other numbers.
    Floats(ArrayD<f32>),
}

impl Numbers {
    /// Reads the bytes of an `.npy` file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let kind = element(bytes)?;
        Ok(match kind.trim_start_matches(['<', '>', '|', '=']) {
            "u1" | "b1" => Self::Bytes(npy::<u8, IxDyn>(bytes)?),
            "i1" => Self::Int8(npy::<i8, IxDyn>(bytes)?),
            "i2" => Self::Floats(npy::<i16, IxDyn>(bytes)?.mapv(f32::from)),
            "f4" => Self::Floats(npy::<f32, IxDyn>(bytes)?),
            "f8" => Self::Floats(npy::<f64, IxDyn>(bytes)?.mapv(|x| x as f32)),
            _ => {
                return Err(format!(
                    "its elements are of type {kind}: pixels are uint8, features float32, float64, \
                     int16 or int8"
                ));
            }
        })
    }

    /// The smallest and the largest number that a byte must represent; `None` for pixels.
    pub(crate) fn range(&self) -> Result<Option<[f32; 2]>, String> {
        match self {
            Self::Bytes(_) => Ok(None),
            Self::Int8(_) => Ok(Some([-128.0, 127.0])),
            Self::Floats(array) => {
                if let Some(value) = array.iter().find(|value| !value.is_finite()) {
                    return Err(format!("it holds {value}"));
                }
                let low = array.iter().copied().fold(0.0, f32::min);
                Ok(Some([low, array.iter().copied().fold(0.0, f32::max)]))
            }
        }
    }

    /// The numbers as bytes, `[images, height, width, channels]`, for a network with this input.
    pub(crate) fn images(
        self,
        input: Shape,
        preprocess: &Preprocess,
    ) -> Result<Array4<u8>, DataProblem> {
        let mean = |channel: usize| preprocess.mean.map_or(0.0, |mean| mean[channel.min(2)]);
        let std = |channel: usize| preprocess.std.map_or(1.0, |std| std[channel.min(2)]);
        let raw = preprocess.mean.is_none() && preprocess.std.is_none();
        let byte = |value: f32, channel: usize| match raw {
            true => value.round().clamp(0.0, 255.0) as u8,
            // `Preprocess::normalize` turns these bytes back into the numbers.
            false => {
                let share = value * std(channel) + mean(channel);
                (255.0 * share).round().clamp(0.0, 255.0) as u8
            }
        };
        match self {
            Self::Bytes(array) => laid_out(array, input),
            Self::Int8(array) => {
                let array = laid_out(array, input)?;
                Ok(bytes(&array, |value, channel| byte(value.into(), channel)))
            }
            Self::Floats(array) => Ok(bytes(&laid_out(array, input)?, byte)),
        }
    }
}

fn bytes<T: Copy>(array: &Array4<T>, byte: impl Fn(T, usize) -> u8) -> Array4<u8> {
    let mut result = Array4::zeros(array.dim());
    for ((index, &value), place) in array.indexed_iter().zip(&mut result) {
        *place = byte(value, index.3);
    }
    result
}

/// Images as NHWC; they are taken as NCHW only if nothing else is possible. Arrays of fewer
/// dimensions are gray images, sequences, or flat lists of numbers.
fn laid_out<T: Clone>(array: ArrayD<T>, input: Shape) -> Result<Array4<T>, DataProblem> {
    let found = array.shape().to_vec();
    let [height, width, channels] = input;
    let swapped = |array: ArrayD<T>, order: &[usize]| {
        array.permuted_axes(IxDyn(order)).as_standard_layout().into_owned()
    };
    let array = match found[..] {
        [_, one, _, three] if three != channels && one == channels => swapped(array, &[0, 2, 3, 1]),
        [_, _, _, _] => array,
        // `[N, width, channels]` or `[N, channels, width]` for a sequence, otherwise gray images.
        [_, one, two] if height == 1 && [one, two] == [width, channels] => {
            array.insert_axis(Axis(1))
        }
        [_, one, two] if height == 1 && [two, one] == [width, channels] => {
            swapped(array, &[0, 2, 1]).insert_axis(Axis(1))
        }
        [_, _, _] => array.insert_axis(Axis(3)),
        [count, size] if size == height * width * channels => {
            let rows = array.as_standard_layout().into_owned();
            let shape = IxDyn(&[count, height, width, channels]);
            rows.into_shape_with_order(shape)
                .map_err(|error| DataProblem::Data { detail: error.to_string() })?
        }
        _ => {
            let detail = format!(
                "is an array of shape {found:?}, but the network takes {height}×{width}×{channels} \
                 (height, width, channels) per image"
            );
            return Err(DataProblem::Data { detail });
        }
    };
    Ok(array.into_dimensionality::<Ix4>().expect("four dimensions"))
}

/// The images of an IDX file of bytes, the format of MNIST.
pub(super) fn idx(bytes: &[u8]) -> Result<ArrayD<u8>, String> {
    let [0, 0, 8, dimensions, rest @ ..] = bytes else {
        return Err("is not an IDX file of bytes".into());
    };
    let (sizes, data) =
        rest.split_at_checked(4 * usize::from(*dimensions)).ok_or("ends within its header")?;
    let sizes: Vec<usize> =
        sizes.as_chunks().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let count = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if count != Some(data.len()) || sizes.len() > 4 {
        return Err(format!("declares {sizes:?} bytes, but holds {}", data.len()));
    }
    ArrayD::from_shape_vec(IxDyn(&sizes), data.to_vec()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_npy::WriteNpyExt;

    #[test]
    fn numbers_go_to_bytes_and_back() {
        let preprocess =
            Preprocess { mean: Some([0.5; 3]), std: Some([1.0 / 25.5; 3]), ..Default::default() };
        let numbers =
            ArrayD::from_shape_vec(vec![1, 3, 2], vec![-12.7f32, 0.0, 3.3, 12.6, 99.0, 5.0]);
        let mut file = Vec::new();
        numbers.unwrap().write_npy(&mut file).unwrap();
        let read = Numbers::read(&file).unwrap();
        assert_eq!(read.range(), Ok(Some([-12.7, 99.0])));
        let images = read.images([1, 3, 2], &preprocess).unwrap();
        assert_eq!(images.dim(), (1, 1, 3, 2));
        let again = images.mapv(|byte| preprocess.normalize(byte, 0));
        for (number, wanted) in again.iter().zip([-12.7, 0.0, 3.3, 12.6, 12.75, 5.0]) {
            assert!((number - wanted).abs() <= 0.051, "{number} {wanted}");
        }
    }

    #[test]
    fn layouts() {
        let numbers = || ArrayD::from_shape_vec(vec![2, 6], (0..12).collect::<Vec<u8>>()).unwrap();
        assert_eq!(laid_out(numbers(), [1, 2, 3]).unwrap()[[1, 0, 1, 0]], 9);
        let sequence = numbers().into_shape_with_order(vec![2, 2, 3]).unwrap();
        assert_eq!(laid_out(sequence.clone(), [1, 2, 3]).unwrap()[[0, 0, 1, 0]], 3);
        assert_eq!(laid_out(sequence.clone(), [1, 3, 2]).unwrap()[[0, 0, 0, 1]], 3);
        assert_eq!(laid_out(sequence, [2, 3, 1]).unwrap()[[0, 1, 0, 0]], 3);
        assert!(laid_out(numbers(), [1, 2, 2]).is_err());
    }

    #[test]
    fn idx_files() {
        let file = [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat();
        assert_eq!(idx(&file).unwrap()[[1, 0]], 4);
        for wrong in [&file[..11], &file[..17], &[0, 0, 9, 1, 0, 0, 0, 0], &[0, 0, 8, 0]] {
            assert!(idx(wrong).is_err(), "{wrong:?}");
        }
    }
}
