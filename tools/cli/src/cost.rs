//! How many instructions a layer takes, by a model that was fitted to measured counts.

use brooklet::Shape;
use brooklet::format::{LayerRecord, Operator, Packing};

use crate::packing::Kernels;

/// Instructions of a layer for one picture.
pub fn instructions(kernels: Kernels, layer: &LayerRecord, input: Shape) -> f64 {
    let output = layer.shape();
    let taps = layer.kernel.map(f64::from).iter().product::<f64>() * f64::from(input.channels);
    let macs = match layer.operator() {
        Operator::Conv => taps * output.bytes() as f64,
        _ => return 0.0,
    };
    let each = match (kernels, layer.packing()) {
        (Kernels::Armv7em, Packing::Pairs) => 0.82,
        (Kernels::Armv7em, Packing::WidePairs) => 0.7,
        (Kernels::Armv7em, _) => 0.42,
        (_, Packing::Winograd) => 2.0,
        (_, _) => 4.0,
    };
    each * macs
}
