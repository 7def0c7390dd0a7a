//! The quantization of each node's output: from the file, or from what the node reads.

use ndarray::{ArrayView3, Axis};

use super::{Builder, PROBABILITIES};
use crate::error::{Problem, unsupported};
use crate::network::{Conv, Node, NodeId, Op, Shape};
use crate::onnx::qdq::REMEDY;

/// Smallest scale of a map whose quantization is not in the file: that of a map of zeros.
const LEAST_SCALE: f64 = 1e-9;

impl Builder<'_> {
    /// Scale and zero point of the output of `id` with the activation at `end`, and whether it has
    /// 16 bits. `kept` is the quantization of its input.
    pub(super) fn output(
        &self,
        id: NodeId,
        end: NodeId,
        kept: Option<(f32, i32)>,
    ) -> Result<(f32, i32, bool), Problem> {
        let node = &self.float.nodes[id];
        let eight = |(scale, zero_point)| Ok((scale, zero_point, false));
        let is_output = self.outputs.iter().any(|output| output.node == end);
        let known = [end, id].iter().find_map(|id| self.qdq.maps.get(id)).copied();
        let known = known.or_else(|| self.copied(end));
        match (known, kept) {
            (known, _) if node.op == Op::Softmax => match known {
                // The scale of the file's output does not change how a softmax is computed.
                Some(wanted) if !is_output => eight(wanted),
                _ => eight(PROBABILITIES),
            },
            (Some((scale, zero_point)), _) => {
                let wide = [end, id].iter().any(|id| self.qdq.wide.contains_key(id));
                Ok((scale, zero_point, wide))
            }
            (None, Some((scale, zero_point)))
                if is_copy(&node.op) || matches!(node.op, Op::GlobalAveragePool | Op::Relu) =>
            {
                let input = node.inputs.first().and_then(|&input| self.places[input]);
                Ok((scale, zero_point, input.is_some_and(|place| self.nodes[place].int16)))
            }
            (None, Some(kept)) => match (&node.op, self.sum_behind(id), self.sum_of(id, end)) {
                (Op::Conv(conv), _, _) if is_output => scores(conv, kept),
                (_, Some([low, high]), Some([least, most])) => {
                    eight(affine([low.max(least), high.min(most)]))
                }
                (_, Some(range), None) | (_, None, Some(range)) => eight(affine(range)),
                _ => match self.reached(id, end) {
                    Some(range) => eight(affine(range)),
                    None if self.copies(id) => {
                        let input = node.inputs.first().and_then(|&input| self.places[input]);
                        let wide = input.is_some_and(|place| self.nodes[place].int16);
                        Ok((kept.0, kept.1, wide))
                    }
                    None => Err(unsupported("its output is not quantized", REMEDY)),
                },
            },
            (None, None) => Err(unsupported(
                "the image is not quantized before the first layer",
                "leave its normalization out of the network and give --mean and --std, or give the \
                 float network, which brooklet quantizes itself",
            )),
        }
    }

    /// Whether a node is a convolution, made by the importer, each of whose outputs is one of its
    /// inputs, or a zero around the map.
    pub(super) fn copies(&self, id: NodeId) -> bool {
        let Node { op: Op::Conv(conv), inputs, .. } = &self.float.nodes[id] else { return false };
        !self.qdq.convs.contains_key(&id) && selects(conv, self.float.nodes[inputs[0]].shape)
    }

    /// The quantization of a node that is only quantized after a copy or a maximum of it.
    fn copied(&self, end: NodeId) -> Option<(f32, i32)> {
        if self.readers[end] != 1 {
            return None;
        }
        let reads = |node: &Node| node.inputs.first() == Some(&end);
        let next = self.float.nodes.iter().position(reads)?;
        match self.float.nodes[next].op {
            Op::MaxPool(_) | Op::Subsample(_) => self.qdq.maps.get(&next).copied(),
            _ => None,
        }
    }

    /// The range that the sum of two maps can have.
    fn sum_of(&self, id: NodeId, end: NodeId) -> Option<[f64; 2]> {
        let node = &self.float.nodes[id];
        let (Op::Add, &[one, two]) = (&node.op, &node.inputs[..]) else { return None };
        let of = |id: NodeId| self.places[id].map(|place| ends(self.quantization(place)));
        let (one, two) = (of(one)?, of(two)?);
        let [low, high] = [one[0] + two[0], one[1] + two[1]];
        Some(match self.float.nodes[end].op {
            Op::Relu => [0.0, high],
            Op::Relu6 => [0.0, high.min(6.0)],
            _ => [low, high],
        })
    }

    /// The range that an operator of single values, a product or a concatenation can reach, if all that
    /// it reads is quantized to 8 bits.
    fn reached(&self, id: NodeId, end: NodeId) -> Option<[f64; 2]> {
        let node = &self.float.nodes[id];
        let place = |&input: &NodeId| self.places[input].filter(|&place| !self.nodes[place].int16);
        let places: Vec<usize> = node.inputs.iter().map(place).collect::<Option<_>>()?;
        let known: Vec<(f32, i32)> = places.iter().map(|&place| self.quantization(place)).collect();
        let &(scale, zero) = known.first()?;
        let reals = || (-128..=127).map(move |level| f64::from(level - zero) * f64::from(scale));
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            })
        };
        let both = ends((scale, zero));
        let [low, high] = match &node.op {
            Op::Function(function) => range(&mut reals().map(|real| function.value(real))),
            Op::Relu | Op::Relu6 => both,
            Op::BatchNorm(norm) => {
                let affine = (0..norm.scale.len()).map(|channel| norm.affine(channel));
                range(&mut affine.flat_map(|(factor, offset)| both.map(|x| factor * x + offset)))
            }
            Op::PRelu(slopes) => {
                let slopes = slopes.iter().chain(&[1.0]).map(|&slope| f64::from(slope));
                range(&mut slopes.flat_map(|slope| both.map(|x| slope * x.min(0.0) + x.max(0.0))))
            }
            Op::Multiply => {
                let [one, two] = [ends(known[0]), ends(*known.get(1)?)];
                range(&mut one.into_iter().flat_map(|a| two.map(|b| a * b)))
            }
            Op::Concat => range(&mut known.iter().flat_map(|&of| ends(of))),
            _ => return None,
        };
        Some(match self.float.nodes[end].op {
            Op::Relu => [0.0, high],
            Op::Relu6 => [0.0, high.min(6.0)],
            _ => [low, high],
        })
    }

    /// The range of a node that only an addition reads, if the file leaves it in float. Values
    /// beyond this range leave the range of the sum, whatever the other term is.
    fn sum_behind(&self, id: NodeId) -> Option<[f64; 2]> {
        let of_sum = |node: &Node| node.op == Op::Add && node.inputs.contains(&id);
        let add = self.float.nodes.iter().position(of_sum).filter(|_| self.readers[id] == 1)?;
        let end = self.activations[add].unwrap_or(add);
        let range = |id: NodeId| self.qdq.maps.get(&id).map(|&known| ends(known));
        let [low, high] = range(end).or_else(|| range(add))?;
        let other = self.float.nodes[add].inputs.iter().find(|&&input| input != id)?;
        let [other_low, other_high] = range(*other).unwrap_or([low, high]);
        Some([low - other_high, high - other_low])
    }

    /// Whether a node is a convolution whose sums are added, without rounding, to a map that is
    /// quantized: the result is rounded once, after the addition.
    pub(super) fn is_summed(&self, id: NodeId) -> bool {
        let quantized = |id: NodeId| self.qdq.is_quantized(id) && !self.qdq.wide.contains_key(&id);
        let Op::Conv(conv) = &self.float.nodes[id].op else { return false };
        let input = self.float.nodes[id].inputs[0];
        let of_sum = |node: &Node| node.op == Op::Add && node.inputs.contains(&id);
        let Some(add) = self.float.nodes.iter().position(of_sum) else { return false };
        let end = self.activations[add].unwrap_or(add);
        let other = self.float.nodes[add].inputs.iter().find(|&&input| input != id);
        // A copy has the quantization of its input.
        let source = |id: NodeId| match self.float.nodes[id].op {
            Op::Subsample(_) => self.float.nodes[id].inputs[0],
            _ => id,
        };
        let is_output = self
            .outputs
            .iter()
            .any(|output| [id, add].contains(&output.node) && output.node != end);
        self.readers[id] == 1
            && conv.groups == 1
            && conv.dilation == [1, 1]
            && self.activations[id].is_none()
            && !self.qdq.is_quantized(id)
            && !self.qdq.wide.contains_key(&input)
            && !is_output
            && (quantized(end) || quantized(add))
            && other.is_some_and(|&other| quantized(other) || quantized(source(other)))
    }
}

/// Whether each output of a convolution of a map of this shape is one of its inputs, or a zero around
/// the map.
pub(super) fn selects(conv: &Conv, shape: Shape) -> bool {
    let plain = conv.bias.iter().all(|&bias| bias == 0.0)
        && conv.weights.iter().all(|&weight| weight == 0.0 || weight == 1.0);
    // Along an axis on which the map has one position, a kernel meets it with one weight at most.
    let kernel = conv.kernel();
    let meets_one = (0..2).all(|axis| kernel[axis] == 1 || shape[axis] == 1);
    let one = |weights: ArrayView3<'_, f32>| {
        let taps = weights.lanes(Axis(2)).into_iter().map(|lane| lane.sum());
        let taps: Vec<f32> = taps.collect();
        match meets_one {
            true => taps.iter().all(|&sum| sum <= 1.0),
            false => taps.iter().sum::<f32>() <= 1.0,
        }
    };
    plain && conv.weights.outer_iter().all(one)
}

/// Whether an operator keeps the scale of its input.
pub(super) fn is_copy(op: &Op) -> bool {
    matches!(op, Op::Subsample(_) | Op::MaxPool(_) | Op::AveragePool(_))
}

/// The reals at both ends of int8.
fn ends((scale, zero_point): (f32, i32)) -> [f64; 2] {
    [-128, 127].map(|end| f64::from(end - zero_point) * f64::from(scale))
}

/// Scale and zero point of int8 for a range.
fn affine([low, high]: [f64; 2]) -> (f32, i32) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = ((high - low) / 255.0).max(LEAST_SCALE);
    (scale as f32, (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i32)
}

/// Quantization of scores that the file leaves in float, from an input with this quantization: 16
/// bits for the largest scores that the weights can make.
fn scores(conv: &Conv, input: (f32, i32)) -> Result<(f32, i32, bool), Problem> {
    let reach = ends(input);
    let largest = conv.weights.outer_iter().zip(&conv.bias).map(|(weights, &bias)| {
        let sums = [0, 1].map(|side| {
            let sum: f64 = weights
                .iter()
                .map(|&weight| {
                    let [one, two] = reach.map(|end| end * f64::from(weight));
                    if side == 0 { one.min(two) } else { one.max(two) }
                })
                .sum();
            (sum + f64::from(bias)).abs()
        });
        sums[0].max(sums[1])
    });
    let largest = largest.fold(0.0, f64::max);
    if !largest.is_finite() {
        return Err(unsupported("its output is not quantized", REMEDY));
    }
    Ok(((largest / 32767.0).max(f64::from(f32::MIN_POSITIVE)) as f32, 0, true))
}
