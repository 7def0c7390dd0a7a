//! Constants of a file, and what is computed from them alone: dequantized weights, and the shapes
//! that converters spell out where a batch is open.

use std::collections::HashMap;

use half::f16;

use super::call::Call;
use super::graph::{Graph, Tensor};
use super::schema::{corrupt, element, element_name};
use crate::error::{Problem, unsupported};

/// Most numbers of a shape.
const MOST: usize = 64;

/// What a tensor without data of its own holds.
pub(super) enum Constant {
    /// The same as another tensor, as float.
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

    /// Floats, or integers times their scales: of files whose weights alone are quantized.
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

/// What an operator computes whose inputs are all constant; `shape` is that of a map that it asks
/// for.
pub(super) fn evaluate(
    call: &Call<'_>,
    constants: &Constants<'_, '_>,
    shape: Option<Vec<i64>>,
) -> Result<Constant, Problem> {
    let ints = |at: usize| constants.ints(call.input(at)?);
    let result = match call.name {
        "DEQUANTIZE" => return Ok(Constant::Dequantized(call.input(0)?)),
        "SHAPE" => match shape {
            Some(shape) => shape,
            None => {
                constants.tensor(call.input(0)?)?.shape.iter().map(|&size| size.into()).collect()
            }
        },
        "CAST" | "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => ints(0)?,
        "PACK" | "CONCATENATION" => {
            let mut all = Vec::new();
            for at in 0..call.operator.inputs.len() {
                all.extend(ints(at)?);
            }
            all
        }
        "STRIDED_SLICE" => {
            let (list, begin, end) = (ints(0)?, ints(1)?, ints(2)?);
            let options = call.options();
            let size = list.len() as i64;
            let place = |bound: &[i64], open: i64, mask: i32| match bound.first() {
                Some(&at) if mask & 1 == 0 => if at < 0 { at + size } else { at }.clamp(0, size),
                _ => open,
            };
            let begin = place(&begin, 0, options.int(0, 0)?) as usize;
            let end = place(&end, size, options.int(1, 0)?) as usize;
            // An index instead of a range keeps one.
            let end = if options.int(4, 0)? & 1 != 0 { (begin + 1).min(list.len()) } else { end };
            list.get(begin..end).unwrap_or(&[]).to_vec()
        }
        "GATHER" => {
            let list = ints(0)?;
            let at = |&at: &i64| {
                let place = if at < 0 { at + list.len() as i64 } else { at };
                usize::try_from(place).ok().and_then(|at| list.get(at)).copied()
            };
            let picked: Option<Vec<i64>> = ints(1)?.iter().map(at).collect();
            picked.ok_or_else(|| corrupt("gathers beyond the end"))?
        }
        "REDUCE_PROD" => {
            let product = ints(0)?.iter().try_fold(1i64, |product, &n| product.checked_mul(n));
            vec![product.ok_or_else(|| corrupt("a product of sizes beyond 64 bits"))?]
        }
        "MUL" | "ADD" | "SUB" => {
            let (a, b) = (ints(0)?, ints(1)?);
            let both = a.iter().zip(b.iter().cycle()).map(|(&a, &b)| match call.name {
                "MUL" => a.checked_mul(b),
                "ADD" => a.checked_add(b),
                _ => a.checked_sub(b),
            });
            both.collect::<Option<Vec<_>>>().ok_or_else(|| corrupt("sizes beyond 64 bits"))?
        }
        name => {
            return Err(Problem::UnsupportedOperator {
                op: name.into(),
                remedy: "it only works on constants: convert the network with a fixed batch of one"
                    .into(),
            });
        }
    };
    match result.len() <= MOST {
        true => Ok(Constant::Ints(result)),
        false => Err(unsupported(
            format!("{} makes {} integers", call.name, result.len()),
            "convert the network with constants folded",
        )),
    }
}
