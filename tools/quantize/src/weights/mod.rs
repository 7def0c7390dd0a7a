//! Quantized weights and activations, and the reals that they represent.

pub mod learn;
pub mod rounding;
pub(crate) mod shared;

use std::collections::BTreeMap;

use brooklet::format::LayerRecord;

use crate::fuse::{Fused, Unit};
use crate::network::{Conv, NodeId, Op};
use crate::program::Layer;
use crate::ranges::Range;
use brooklet_plan::Preprocess;
use rounding::{Bits, QuantizedChannel};

/// Quantized weights by the convolution's node.
pub type Learned = BTreeMap<NodeId, Weights>;

/// Quantized weights of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// For each output channel its weights, kernel rows × columns × input channels, as multiples of
    /// its scale.
    ///
    /// The scale of the input is multiplied into them.
    pub channels: Vec<QuantizedChannel>,
    /// Biases, as reals.
    pub bias: Vec<f64>,
}

/// Scale and zero point of a tensor of int8 or int16, or of a stream in 16 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) zero_point: i8,
    int16: bool,
    stream16: bool,
}

/// Number of steps of a stream in 16 bits in one step of int8.
const FINE: f32 = 256.0;

impl Affine {
    /// The scale and zero point for a range, if they are possible.
    pub(crate) fn new(range: Range, int16: bool) -> Option<Self> {
        let (min, max) = (range.min.min(0.0), range.max.max(0.0));
        // For a tensor that is always zero any scale will do.
        let scale = match max > min {
            true if int16 => max.max(-min) / 32767.0,
            true => (max - min) / 255.0,
            false => 1.0,
        };
        if !(scale.is_finite() && scale >= f32::MIN_POSITIVE) {
            return None;
        }
        let zero_point = match int16 {
            true => 0.0,
            false => (-128.0 - f64::from(min / scale)).round().clamp(-128.0, 127.0),
        };
        Some(Self { scale, zero_point: zero_point as i8, int16, stream16: false })
    }

    /// The scale and zero point of a layer's output.
    pub(crate) fn of(layer: &Layer) -> Self {
        let LayerRecord { scale, zero_point, .. } = layer.record;
        let (int16, stream16) = (layer.record.is_int16(), layer.record.is_stream16());
        Self { scale: scale.get(), zero_point, int16, stream16 }
    }

    /// The smallest and the largest level.
    fn ends(self) -> [f32; 2] {
        match (self.int16, self.stream16) {
            (true, _) => [-32768.0, 32767.0],
            (_, true) => [-128.0, 127.0 + 127.0 / FINE],
            _ => [-128.0, 127.0],
        }
    }

    /// Real value of 1.
    pub(crate) fn scale(self) -> f32 {
        self.scale
    }

    /// The range of reals that it represents.
    pub(crate) fn range(self) -> Range {
        let [min, max] = self.ends().map(|level| (level - f32::from(self.zero_point)) * self.scale);
        Range { min, max }
    }

    /// The representable real nearest to `value`.
    pub(crate) fn round(self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        let [min, max] = self.ends();
        let level = value / self.scale + zero;
        let level = if self.stream16 { (level * FINE).round() / FINE } else { level.round() };
        (level.clamp(min, max) - zero) * self.scale
    }

    /// What layers that read int8 see of a rounded value, if that is different.
    pub(crate) fn read(self) -> Option<impl Fn(f32) -> f32> {
        let zero = f32::from(self.zero_point);
        self.stream16.then_some(move |value: f32| {
            ((value / self.scale + zero + 0.5).floor().clamp(-128.0, 127.0) - zero) * self.scale
        })
    }
}

impl Fused<'_> {
    /// The weights of a convolution that shares those of an earlier one, if the file can store them
    /// once; the biases are its own.
    ///
    /// `layers` are the layers before it.
    pub(crate) fn weights_used_again(
        &self,
        unit: &Unit,
        conv: &Conv,
        layers: &[Layer],
        learned: &Learned,
    ) -> Option<Weights> {
        let first = *self.shared.get(&unit.node)?;
        let scale_of = |unit: &Unit| layers.get(unit.input).map(|of| of.record.scale.get().into());
        let of = self.units.iter().find(|unit| unit.node == first)?;
        let (before, now): (f64, f64) = (scale_of(of)?, scale_of(unit)?);
        if self.bits(first) != self.bits(unit.node) {
            return None;
        }
        let Op::Conv(earlier) = &self.network.nodes[first].op else { return None };
        let nearest = || {
            let scales = vec![(before, 0.0); earlier.weights.dim().3];
            Weights::nearest(earlier, &scales, self.bits(first))
        };
        let weights = learned.get(&first).cloned().unwrap_or_else(nearest);
        weights.used_again(conv, now / before)
    }
}

impl Weights {
    /// A convolution's weights rounded to the nearest; its inputs have these `input_scales`.
    pub(crate) fn nearest(conv: &Conv, input_scales: &[(f64, f64)], bits: Bits) -> Self {
        let bias: Vec<f64> = conv.bias.iter().map(|&bias| f64::from(bias)).collect();
        let channels = conv
            .weights
            .outer_iter()
            .zip(&bias)
            .map(|(weights, &bias)| {
                let scaled: Vec<f64> = weights
                    .iter()
                    .zip(input_scales.iter().cycle())
                    .map(|(&weight, &(scale, _))| f64::from(weight) * scale)
                    .collect();
                QuantizedChannel::nearest(&scaled, smallest_scale(bias), bits)
            })
            .collect();
        Self { channels, bias }
    }

    /// The convolution with these weights dequantized, for inputs with these `input_scales`.
    pub(crate) fn dequantize(&self, conv: &Conv, input_scales: &[(f64, f64)]) -> Conv {
        let mut conv = conv.clone();
        for (mut weights, channel) in conv.weights.outer_iter_mut().zip(&self.channels) {
            let reals = channel.reals().zip(input_scales.iter().cycle());
            for (weight, (real, &(scale, _))) in weights.iter_mut().zip(reals) {
                *weight = (real / scale) as f32;
            }
        }
        conv.bias = self.bias.iter().map(|&bias| bias as f32).collect();
        conv
    }
}

/// Scale and zero point of each of the input's channels: real = scale · (q − zero).
pub(crate) fn input_scales(
    channels: usize,
    input: &Layer,
    pixels: Option<&Preprocess>,
) -> Vec<(f64, f64)> {
    let quantization = |channel| match pixels {
        // The real is linear in the pixel, so its values at 0 and at 255 determine it.
        Some(pixels) => {
            let real = |pixel| f64::from(pixels.normalize(pixel, channel));
            let (black, white) = (real(0), real(255));
            let scale = (white - black) / 255.0;
            (scale, -black / scale - 128.0)
        }
        None => (f64::from(input.record.scale.get()), f64::from(input.record.zero_point)),
    };
    (0..channels).map(quantization).collect()
}

/// If weights are nearly zero, their scale must still be large enough for the bias to fit 32 bits.
pub(crate) fn smallest_scale(bias: f64) -> f64 {
    bias.abs() / f64::from(1 << 24)
}
