//! Checks that networks only hold operators that layers exist for.

use brooklet::ops::MAX_KERNEL;

use crate::error::Unrepresentable;
use crate::network::{AveragePool, Network, Op, QuantizedNetwork, QuantizedOp};

/// Refuses a float network with an operator for which there are no layers.
pub(crate) fn float(network: &Network) -> Result<(), Unrepresentable> {
    for node in &network.nodes {
        let problem = match &node.op {
            Op::Conv(conv) => kernel(conv.kernel(), conv.dilation),
            Op::MaxPool(window) => kernel(window.kernel, [1, 1]),
            Op::AveragePool(pool) => average(pool),
            Op::Border(border) => {
                let [top, _, bottom, _] = border.pads;
                let rows = 2 * (top + bottom) + 1;
                (rows > MAX_KERNEL).then(|| {
                    format!("of {top} and {bottom} rows: layers have up to 3 above and below")
                })
            }
            Op::Ending(_) => Some("which no layer computes in int8".into()),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(unknown(&node.name, &node.source, node.op.name(), &problem));
        }
    }
    Ok(())
}

/// Refuses an int8 network with an operator for which there are no layers.
pub(crate) fn int8(network: &QuantizedNetwork) -> Result<(), Unrepresentable> {
    for node in &network.nodes {
        let problem = match &node.op {
            QuantizedOp::Conv(conv) => {
                let (_, rows, columns, _) = conv.weights.dim();
                kernel([rows, columns], conv.dilation)
            }
            QuantizedOp::MaxPool(window) => kernel(window.kernel, [1, 1]),
            QuantizedOp::AveragePool(pool) => average(pool),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(unknown(&node.name, &node.source, node.op.name(), &problem));
        }
    }
    Ok(())
}

/// What is wrong with a kernel, if anything is.
fn kernel(kernel: [usize; 2], dilation: [usize; 2]) -> Option<String> {
    let size = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1;
    (size(0) > MAX_KERNEL || size(1) > MAX_KERNEL).then(|| {
        format!(
            "whose kernel spans {}×{} of the map: layers have up to {MAX_KERNEL}×{MAX_KERNEL}",
            size(0),
            size(1)
        )
    })
}

/// What is wrong with an average, if anything is.
fn average(pool: &AveragePool) -> Option<String> {
    let uneven = pool.counted != [0; 4] && pool.counted != pool.window.pads;
    kernel(pool.window.kernel, [1, 1]).or_else(|| {
        uneven.then(|| "which counts a part of its padding: count all of it, or none".into())
    })
}

fn unknown(name: &str, source: &str, operator: &str, problem: &str) -> Unrepresentable {
    let file = if source == name { String::new() } else { format!(" (`{source}` in the file)") };
    Unrepresentable::new(name, format!("is {operator}{file}, {problem}"))
}
