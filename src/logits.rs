//! Results.

use core::cmp::Reverse;

use heapless::Vec;
use micromath::F32Ext;

use crate::quant::Quantization;

/// The int8 outputs of a network, one a class, and what they stand for.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    values: &'a [i8],
    quantization: Quantization,
    probabilities: bool,
}

/// A class and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Candidate {
    /// The class's number.
    pub class: u16,
    /// Its int8 score.
    pub score: i8,
    /// Its probability in 0…1, for display.
    pub probability: f32,
}

impl<'a> Logits<'a> {
    pub(crate) fn new(values: &'a [i8], quantization: Quantization) -> Self {
        Self { values, quantization, probabilities: false }
    }

    /// The same, where the scores are probabilities.
    pub(crate) fn probabilities(self) -> Self {
        Self { probabilities: true, ..self }
    }

    /// The int8 scores.
    pub fn as_slice(&self) -> &'a [i8] {
        self.values
    }

    /// Scale and zero point of the scores.
    pub fn quantization(&self) -> Quantization {
        self.quantization
    }

    /// The `K` best classes, best first; of equal scores the smaller class number is better.
    ///
    /// Where the scores are not probabilities themselves, these are a softmax in float with micromath's approximate exponential
    /// (about three digits): fit to be shown. The order comes from the integers.
    pub fn top_k<const K: usize>(&self) -> Vec<Candidate, K> {
        let mut best: Vec<(i8, u16), K> = Vec::new();
        let better = |a: (i8, u16), b: (i8, u16)| (a.0, Reverse(a.1)) > (b.0, Reverse(b.1));
        for (class, &score) in self.values.iter().enumerate() {
            // What is worse moves one place on, and the last one out of a full list.
            let mut new = (score, class as u16);
            for old in &mut best {
                if better(new, *old) {
                    core::mem::swap(old, &mut new);
                }
            }
            let _ = best.push(new);
        }
        let max = best.first().map_or(0, |&(score, _)| score);
        let exponential = |score: i8| {
            F32Ext::exp((i32::from(score) - i32::from(max)) as f32 * self.quantization.scale)
        };
        let sum: f32 = self.values.iter().map(|&score| exponential(score)).sum();
        let mut top = Vec::new();
        for &(score, class) in &best {
            let probability = if self.probabilities {
                self.quantization.dequantize(score)
            } else {
                exponential(score) / sum
            };
            // As many as `best` has, which has room for `K`.
            let _ = top.push(Candidate { class, score, probability });
        }
        top
    }
}

impl core::ops::Deref for Logits<'_> {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_first_and_ties_to_the_lowest() {
        let quantization = Quantization { scale: 0.1, zero_point: 0 };
        let logits = Logits::new(&[3, 9, -4, 9, 5], quantization);
        let classes: Vec<u16, 4> = logits.top_k::<4>().iter().map(|c| c.class).collect();
        assert_eq!(classes, [1, 3, 4, 0]);
        assert_eq!(logits.top_k::<0>().len(), 0);
        assert_eq!(logits.top_k::<9>().len(), 5);
        let sum: f32 = logits.top_k::<5>().iter().map(|c| c.probability).sum();
        assert!((sum - 1.0).abs() < 0.01, "{sum}");
        let quantization = Quantization { scale: 1.0 / 256.0, zero_point: -128 };
        let best = Logits::new(&[-128, 64], quantization).probabilities().top_k::<1>();
        assert_eq!(best[0].probability, 0.75);
    }
}
