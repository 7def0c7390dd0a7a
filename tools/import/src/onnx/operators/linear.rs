//! Fully connected layers, from Gemm or MatMul.

use ndarray::{Array2, Ix2, IxDyn};

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Channel, Height, Map, Width};
use crate::onnx::node::{float, int, op_type};

pub(super) fn matrix(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let gemm = op_type(call.node) == "Gemm";
    let scaled = float(call.node, "alpha", 1.0) != 1.0 || float(call.node, "beta", 1.0) != 1.0;
    if gemm && (scaled || int(call.node, "transA", 0) != 0) {
        return Err(unsupported(
            "a scaled or transposed matrix product",
            "export the last layer as a plain linear layer",
        ));
    }
    let weights = call.constant(1)?.floats()?;
    importer.take(weights.len())?;
    let weights = weights.view().into_dimensionality::<Ix2>().map_err(|_| {
        unsupported(
            format!("its weights have shape {:?}", weights.shape()),
            "export the last layer as a plain linear layer",
        )
    })?;
    // [outputs, inputs]
    let transposed = gemm && int(call.node, "transB", 0) != 0;
    let weights = if transposed { weights } else { weights.reversed_axes() };
    let (out, depth) = weights.dim();
    let [height, width, channels] = map.view.shape();
    if !gemm && map.dims.len() > 2 && map.dims.last() == Some(&vec![Channel]) && depth == channels {
        return over_pixels(importer, call, map, weights.as_standard_layout().into_owned());
    }
    let flat = map.dims.len() == 2 && map.size(0) == 1 && map.size(1) == depth;
    if !flat || depth != height * width * channels {
        return Err(unsupported(
            format!("multiplies {:?} by a matrix of {depth} rows", map.sizes()),
            "flatten the map before the linear layer",
        ));
    }
    // The rows of the matrix run over the map's axes in the order in which these were flattened.
    let mut order = map.dims[1].clone();
    order.extend([Height, Width, Channel].iter().filter(|axis| !map.dims[1].contains(axis)));
    let mut dims = vec![out];
    dims.extend(order.iter().map(|&axis| map.extent(axis)));
    let place = |axis| 1 + order.iter().position(|&other| other == axis).expect("all three");
    let weights = weights.as_standard_layout().into_owned();
    let weights = weights.into_shape_with_order(IxDyn(&dims)).expect("as many elements");
    let weights = weights.permuted_axes(IxDyn(&[0, place(Height), place(Width), place(Channel)]));
    let bias = match call.inputs.get(2) {
        Some(Some(_)) => call.floats(2)?,
        _ => vec![0.0; out],
    };
    let op = Op::Conv(Conv {
        weights: weights
            .as_standard_layout()
            .into_owned()
            .into_dimensionality()
            .expect("four dimensions"),
        bias: if bias.len() == 1 { vec![bias[0]; out] } else { bias },
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected: true,
    });
    let input = importer.settle(map, &call.name)?;
    let id = importer.network.push(op, &[input], &call.name)?;
    let axis = usize::from(!transposed);
    importer.qdq.conv(id, [0, 1, 2].map(|input| call.node.input.get(input)), axis, out);
    Ok(Map { view: importer.view(id), dims: vec![vec![], vec![Channel]] })
}

/// A linear layer of each pixel: a 1×1 convolution.
fn over_pixels(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    map: &Map,
    weights: Array2<f32>,
) -> Result<Map, Problem> {
    let (out, depth) = weights.dim();
    let weights = weights.into_shape_with_order((out, 1, 1, depth)).expect("as many elements");
    let op = Op::Conv(Conv {
        weights,
        bias: vec![0.0; out],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected: false,
    });
    let input = importer.settle(map, &call.name)?;
    let id = importer.network.push(op, &[input], &call.name)?;
    importer.qdq.conv(id, [call.node.input.first(), call.node.input.get(1), None], 1, out);
    Ok(Map { view: importer.view(id), dims: map.dims.clone() })
}
