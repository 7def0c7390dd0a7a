//! Learns weights from samples.

use nalgebra::{DMatrix, DVector};

use super::channel::{Bits, QuantizedChannel};
use super::factor::Factor;
use super::lattice::{Lattice, SCALES, TAPS_TO_TRY};
use super::moments::Moments;

/// The weights of a layer as they were trained.
#[derive(Debug, Clone)]
pub struct Trained {
    /// `[taps, channels]`.
    pub weights: DMatrix<f64>,
    /// One bias per channel.
    pub bias: Vec<f64>,
    /// Lower bounds of the channels' scales.
    pub smallest_scales: Vec<f64>,
    /// Whether the bias will be corrected.
    pub free_bias: bool,
    /// Number of bits of a weight.
    pub bits: Bits,
}

/// Candidate strengths of the pull towards the trained weights, as multiples of an input's average
/// effect.
const PRIORS: [f64; 5] = [1e-2, 1e-1, 1.0, 10.0, 100.0];
/// The strength if candidates are not tried.
const PRIOR: f64 = 10.0;

/// Weights of all output channels, from samples in two halves.
///
/// Samples are split into halves to choose how strongly weights are pulled towards the trained
/// ones: the strength is best with which weights that are learned from one half fit the other.
pub fn learn(halves: [&Moments; 2], trained: &Trained) -> Vec<QuantizedChannel> {
    let [a, b] = halves;
    let bias = (!trained.free_bias).then_some(&trained.bias[..]);
    let error = |prior: f64| {
        let learned =
            [(a, b), (b, a)].map(|(from, on)| on.error(&learn_from(from, trained, prior, 1), bias));
        learned[0] + learned[1]
    };
    let prior = match trained.weights.nrows() > TAPS_TO_TRY {
        true => PRIOR,
        false => PRIORS
            .map(|prior| (error(prior), prior))
            .into_iter()
            .min_by(|x, y| x.0.total_cmp(&y.0))
            .map_or(PRIOR, |(_, prior)| prior),
    };
    learn_from(&a.with(b), trained, prior, SCALES)
}

/// Learns the weights of all output channels, with `scales` scales tried.
fn learn_from(
    moments: &Moments,
    trained: &Trained,
    prior: f64,
    scales: usize,
) -> Vec<QuantizedChannel> {
    let &Trained { ref weights, ref bias, ref smallest_scales, free_bias, bits } = trained;
    let (taps, channels) = weights.shape();
    let (mut squares, mut products) = match free_bias {
        true => moments.centred(),
        false => {
            let mut products = moments.products.clone();
            products.ger(-1.0, &moments.means.inputs, &DVector::from_column_slice(bias), 1.0);
            (moments.squares.clone(), products)
        }
    };
    let nearest = || {
        let channel = |o: usize| {
            QuantizedChannel::nearest(weights.column(o).as_slice(), smallest_scales[o], bits)
        };
        (0..channels).map(channel).collect()
    };
    let mean = squares.trace() / taps as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return nearest();
    }
    // Pulls towards the trained weights, which matters where the samples say little.
    let prior = mean * prior;
    for i in 0..taps {
        squares[(i, i)] += prior;
    }
    products += weights * prior;
    // The taps with the largest inputs are rounded first, as the others compensate for their
    // errors. The solver goes from the last to the first.
    let mut order: Vec<usize> = (0..taps).collect();
    order.sort_by(|&a, &b| squares[(a, a)].total_cmp(&squares[(b, b)]).then(b.cmp(&a)));
    let squares = DMatrix::from_fn(taps, taps, |i, j| squares[(order[i], order[j])]);
    let products = DMatrix::from_fn(taps, channels, |i, o| products[(order[i], o)]);
    let Some(factor) = Factor::new(squares.clone()) else { return nearest() };
    let best = factor.solve(products);
    // The rows of the upper factor are the columns of the lower.
    let lattice = Lattice { squares, lower: factor.lower, best, bits };
    let mut learned = lattice.closest(smallest_scales, scales);
    for channel in &mut learned {
        let mut weights = vec![0; taps];
        for (&tap, &weight) in order.iter().zip(&channel.weights) {
            weights[tap] = weight;
        }
        channel.weights = weights;
    }
    learned
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// Samples of correlated inputs, and the outputs of two channels.
    fn samples(weights: &DMatrix<f64>, count: usize) -> [Array2<f32>; 2] {
        let wave = |i: usize| (i as f32 * 0.7).sin() + (i as f32 * 0.13).cos();
        let inputs = Array2::from_shape_fn((count, weights.nrows()), |(sample, tap)| {
            wave(3 * sample + tap) + 0.2 * wave(7 * sample * tap)
        });
        let targets = Array2::from_shape_fn((count, weights.ncols()), |(sample, o)| {
            let sum: f64 = inputs
                .row(sample)
                .iter()
                .zip(&weights.column(o))
                .map(|(&x, w)| f64::from(x) * w)
                .sum();
            sum as f32 + 0.5
        });
        [inputs, targets]
    }

    #[test]
    fn learned_steps_are_better_than_the_nearest_on_samples_that_were_not_seen() {
        let weights = DMatrix::from_fn(40, 2, |tap, o| ((tap * (o + 3)) as f64 * 0.37).sin() / 9.0);
        let [x, t] = samples(&weights, 3000);
        let part = |from: usize| {
            let rows = s![from..from + 1000, ..];
            Moments::new(x.slice(rows), t.slice(rows))
        };
        let (a, b, unseen) = (part(0), part(1000), part(2000));
        // Four bits make rounding matter.
        let smallest_scales = vec![0.016; 2];
        let nearest: Vec<QuantizedChannel> = (0..2)
            .map(|o| {
                QuantizedChannel::nearest(
                    weights.column(o).as_slice(),
                    smallest_scales[o],
                    Bits::NARROW[1],
                )
            })
            .collect();
        let trained = Trained {
            weights: weights.clone(),
            bias: vec![0.5; 2],
            smallest_scales,
            free_bias: true,
            bits: Bits::NARROW[1],
        };
        let learned = learn([&a, &b], &trained);
        let errors = [&learned, &nearest].map(|weights| unseen.error(weights, None));
        assert!(errors[0] < errors[1] / 4.0, "{errors:?}");
        let again = learn([&a, &b], &trained);
        assert_eq!(learned, again);
        // A bias that is not free keeps its value.
        let fixed = Trained { free_bias: false, ..trained };
        let error = unseen.error(&learn([&a, &b], &fixed), Some(&fixed.bias));
        assert!(error < unseen.error(&nearest, Some(&fixed.bias)), "{error}");
    }

    #[test]
    fn what_is_never_read_keeps_its_weights() {
        let weights = DMatrix::from_element(4, 1, 0.3);
        let moments = Moments::new(Array2::zeros((8, 4)).view(), Array2::zeros((8, 1)).view());
        let trained = Trained {
            weights,
            bias: vec![0.0],
            smallest_scales: vec![0.0],
            free_bias: true,
            bits: Bits::EIGHT,
        };
        let learned = learn([&moments, &moments], &trained);
        assert!(learned[0].reals().all(|real| (real - 0.3).abs() < 1e-9), "{learned:?}");
    }
}
