//! Constants of a file: its own, and those computed from them.

use std::collections::HashMap;

use half::f16;

use super::graph::{Graph, Tensor};
use super::schema::{corrupt, element, element_name};
use crate::error::{Problem, unsupported};

/// The contents of a tensor without data of its own.
pub(super) enum Constant {
    /// The values of another tensor as floats.
    Dequantized(i32),
    /// A shape, or a part of one.
    Ints(Vec<i64>),
}

/// The constants of a file.
pub(super) struct Constants<'g, 'a> {
    graph: &'g Graph<'a>,
    computed: HashMap<i32, Constant>,
}

impl<'g, 'a> Constants<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>) -> Self {
        Self { graph, computed: HashMap::new() }
    }

    /// Whether a tensor is constant.
    pub(super) fn has(&self, at: i32) -> bool {
        let own = self.graph.tensor(at).is_ok_and(|tensor| !tensor.data.is_empty());
        own || self.computed.contains_key(&at)
    }

    pub(super) fn insert(&mut self, at: i32, constant: Constant) {
        self.computed.insert(at, constant);
    }

    /// The tensor that holds the numbers of a float constant.
    pub(super) fn tensor(&self, at: i32) -> Result<&'g Tensor<'a>, Problem> {
        match self.computed.get(&at) {
            Some(&Constant::Dequantized(of)) => self.graph.tensor(of),
            _ => self.graph.tensor(at),
        }
    }

    /// A list of integers, such as paddings and shapes.
    pub(super) fn ints(&self, at: i32) -> Result<Vec<i64>, Problem> {
        match self.computed.get(&at) {
            Some(Constant::Ints(ints)) => Ok(ints.clone()),
            _ => self.graph.tensor(at)?.ints(),
        }
    }

    /// Floats, or integers times their scales, as in files of which only the weights are quantized.
    pub(super) fn floats(&self, at: i32) -> Result<Vec<f32>, Problem> {
        let tensor = self.tensor(at)?;
        match tensor.kind {
            element::FLOAT32 => Ok(tensor.words(f32::from_le_bytes)),
            element::FLOAT16 => Ok(tensor.words(|b| f16::from_le_bytes(b).to_f32())),
            element::INT8 => scaled(tensor, &tensor.words(|b| i8::from_le_bytes(b).into())),
            element::UINT8 => scaled(tensor, &tensor.words(|b| u8::from_le_bytes(b).into())),
            kind => Err(unsupported(
                format!("weights of element type {}", element_name(kind)),
                "convert the network with weights in float32, float16 or int8",
            )),
        }
    }
}

/// Integers times their scales: one, or one for each index of a dimension.
fn scaled(tensor: &Tensor<'_>, integers: &[i32]) -> Result<Vec<f32>, Problem> {
    let size = |dim: usize| tensor.shape.get(dim).and_then(|&n| usize::try_from(n).ok());
    let (scales, zeros) = (&tensor.scales, &tensor.zero_points);
    let dimension = usize::try_from(tensor.quantized_dimension).unwrap_or(usize::MAX);
    let extent = if scales.len() == 1 { Some(1) } else { size(dimension) };
    let fits = |count: usize| count == 1 || Some(count) == extent;
    if scales.is_empty() || zeros.is_empty() || !fits(scales.len()) || !fits(zeros.len()) {
        let shape = &tensor.shape;
        return Err(corrupt(format!("{} scales for weights of shape {shape:?}", scales.len())));
    }
    let behind: usize =
        (dimension.saturating_add(1)..tensor.shape.len()).filter_map(size).product();
    let along = |place: usize, count: usize| match count {
        1 => 0,
        count => place / behind.max(1) % count,
    };
    let real = |(place, &integer): (usize, &i32)| {
        let zero = zeros[along(place, zeros.len())];
        (i64::from(integer) - zero) as f32 * scales[along(place, scales.len())]
    };
    Ok(integers.iter().enumerate().map(real).collect())
}
