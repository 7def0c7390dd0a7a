//! Reads the values of an ONNX tensor, wherever the file stores them.

use std::io::{Seek, SeekFrom};
use std::path::{Component, Path};

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use super::constant::{Constant, MAX_ELEMENTS};
use super::node::corrupt;
use crate::error::Problem;
use crate::proto::{TensorProto, data_type};
use brooklet_files::{self as files, Limit};

/// The tensor as a constant; `folder` is that of the file.
pub(super) fn read(tensor: &TensorProto, folder: &Path) -> Result<Constant, Problem> {
    let mut shape = Vec::with_capacity(tensor.dims.len());
    let mut count = 1usize;
    for &dim in &tensor.dims {
        let dim = usize::try_from(dim).map_err(|_| corrupt(format!("a dimension of {dim}")))?;
        count = count
            .checked_mul(dim)
            .filter(|&n| n <= MAX_ELEMENTS)
            .ok_or_else(|| corrupt(format!("a tensor of shape {:?}", tensor.dims)))?;
        shape.push(dim);
    }
    let kind = tensor.data_type.unwrap_or(0);
    let size = match kind {
        data_type::FLOAT | data_type::INT32 => 4,
        data_type::INT64 | data_type::DOUBLE => 8,
        data_type::INT16 | data_type::UINT16 => 2,
        data_type::FLOAT16 | data_type::BFLOAT16 => 2,
        data_type::BOOL | data_type::INT8 | data_type::UINT8 => 1,
        data_type::INT4 | data_type::UINT4 => return nibbles(tensor, kind, &shape, folder),
        other => {
            return Err(Problem::ElementType { found: name(other).into() });
        }
    };
    let raw = if tensor.data_location == Some(1) {
        Some(external(tensor, folder, count * size)?)
    } else {
        tensor.raw_data.clone().filter(|data| !data.is_empty())
    };
    if raw.as_ref().is_some_and(|raw| raw.len() != count * size) {
        let found = raw.map_or(0, |raw| raw.len());
        return Err(corrupt(format!("{found} bytes of data for shape {:?}", tensor.dims)));
    }
    let floats = |values: Vec<f32>| array(&shape, values).map(Constant::Floats);
    let ints = |values: Vec<i64>| array(&shape, values).map(Constant::Ints);
    match (kind, raw) {
        (data_type::FLOAT, Some(raw)) => floats(words(&raw, f32::from_le_bytes)),
        (data_type::FLOAT, None) => floats(tensor.float_data.clone()),
        (data_type::DOUBLE, Some(raw)) => floats(words(&raw, |b| f64::from_le_bytes(b) as f32)),
        (data_type::DOUBLE, None) => floats(tensor.double_data.iter().map(|&x| x as f32).collect()),
        (data_type::FLOAT16, Some(raw)) => floats(words(&raw, |b| f16::from_le_bytes(b).to_f32())),
        (data_type::BFLOAT16, Some(raw)) => {
            floats(words(&raw, |b| bf16::from_le_bytes(b).to_f32()))
        }
        // Each is stored in the low half of 32 bits.
        (data_type::FLOAT16, None) => {
            let values = tensor.int32_data.iter();
            floats(values.map(|&bits| f16::from_bits(bits as u16).to_f32()).collect())
        }
        (data_type::BFLOAT16, None) => {
            let values = tensor.int32_data.iter();
            floats(values.map(|&bits| bf16::from_bits(bits as u16).to_f32()).collect())
        }
        (data_type::INT64, Some(raw)) => ints(words(&raw, i64::from_le_bytes)),
        (data_type::INT64, None) => ints(tensor.int64_data.clone()),
        (data_type::INT32, Some(raw)) => ints(words(&raw, |b| i32::from_le_bytes(b).into())),
        (data_type::INT16, Some(raw)) => ints(words(&raw, |b| i16::from_le_bytes(b).into())),
        (data_type::UINT16, Some(raw)) => ints(words(&raw, |b| u16::from_le_bytes(b).into())),
        (data_type::INT8, Some(raw)) => ints(words(&raw, |b| i8::from_le_bytes(b).into())),
        (_, Some(raw)) => ints(raw.into_iter().map(i64::from).collect()),
        (_, None) => ints(tensor.int32_data.iter().map(|&x| x.into()).collect()),
    }
}

/// Integers of four bits, two per byte, the first in the lower half.
fn nibbles(
    tensor: &TensorProto,
    kind: i32,
    shape: &[usize],
    folder: &Path,
) -> Result<Constant, Problem> {
    let count: usize = shape.iter().product();
    let length = count.div_ceil(2);
    let bytes = match (tensor.data_location, &tensor.raw_data) {
        (Some(1), _) => external(tensor, folder, length)?,
        (_, Some(raw)) if !raw.is_empty() => raw.clone(),
        _ => tensor.int32_data.iter().map(|&pair| pair as u8).collect(),
    };
    if bytes.len() != length {
        let detail = format!("{} bytes of data for shape {:?}", bytes.len(), tensor.dims);
        return Err(corrupt(detail));
    }
    let halves = bytes.iter().flat_map(|&byte| [byte & 15, byte >> 4]).take(count);
    let value = |half: u8| match kind {
        data_type::INT4 => i64::from((half << 4) as i8 >> 4),
        _ => i64::from(half),
    };
    array(shape, halves.map(value).collect()).map(Constant::Ints)
}

fn name(kind: i32) -> &'static str {
    match kind {
        data_type::STRING => "string",
        _ => "a type that networks are not made of",
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, Problem> {
    let found = values.len();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| corrupt(format!("{found} values for shape {shape:?}")))
}

fn words<const N: usize, T>(raw: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
}

/// A tensor's bytes from the file that newer PyTorch exporters write beside the network.
fn external(tensor: &TensorProto, folder: &Path, length: usize) -> Result<Vec<u8>, Problem> {
    let entry = |key: &str| {
        let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
        found.and_then(|entry| entry.value.as_deref())
    };
    let location = entry("location").ok_or_else(|| corrupt("weights at an unnamed location"))?;
    // A network must not make us read files in other folders.
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(location).components().all(inside) {
        return Err(corrupt(format!("weights at the location `{location}`")));
    }
    let offset = entry("offset").unwrap_or("0").parse().map_err(|_| corrupt("its data offset"))?;
    let data = files::open(&folder.join(location)).and_then(|(mut file, bytes)| {
        file.seek(SeekFrom::Start(offset))?;
        files::take(file, bytes.saturating_sub(offset).min(length as u64), Limit::Network)
    });
    data.map_err(|problem| Problem::Companion { location: location.to_owned(), problem })
}
