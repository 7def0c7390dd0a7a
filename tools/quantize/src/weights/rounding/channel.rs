//! The weights of one output channel.

/// The number of bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bits(u32);

impl Default for Bits {
    fn default() -> Self {
        Self::EIGHT
    }
}

impl Bits {
    /// The numbers of bits besides eight for which there are packings.
    pub const NARROW: [Self; 4] = [Self(3), Self(4), Self(5), Self(6)];
    /// Integers from -127 to 127.
    ///
    /// With fewer bits all values of two's complement are used.
    pub const EIGHT: Self = Self(8);

    /// The number of bits.
    pub const fn count(self) -> u32 {
        self.0
    }

    pub(super) fn ends(self) -> [f64; 2] {
        let half = f64::from(1 << (self.0 - 1));
        if self == Self::EIGHT { [1.0 - half, half - 1.0] } else { [-half, half - 1.0] }
    }

    /// The nearest level.
    pub(super) fn round(self, levels: f64) -> f64 {
        let [first, last] = self.ends();
        levels.round().clamp(first, last)
    }

    /// The smallest scale that does not clip any of these weights.
    pub(super) fn reach(self, weights: &[f64]) -> f64 {
        let [first, last] = self.ends();
        weights.iter().fold(0f64, |reach, &weight| reach.max(weight / first).max(weight / last))
    }

    /// How far below that a scale is searched, as a share: with few levels clipping helps.
    pub(super) fn less(self) -> f64 {
        match self.0 {
            ..=4 => 0.63,
            5 => 0.54,
            6 => 0.45,
            _ => 0.36,
        }
    }
}

/// The weights of an output channel as multiples of a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedChannel {
    /// Real value of 1.
    pub scale: f64,
    /// The weights.
    pub weights: Vec<i8>,
}

impl QuantizedChannel {
    /// The weights rounded to the nearest, with the scale that has the least squared error.
    pub fn nearest(weights: &[f64], smallest_scale: f64, bits: Bits) -> Self {
        let scale = scale(weights, bits).max(smallest_scale);
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let level = |weight: &f64| bits.round(weight / scale) as i8;
        Self { scale, weights: weights.iter().map(level).collect() }
    }

    /// The reals of the weights.
    pub fn reals(&self) -> impl Iterator<Item = f64> + '_ {
        self.weights.iter().map(|&weight| f64::from(weight) * self.scale)
    }
}

/// The scale of a channel's weights with the least squared error.
///
/// With it the outermost levels reach the outermost weights, or clip them. It is 0 if all weights
/// are zero.
pub(super) fn scale(weights: &[f64], bits: Bits) -> f64 {
    let reach = bits.reach(weights);
    if reach == 0.0 {
        return 0.0;
    }
    let [first, last] = bits.ends();
    let error = |scale: f64| -> f64 {
        // Adding and subtracting this rounds without a call per weight. Ties may go either way, as
        // the error is the same.
        const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
        let level = |levels: f64| ((levels + WHOLE) - WHOLE).clamp(first, last);
        let inverse = 1.0 / scale;
        weights.iter().map(|w| (w - level(w * inverse) * scale).powi(2)).sum()
    };
    (0..(100.0 * bits.less()) as u32 + 4)
        .map(|i| reach * (1.0 - f64::from(i) * 0.01))
        .map(|scale| (error(scale), scale))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(0.0, |(_, scale)| scale)
}
