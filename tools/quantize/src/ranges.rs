//! Measures activation ranges on images.
//!
//! Each tensor has a histogram, whose memory does not grow with the number of images. A [`Method`]
//! chooses a range from it.

use std::collections::BTreeMap;

use ndarray::{ArrayView3, ArrayView4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::evaluate::Score;

/// Number of bins of a histogram; must be even.
const BINS: usize = 2048;

/// A factor for each output channel of a layer, by the name of the node that computes it.
pub type ByName = BTreeMap<String, Vec<f32>>;

/// Ranges of tensors, by the canonical name of the node that writes them.
///
/// They are saved as JSON, with which a network can be quantized again without its images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Number of images on which they were measured.
    pub images: usize,
    /// Score of the quantized network on these images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Score>,
    /// Names of the classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Shifts that are subtracted from channels first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absorption: ByName,
    /// Factors by which channels are scaled after that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub equalization: ByName,
    /// The ranges.
    pub ranges: BTreeMap<String, Range>,
}

/// The reals that a tensor's int8 shall stand for; contains zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// Smallest real, at most 0.
    pub min: f32,
    /// Largest real, at least 0.
    pub max: f32,
}

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Method {
    /// From the smallest to the largest value.
    MinMax,
    /// All values but 1 of 100,000, half of which at each end.
    Percentile,
    /// The range with the least squared error of clipping and rounding, in which images of
    /// unusually large values count less.
    Mse,
    /// The range with the least divergence (Kullback and Leibler) between the distributions of the
    /// values and of the quantized values.
    Entropy,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Mse, Self::MinMax, Self::Percentile, Self::Entropy];
}

/// Number of values at each end of a histogram from which the distribution's tail is estimated.
const TAIL: u64 = 32;

/// An end of a distribution, in which values beyond `from` are assumed to fall off exponentially.
#[derive(Debug, Clone, Copy)]
struct Tail {
    /// Sum of their weights.
    count: f64,
    from: f64,
    /// Average distance of the values beyond `from`.
    excess: f64,
}

impl Tail {
    /// The tail of values with counts and sums of weights, sorted from the smallest value.
    fn new(values: impl DoubleEndedIterator<Item = (f64, u64, f64)>) -> Self {
        let (mut count, mut all, mut sum, mut from) = (0, 0.0, 0.0, 0.0);
        for (value, times, weight) in values.rev() {
            count += times;
            all += weight;
            sum += weight * value;
            from = value;
            if count >= TAIL {
                break;
            }
        }
        Self { count: all, from, excess: if all > 0.0 { sum / all - from } else { 0.0 } }
    }

    /// Expected squared error of clipping the tail at `limit`.
    fn clipped(&self, limit: f64) -> f64 {
        let short = self.from - limit;
        let mean = self.excess;
        self.count
            * match short >= 0.0 {
                true => short * short + 2.0 * short * mean + 2.0 * mean * mean,
                false if mean > 0.0 => 2.0 * mean * mean * (short / mean).exp(),
                false => 0.0,
            }
    }
}

/// Sums over some values, each times its weight: number, sum, and sum of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    values: f64,
    squares: f64,
}

impl Moments {
    /// The sum of the squared distances from `limit`.
    fn from(self, limit: f64) -> f64 {
        (self.squares - 2.0 * limit * self.values + limit * limit * self.count).max(0.0)
    }
}

/// Running sums over sorted values.
struct Sums {
    values: Vec<f64>,
    /// Sums over the values before each value, and over all.
    before: Vec<Moments>,
}

impl Sums {
    fn new(counted: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut sums = Self { values: Vec::new(), before: vec![Moments::default()] };
        let mut all = Moments::default();
        for (value, count) in counted {
            all.count += count;
            all.values += count * value;
            all.squares += count * value * value;
            sums.values.push(value);
            sums.before.push(all);
        }
        sums
    }

    /// Sums over the values less than a limit.
    fn below(&self, limit: f64) -> Moments {
        self.before[self.values.partition_point(|&value| value < limit)]
    }

    /// Sums over the values larger than a limit.
    fn above(&self, limit: f64) -> Moments {
        let all = self.before[self.values.len()];
        let rest = self.before[self.values.partition_point(|&value| value <= limit)];
        Moments {
            count: all.count - rest.count,
            values: all.values - rest.values,
            squares: all.squares - rest.squares,
        }
    }

    fn all(&self) -> f64 {
        self.before[self.values.len()].count
    }
}

/// The sum of the squares of an image's values, without those that are not finite.
pub(crate) fn energy(image: ArrayView3<'_, f32>) -> f64 {
    let squares = image.iter().map(|&value| f64::from(value) * f64::from(value));
    squares.filter(|square| square.is_finite()).sum()
}

/// The energy of an image, relative to the average, up to which it counts like others.
const USUAL: f64 = 2.0;

/// The weight of an image of this energy in sums of squared errors.
///
/// The weight of an unusual image falls with the square of its energy, so that the image counts less
/// than an average one, whose energy it exceeds.
pub(crate) fn weight(energy: f64, mean: f64) -> f64 {
    (USUAL * mean / energy.max(USUAL * mean)).powi(2)
}

/// Histogram of a tensor's values.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Counts of values in `-limit … limit`, without zeros.
    bins: Vec<u64>,
    /// The sums of the weights of these values.
    weights: Vec<f64>,
    limit: f32,
    min: f32,
    max: f32,
    /// Number of images, and the sum of their energies.
    images: f64,
    energy: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            weights: vec![0.0; BINS],
            limit: f32::MIN_POSITIVE,
            min: 0.0,
            max: 0.0,
            images: 0.0,
            energy: 0.0,
        }
    }
}

impl Histogram {
    /// Counts the values of a map, `[images, …]`, except those that are not finite.
    ///
    /// In squared errors, images of unusually large values count [less](weight): a single one would
    /// otherwise decide on the range, and all others be rounded coarsely.
    pub fn add_images(&mut self, map: ArrayView4<'_, f32>) {
        let energies: Vec<f64> = map.outer_iter().map(energy).collect();
        self.images += energies.len() as f64;
        self.energy += energies.iter().sum::<f64>();
        let mean = self.energy / self.images;
        for (image, energy) in map.outer_iter().zip(energies) {
            if energy > 0.0 {
                self.add(image.iter().copied(), weight(energy, mean) / mean);
            }
        }
    }

    /// Counts `values`, except those that are not finite, with this weight in squared errors.
    pub fn add(&mut self, values: impl Iterator<Item = f32> + Clone, weight: f64) {
        for value in values.clone().filter(|value| value.is_finite()) {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        let largest = self.max.max(-self.min);
        if self.limit == f32::MIN_POSITIVE && largest > 0.0 {
            self.limit = largest;
        }
        while self.limit < largest {
            self.widen();
        }
        let scale = (BINS / 2) as f32 / self.limit;
        for value in values.filter(|value| value.is_finite() && *value != 0.0) {
            let bin = (value * scale + (BINS / 2) as f32) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
            self.weights[bin.min(BINS - 1)] += weight;
        }
    }

    /// Doubles the limit: pairs of neighbouring bins become one.
    fn widen(&mut self) {
        let (mut bins, mut weights) = (vec![0; BINS], vec![0.0; BINS]);
        for (i, (count, weight)) in self.bins.iter().zip(&self.weights).enumerate() {
            bins[BINS / 4 + i / 2] += count;
            weights[BINS / 4 + i / 2] += weight;
        }
        (self.bins, self.weights) = (bins, weights);
        self.limit *= 2.0;
    }

    /// The range for int8 that a method chooses.
    pub fn range(&self, method: Method) -> Range {
        match method {
            Method::MinMax => Range { min: self.min, max: self.max },
            Method::Percentile => self.percentile(1e-5),
            Method::Mse => self.least_squares(256),
            Method::Entropy => self.least_divergence(256),
        }
    }

    /// The range that a method chooses for int8; for int16 always the one with the least squared
    /// error, as its levels are so close that clipping gains almost nothing.
    pub fn range_in(&self, method: Method, int16: bool) -> Range {
        if int16 { self.least_squares(1 << 16) } else { self.range(method) }
    }

    /// The centre of a bin.
    fn centre(&self, bin: usize) -> f64 {
        let width = 2.0 * f64::from(self.limit) / BINS as f64;
        (bin as f64 + 0.5) * width - f64::from(self.limit)
    }

    /// The bins that are not empty, with their counts.
    fn counted(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> + Clone + '_ {
        self.bins.iter().copied().enumerate().filter(|&(_, count)| count > 0)
    }

    /// The range of all but a share of the values, half of which at each end.
    fn percentile(&self, share: f64) -> Range {
        let all: u64 = self.bins.iter().sum();
        let apart = (all as f64 * share / 2.0) as u64;
        let end = |bins: &mut dyn Iterator<Item = (usize, u64)>| {
            let mut seen = 0;
            for (bin, count) in bins {
                seen += count;
                if seen > apart {
                    return self.centre(bin) as f32;
                }
            }
            0.0
        };
        let (min, max) = (end(&mut self.counted()), end(&mut self.counted().rev()));
        Range { min: min.clamp(self.min, 0.0), max: max.clamp(0.0, self.max) }
    }

    /// The range with the least squared error, for this number of `levels` (256 for int8).
    ///
    /// Inside the range the average error of a value is scale² / 12, but zero is exact. Outside it
    /// is the distance from the range, or what the tail's estimate expects, if that is more. Both
    /// ends are searched on a grid of shares of their extremes.
    fn least_squares(&self, levels: u32) -> Range {
        let values =
            || self.counted().map(|(bin, count)| (self.centre(bin), count, self.weights[bin]));
        let high = Tail::new(values().filter(|&(value, ..)| value > 0.0));
        let low = values().rev().filter(|&(value, ..)| value < 0.0);
        let low = Tail::new(low.map(|(value, count, weight)| (-value, count, weight)));
        let sums = Sums::new(values().map(|(value, _, weight)| (value, weight)));
        let error = |min: f64, max: f64| {
            let scale = (max - min) / f64::from(levels - 1);
            let [above, below] = [sums.above(max), sums.below(min)];
            let inside = (sums.all() - above.count - below.count) * scale * scale / 12.0;
            inside + above.from(max).max(high.clipped(max)) + below.from(min).max(low.clipped(-min))
        };
        let shares = |extreme: f32| -> Vec<f64> {
            if extreme == 0.0 {
                return vec![0.0];
            }
            (0..=145).map(|i| f64::from(extreme) * (1.5 - f64::from(i) * 0.01)).collect()
        };
        // Searches one end after the other until neither moves: the error is smooth in both.
        let (mut min, mut max) = (f64::from(self.min), f64::from(self.max));
        let best = |candidates: Vec<f64>, error: &dyn Fn(f64) -> f64| {
            let errors = candidates.into_iter().map(|candidate| (error(candidate), candidate));
            errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, best)| best)
        };
        for _ in 0..4 {
            let before = (min, max);
            max = best(shares(self.max), &|max| error(min, max));
            min = best(shares(self.min), &|min| error(min, max));
            if before == (min, max) {
                break;
            }
        }
        Range { min: min as f32, max: max as f32 }
    }

    /// The range for which the distribution of the quantized values is closest to that of the
    /// values.
    ///
    /// Values outside count at the ends of the range. A level's count is spread over its bins that
    /// are not empty, as quantized values cannot tell them apart.
    fn least_divergence(&self, levels: usize) -> Range {
        let divergence = |range: &Range| {
            let (min, max) = (f64::from(range.min), f64::from(range.max));
            let bin = |value: f64| {
                let share = (value / f64::from(self.limit) + 1.0) / 2.0;
                ((share * BINS as f64) as usize).min(BINS - 1)
            };
            let (first, last) = (bin(min), bin(max));
            let inside = &self.bins[first..=last];
            let sum = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
            let all = sum(&self.bins);
            let mut values: Vec<f64> = inside.iter().map(|&count| count as f64).collect();
            values[0] += sum(&self.bins[..first]);
            values[last - first] += sum(&self.bins[last + 1..]);
            let level = |index: usize| index * levels / inside.len();
            let mut sums = vec![(0.0, 0.0); levels];
            for (index, &count) in inside.iter().enumerate().filter(|&(_, &count)| count > 0) {
                let (sum, bins) = &mut sums[level(index)];
                *sum += count as f64;
                *bins += 1.0;
            }
            let kept = sum(inside);
            let terms = values.iter().enumerate().filter(|&(_, &value)| value > 0.0);
            terms.fold(0.0, |divergence, (index, &value)| {
                let (sum, bins) = sums[level(index)];
                // A value that is at an end only because it was clipped.
                let quantized = if bins > 0.0 { sum / bins / kept } else { 1e-9 };
                divergence + value / all * (value / all / quantized).ln()
            })
        };
        let shares = (0..=80).map(|i| 1.0 - i as f32 * 0.01);
        let ranges = shares.map(|share| Range { min: self.min * share, max: self.max * share });
        ranges.min_by(|a, b| divergence(a).total_cmp(&divergence(b))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, Axis};

    use super::*;

    #[test]
    fn widening_keeps_counts() {
        let mut histogram = Histogram::default();
        histogram.add([0.5, 1.0, 0.0].into_iter(), 1.0);
        histogram.add([-7.0, 3.0, f32::NAN].into_iter(), 1.0);
        assert_eq!(histogram.bins.iter().sum::<u64>(), 4);
        assert!(histogram.limit >= 7.0);
        assert_eq!((histogram.min, histogram.max), (-7.0, 3.0));
    }

    #[test]
    fn an_outlier_is_clipped_and_an_even_spread_is_not() {
        let mut spread = Histogram::default();
        spread.add((0..10_000).map(|i| i as f32 / 10_000.0), 1.0);
        for method in Method::ALL {
            let range = spread.range(method);
            assert!(range.max > 0.97 && range.min == 0.0, "{method:?}: {range:?}");
        }
        spread.add([10.0].into_iter(), 1.0);
        let range = spread.least_squares(16);
        assert!(range.max < 8.0, "{range:?}");
        assert_eq!(spread.range(Method::MinMax).max, 10.0);
    }

    #[test]
    fn one_image_of_large_values_does_not_decide_for_the_others() {
        let wave = |(image, _, y, x): (usize, usize, usize, usize)| {
            let value = (((image * 7 + y) * 31 + x) as f32 * 0.37).sin().abs();
            if image == 70 { 20.0 * value } else { value }
        };
        let images = Array4::from_shape_fn((500, 1, 8, 8), wave);
        let mut alike = Histogram::default();
        alike.add(images.iter().copied(), 1.0);
        let decided = alike.range(Method::Mse);
        assert!(decided.max > 15.0, "{decided:?}");
        // However many images are added together.
        for together in [1, 25, 500] {
            let mut histogram = Histogram::default();
            for images in images.axis_chunks_iter(Axis(0), together) {
                histogram.add_images(images);
            }
            let range = histogram.range(Method::Mse);
            assert!((0.9..5.0).contains(&range.max), "{together}: {range:?}");
            assert_eq!(histogram.range(Method::MinMax), alike.range(Method::MinMax));
        }
        // Images of zeros, and numbers that are not finite, do not count.
        let mut histogram = Histogram::default();
        histogram.add_images(Array4::zeros((3, 1, 8, 8)).view());
        histogram.add_images(Array4::from_elem((1, 1, 8, 8), f32::NAN).view());
        assert_eq!(histogram.range(Method::Mse), Range::default());
    }

    #[test]
    fn sums_are_those_of_the_values_beyond_a_limit() {
        let counted = [(-3.0, 2.0), (-1.0, 5.0), (0.5, 7.0), (2.0, 1.0), (4.0, 3.0)];
        let sums = Sums::new(counted.into_iter());
        for limit in [-4.0, -3.0, -2.0, 0.0, 0.5, 1.0, 4.0, 5.0] {
            let beyond = |far: &dyn Fn(f64) -> bool| {
                let far = counted.iter().filter(|(value, _)| far(*value));
                far.map(|&(value, count)| count * (value - limit).powi(2)).sum::<f64>()
            };
            assert_eq!(sums.above(limit).from(limit), beyond(&|value| value > limit), "{limit}");
            assert_eq!(sums.below(limit).from(limit), beyond(&|value| value < limit), "{limit}");
        }
        assert_eq!(sums.all(), 18.0);
    }

    #[test]
    fn few_values_leave_room_for_those_that_were_not_seen() {
        let mut few = Histogram::default();
        few.add((1..=100).map(|i| -((i as f32 - 0.5) / 100.0).ln()), 1.0);
        let (range, seen) = (few.range(Method::Mse), few.range(Method::MinMax));
        assert!(range.max > seen.max, "{range:?} {seen:?}");
    }
}
