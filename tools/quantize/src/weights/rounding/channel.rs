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
        // The largest number below a half: adding it and dropping the fraction is what `f64::round`
        // does, without a call. Levels that an i32 does not hold are clamped anyway.
        const HALF: f64 = 0.5 - f64::EPSILON / 4.0;
        let [first, last] = self.ends();
        f64::from((levels + HALF.copysign(levels)) as i32).clamp(first, last)
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

/// Number of scales that are tried together.
const AT_ONCE: usize = 8;

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
    // Several at once, so that their sums do not wait for one another.
    let errors = |scales: [f64; AT_ONCE]| {
        // Adding and subtracting this rounds without a call per weight. Ties may go either way, as
        // the error is the same.
        const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
        let inverse = scales.map(|scale| 1.0 / scale);
        let mut errors = [0.0; AT_ONCE];
        for weight in weights {
            for ((error, scale), inverse) in errors.iter_mut().zip(scales).zip(inverse) {
                let level = ((weight * inverse + WHOLE) - WHOLE).clamp(first, last);
                *error += (weight - level * scale).powi(2);
            }
        }
        errors.into_iter().zip(scales)
    };
    let count = (100.0 * bits.less()) as usize + 4;
    (0..count.div_ceil(AT_ONCE))
        .map(|part| std::array::from_fn(|i| (part * AT_ONCE + i).min(count - 1)))
        .map(|part: [usize; AT_ONCE]| part.map(|i| reach * (1.0 - i as f64 * 0.01)))
        .flat_map(errors)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(0.0, |(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_rounded_half_away_from_zero() {
        let below_half = 0.5f64.next_down();
        let around = [0.0, 0.4, below_half, 0.5, 0.6, 1.5, 2.5, 126.5, 126.4, 127.6, 1e300];
        for level in around.into_iter().flat_map(|level| [level, -level]) {
            let expected = level.round().clamp(-127.0, 127.0);
            assert_eq!(Bits::EIGHT.round(level), expected, "{level}");
        }
    }

    #[test]
    fn the_scale_has_the_least_error_of_those_that_are_tried() {
        for bits in Bits::NARROW.into_iter().chain([Bits::EIGHT]) {
            let weights: Vec<f64> =
                (0..30).map(|i| (f64::from(i) * 0.7).sin().powi(3) * 0.3).collect();
            let reach = bits.reach(&weights);
            let error = |scale: f64| -> f64 {
                let off = |w: &f64| (w - bits.round(w / scale) * scale).powi(2);
                weights.iter().map(off).sum()
            };
            let chosen = error(scale(&weights, bits));
            for i in 0..(100.0 * bits.less()) as u32 + 4 {
                let tried = error(reach * (1.0 - f64::from(i) * 0.01));
                assert!(chosen <= tried * (1.0 + 1e-9), "{bits:?}: {i}");
            }
        }
    }
}
