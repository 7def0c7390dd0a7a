//! The end of a residual block whose sums are rounded once, after the addition.

use brooklet::format::Operator;

use super::{channels, resolve, set_form, set_quantization};
use crate::error::Unrepresentable;
use crate::lower::weighted::set_join;
use crate::lower::{set_shortcut, shape};
use crate::network::{NodeId, QuantizedNetwork, QuantizedNode, QuantizedOp};
use crate::program::{Layer, Program};

/// The layer of the addition `node`, which adds another map to a convolution's sums.
pub(super) fn joined(
    network: &QuantizedNetwork,
    program: &Program,
    layer_of: &[usize],
    node: &QuantizedNode,
    [main, other]: [NodeId; 2],
) -> Result<Layer, Unrepresentable> {
    let main = &network.nodes[main];
    let too_large = || {
        let what = "its sums are too large for a join";
        Unrepresentable::new(&main.name, what)
    };
    let QuantizedOp::Conv(conv) = &main.op else { return Err(too_large()) };
    let input = main.inputs[0];
    let mut layer = Layer::new(&main.name, Operator::Conv, layer_of[input], shape(node.shape));
    set_quantization(&mut layer, node)?;
    let (of, subsample) = resolve(network, other);
    set_shortcut(&mut layer, layer_of[of], subsample)?;
    set_form(&mut layer, conv)?;
    let weights: Vec<i8> = conv.weights.iter().copied().collect();
    let mut reals = Vec::with_capacity(conv.bias.len());
    for (weights, bias, product) in channels(conv, &weights, &network.nodes[input]) {
        layer.weights.extend(weights);
        layer.bias.push(i32::try_from(bias).map_err(|_| too_large())?);
        reals.push(product / f64::from(node.scale));
    }
    set_join(&mut layer, &reals, &program.layers[layer_of[of]])?;
    Ok(layer)
}
