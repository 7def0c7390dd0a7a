//! Batch norms, and layers that normalize the image.

use super::Map;
use crate::error::{Problem, unsupported};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk};
use crate::network::{BatchNorm, Op};

/// The least deviation that `Normalization` divides by.
const LEAST_DEVIATION: f32 = 1e-7;

/// Refuses a layer that normalizes a dimension other than the channels.
fn require_channels(call: &Call<'_>, map: &Map) -> Result<(), Problem> {
    let axis = match &call.layer.config["axis"] {
        serde_json::Value::Array(axes) => match &axes[..] {
            [one] => one.as_i64(),
            _ => None,
        },
        serde_json::Value::Null => Some(-1),
        one => one.as_i64(),
    };
    match axis {
        Some(axis) if axis == -1 || axis == map.dimensions as i64 => Ok(()),
        _ => Err(unsupported(
            format!("normalizes along {}", call.layer.config["axis"]),
            "normalize the channels, which are last: `axis=-1`",
        )),
    }
}

/// A weight with one value per channel.
fn per_channel(
    walk: &mut Walk,
    call: &Call<'_>,
    name: &str,
    number: usize,
    channels: usize,
) -> Result<Vec<f32>, Problem> {
    let weight = walk.weight(call, &[name], number)?;
    match weight.len() == channels {
        true => Ok(weight.iter().copied().collect()),
        false => Err(corrupt(format!("{} values of `{name}` for {channels}", weight.len()))),
    }
}

pub(super) fn batch_norm(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    require_channels(call, &map)?;
    let channels = map.view.shape()[2];
    let mut number = 0;
    let mut next = |walk: &mut Walk, name: &str, flag: &str, default: f32| {
        if !call.layer.flag(flag, true) {
            return Ok(vec![default; channels]);
        }
        number += 1;
        per_channel(walk, call, name, number - 1, channels)
    };
    let scale = next(walk, "gamma", "scale", 1.0)?;
    let shift = next(walk, "beta", "center", 0.0)?;
    let mean = next(walk, "moving_mean", "", 0.0)?;
    let var = next(walk, "moving_variance", "", 1.0)?;
    let eps = call.layer.number("epsilon").unwrap_or(1e-3);
    walk.elementwise(Op::BatchNorm(BatchNorm { scale, shift, mean, var, eps }), &map, call)
}

/// `x · scale + offset`.
pub(super) fn rescaling(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let channels = map.view.shape()[2];
    let of = |key: &str, default: f32| {
        let values = call.layer.numbers(key).unwrap_or_else(|| vec![default]);
        match values.len() == 1 || values.len() == channels {
            true => Ok(values),
            false => Err(corrupt(format!("{} values of `{key}` for {channels}", values.len()))),
        }
    };
    let norm = BatchNorm::affine_of(&of("scale", 1.0)?, &of("offset", 0.0)?, channels);
    walk.elementwise(Op::BatchNorm(norm), &map, call)
}

/// `(x − mean) / √variance`, with numbers from the configuration or from the weights.
pub(super) fn normalization(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let channels = map.view.shape()[2];
    if call.layer.flag("invert", false) {
        return Err(unsupported("an inverted Normalization", "normalize the image forward"));
    }
    let (mean, variance) = match (call.layer.numbers("mean"), call.layer.numbers("variance")) {
        (Some(mean), Some(variance)) => (mean, variance),
        _ => {
            require_channels(call, &map)?;
            let mean = per_channel(walk, call, "mean", 0, channels)?;
            (mean, per_channel(walk, call, "variance", 1, channels)?)
        }
    };
    let fits = |values: &[f32]| values.len() == 1 || values.len() == channels;
    if !fits(&mean) || !fits(&variance) {
        return Err(corrupt(format!("{} means for {channels} channels", mean.len())));
    }
    let value = |values: &[f32], channel: usize| values[channel % values.len()];
    let factors: Vec<f32> = (0..channels)
        .map(|channel| value(&variance, channel).sqrt().max(LEAST_DEVIATION).recip())
        .collect();
    let offsets: Vec<f32> = (0..channels).map(|c| -value(&mean, c) * factors[c]).collect();
    let norm = BatchNorm::affine_of(&factors, &offsets, channels);
    walk.elementwise(Op::BatchNorm(norm), &map, call)
}
