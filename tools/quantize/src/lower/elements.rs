//! Layers that compute numbers one by one: functions, products, concatenations, and means over a
//! window.
//!
//! They are the same for float and int8 networks.

use brooklet_plan::records::{set_lookup, set_multiply};
use zerocopy::little_endian::{I32, U16};

use super::{set_shortcut, set_window};
use crate::error::Unrepresentable;
use crate::network::AveragePool;
use crate::program::{Layer, Table};

/// Scale and zero point of a layer's output.
fn quantization(layer: &Layer) -> (f64, f64) {
    (f64::from(layer.record.scale.get()), f64::from(layer.record.zero_point))
}

/// For each int8 of `input` the int8 of `output` that is nearest to a function of its real, indexed
/// by the int8 + 128.
pub(crate) fn table(input: &Layer, output: &Layer, function: impl Fn(f64) -> f64) -> [i8; 256] {
    let of = |layer: &Layer| (layer.record.scale.get(), i32::from(layer.record.zero_point));
    nearest(of(input), of(output), function)
}

/// The same as [`table`], from scales and zero points.
pub(crate) fn nearest(
    (scale, zero): (f32, i32),
    (output_scale, output_zero): (f32, i32),
    function: impl Fn(f64) -> f64,
) -> [i8; 256] {
    std::array::from_fn(|index| {
        let real = function(f64::from(scale) * f64::from(index as i32 - 128 - zero));
        let value = (real / f64::from(output_scale)).round() + f64::from(output_zero);
        value.clamp(-128.0, 127.0) as i8
    })
}

/// Sets the tables of functions: one for all channels, or one per channel.
pub(crate) fn set_functions(
    layer: &mut Layer,
    tables: &[[i8; 256]],
) -> Result<(), Unrepresentable> {
    set_lookup(layer, tables).ok_or_else(|| {
        Unrepresentable::new(&layer.name, "has more than 256 different functions of channels")
    })
}

/// Sets a product with the layer `of`.
pub(crate) fn set_product(
    layer: &mut Layer,
    input: &Layer,
    of: usize,
    shortcut: &Layer,
) -> Result<(), Unrepresentable> {
    set_shortcut(layer, of, None)?;
    if shortcut.record.shape() != layer.record.shape() {
        // One pixel is used for all of the map.
        layer.record.shortcut_stride = 0;
    }
    let scales = [input, shortcut].map(|operand| operand.record.scale.get());
    set_multiply(layer, scales)
        .ok_or_else(|| Unrepresentable::new(&layer.name, "its scales are out of proportion"))
}

/// Sets a concatenation with the layer `of`.
pub(crate) fn set_concat(
    layer: &mut Layer,
    input: &Layer,
    of: usize,
    shortcut: &Layer,
) -> Result<(), Unrepresentable> {
    set_shortcut(layer, of, None)?;
    layer.record.shortcut_channels_before = U16::new(input.record.channels.get());
    let alike = |operand: &Layer| quantization(operand) == quantization(layer);
    if !(alike(input) && alike(shortcut)) {
        let tables = [input, shortcut].map(|operand| table(operand, layer, |real| real));
        layer.table = Some(Table::Bytes(tables.concat()));
    }
    Ok(())
}

/// Sets a mean over a window.
pub(crate) fn set_average(layer: &mut Layer, pool: &AveragePool) -> Result<(), Unrepresentable> {
    set_window(layer, &pool.window)?;
    let counted = pool.counted != [0; 4];
    let pixels = pool.window.kernel.iter().product::<usize>();
    layer.record.parameter = I32::new(if counted { pixels as i32 } else { 0 });
    Ok(())
}
