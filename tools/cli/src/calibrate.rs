//! Activation ranges, from pictures.
//!
//! A histogram for each tensor, in bounded memory however many pictures there are. The range
//! chosen is the one with the least squared error of quantization: what is clipped at the ends
//! against the steps in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::Score;

/// Bins of a histogram; even.
const BINS: usize = 2048;

/// Ranges of tensors, by the canonical name of the node that makes them. Saved as JSON, they
/// let a network be quantized again without its pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Pictures that they were measured on.
    pub images: usize,
    /// How good the quantized network was on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Score>,
    /// Names of the classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The ranges.
    pub ranges: BTreeMap<String, Range>,
}

/// The reals that a tensor's int8 shall stand for; contains zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest real, at most 0.
    pub min: f32,
    /// Largest real, at least 0.
    pub max: f32,
}

/// How often a tensor had which values.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Counts of values in `-limit … limit`, zeros apart.
    bins: Vec<u64>,
    limit: f32,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], limit: f32::MIN_POSITIVE, min: 0.0, max: 0.0 }
    }
}

impl Histogram {
    /// Counts `values`. A value that is not finite is not counted.
    pub fn add(&mut self, values: impl Iterator<Item = f32> + Clone) {
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
        }
    }

    /// Doubles the limit: neighbouring bins become one.
    fn widen(&mut self) {
        let mut wide = vec![0; BINS];
        for (i, count) in self.bins.iter().enumerate() {
            wide[BINS / 4 + i / 2] += count;
        }
        self.bins = wide;
        self.limit *= 2.0;
    }

    /// The range of `levels` steps (256 for int8) with the least squared error.
    ///
    /// Inside of the range a value is off by step² / 12 on average, but zero is exact;
    /// outside by its distance. Sought on a grid: each end at a share of its extreme.
    pub fn least_squares(&self, levels: u32) -> Range {
        let width = 2.0 * f64::from(self.limit) / BINS as f64;
        let centre = |bin: usize| (bin as f64 + 0.5) * width - f64::from(self.limit);
        let counted: Vec<(f64, f64)> = (0..BINS)
            .filter(|&bin| self.bins[bin] > 0)
            .map(|bin| (centre(bin), self.bins[bin] as f64))
            .collect();
        let error = |min: f64, max: f64| {
            let step = (max - min) / f64::from(levels - 1);
            counted.iter().fold(0.0, |sum, &(value, count)| {
                let clipped = value - value.clamp(min, max);
                sum + count * if clipped == 0.0 { step * step / 12.0 } else { clipped * clipped }
            })
        };
        let shares = |extreme: f32| -> Vec<f64> {
            if extreme == 0.0 {
                return vec![0.0];
            }
            (0..=70).map(|i| f64::from(extreme) * (1.0 - f64::from(i) * 0.01)).collect()
        };
        // One end after the other, until neither moves: the error is smooth in both.
        let (mut min, mut max) = (f64::from(self.min), f64::from(self.max));
        let best = |candidates: Vec<f64>, error: &dyn Fn(f64) -> f64| {
            candidates.into_iter().min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0.0)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_keeps_counts() {
        let mut histogram = Histogram::default();
        histogram.add([0.5, 1.0, 0.0].into_iter());
        histogram.add([-7.0, 3.0, f32::NAN].into_iter());
        assert_eq!(histogram.bins.iter().sum::<u64>(), 4);
        assert!(histogram.limit >= 7.0);
        assert_eq!((histogram.min, histogram.max), (-7.0, 3.0));
    }

    #[test]
    fn an_outlier_is_clipped_and_an_even_spread_is_not() {
        let mut spread = Histogram::default();
        spread.add((0..10_000).map(|i| i as f32 / 10_000.0));
        let range = spread.least_squares(256);
        assert!(range.max > 0.97 && range.min == 0.0, "{range:?}");
        spread.add([10.0].into_iter());
        let range = spread.least_squares(16);
        assert!(range.max < 8.0, "{range:?}");
    }
}
