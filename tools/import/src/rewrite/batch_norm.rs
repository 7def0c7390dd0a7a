//! Folds batch norms into the convolutions before them.
//!
//! Folding is done in f64 and rounded once, so the result does not depend on a network's source.

use crate::error::{AtLayer, LayerProblem, Problem};
use crate::network::{BatchNorm, Conv, Network, NodeId, Op, Output, Statistics};

/// Folds batch norms into the convolutions before them; returns the node that now has each node's
/// value.
pub(crate) fn fold_batch_norms(
    network: &mut Network,
    outputs: &[Output],
) -> Result<Vec<NodeId>, LayerProblem> {
    let mut consumers = network.consumers();
    for output in outputs {
        consumers[output.node] += 1;
    }
    let mut moved: Vec<NodeId> = (0..network.nodes.len()).collect();
    for id in 0..network.nodes.len() {
        let (before, rest) = network.nodes.split_at_mut(id);
        let node = &mut rest[0];
        for input in &mut node.inputs {
            *input = moved[*input];
        }
        // A batch norm of a pre-activation ResNet stays, if it follows a sum, or a convolution that
        // the shortcut reads, too.
        let Op::BatchNorm(norm) = &node.op else { continue };
        let Op::Conv(conv) = &mut before[node.inputs[0]].op else { continue };
        if consumers[node.inputs[0]] > 1 {
            continue;
        }
        fold(conv, norm);
        check_finite(&Op::Conv(conv.clone())).at(&node.source)?;
        before[node.inputs[0]].statistics = norm.statistics();
        moved[id] = node.inputs[0];
        // The nodes that read the norm now read the convolution.
        consumers[node.inputs[0]] = consumers[id];
    }
    Ok(moved)
}

/// `conv` followed by `norm` as one convolution.
fn fold(conv: &mut Conv, norm: &BatchNorm) {
    for (channel, mut weights) in conv.weights.outer_iter_mut().enumerate() {
        let (factor, offset) = norm.affine(channel);
        weights.mapv_inplace(|weight| (f64::from(weight) * factor) as f32);
        conv.bias[channel] = (f64::from(conv.bias[channel]) * factor + offset) as f32;
    }
}

impl BatchNorm {
    /// The mean and deviation of its output in training; `None` if it is only a factor and an
    /// offset.
    fn statistics(&self) -> Option<Statistics> {
        let trained = self.mean.iter().any(|&mean| mean != 0.0);
        let deviation = self.scale.iter().map(|scale| scale.abs()).collect();
        trained.then(|| Statistics { mean: self.shift.clone(), deviation })
    }

    /// Factor and offset of a channel.
    pub fn affine(&self, channel: usize) -> (f64, f64) {
        let [scale, shift, mean, var] =
            [&self.scale, &self.shift, &self.mean, &self.var].map(|part| f64::from(part[channel]));
        let factor = scale / (var + f64::from(self.eps)).sqrt();
        (factor, shift - mean * factor)
    }
}

/// Refuses NaN and infinity among an operator's parameters.
pub(crate) fn check_finite(op: &Op) -> Result<(), Problem> {
    match op {
        Op::Conv(conv) => {
            finite("the weights", conv.weights.iter().copied())?;
            finite("the biases", conv.bias.iter().copied())
        }
        Op::BatchNorm(norm) => {
            finite("the batch norm's scales", norm.scale.iter().copied())?;
            finite("the batch norm's shifts", norm.shift.iter().copied())?;
            finite("the batch norm's means", norm.mean.iter().copied())?;
            finite("the batch norm's variances", norm.var.iter().copied())?;
            // A negative variance gives NaN here.
            let inverse = norm.var.iter().map(|&var| (var + norm.eps).sqrt().recip());
            finite("the batch norm's inverse deviations", inverse)
        }
        Op::PRelu(slopes) => finite("the slopes", slopes.iter().copied()),
        Op::Function(function) => {
            finite("the function's parameters", function.parameters().into_iter())
        }
        _ => Ok(()),
    }
}

fn finite(what: &'static str, mut values: impl Iterator<Item = f32>) -> Result<(), Problem> {
    match values.find(|value| !value.is_finite()) {
        Some(value) => Err(Problem::NotFinite { what, value: value.into() }),
        None => Ok(()),
    }
}
