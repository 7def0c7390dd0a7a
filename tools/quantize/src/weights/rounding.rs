//! Rounding of a layer's weights so that its outputs, not its weights, are off by little.
//!
//! A channel's sums are `w · x`. With the second moments `H = Σ x xᵀ` of what it reads and
//! `c = Σ t x`, where `t` are the sums that it should make, the squared error of weights `q` is
//! that of the best real ones and `(w* − q)ᵀ H (w* − q)`, with `H w* = c`. To minimize it over
//! the lattice of steps is the closest vector problem:
//!
//! ```text
//! H = Rᵀ R                               Cholesky; the error is |R (w* − q)|²
//! for i from the last tap to the first:  Babai's nearest plane, which is also what OBQ and GPTQ do
//!     q[i] = round(w*[i] + Σ_{j>i} R[i,j] (w*[j] − q[j]) / R[i,i])
//! then step by step, while any helps:    the tap whose best step lessens the error
//! ```
//!
//! Sources: Frantar et al., *GPTQ* (2022); Chen et al., *The geometry of LLM quantization: GPTQ
//! as Babai's nearest plane algorithm* (2025); Behdin et al., *QuantEase* (2023) for the descent.

use nalgebra::{Cholesky, DMatrix, DVector, DVectorView};
use ndarray::{Array2, ArrayView1, ArrayView2, s};
use rayon::prelude::*;

/// How many bits a weight has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bits {
    /// Steps from -8 to 7.
    Four,
    /// Steps from -127 to 127.
    #[default]
    Eight,
}

impl Bits {
    fn ends(self) -> [f64; 2] {
        match self {
            Self::Four => [-8.0, 7.0],
            Self::Eight => [-127.0, 127.0],
        }
    }

    /// The nearest step.
    fn round(self, steps: f64) -> f64 {
        let [first, last] = self.ends();
        steps.round().clamp(first, last)
    }

    /// The smallest scale that clips none of these weights.
    fn reach(self, weights: &[f64]) -> f64 {
        let [first, last] = self.ends();
        weights.iter().fold(0f64, |reach, &weight| reach.max(weight / first).max(weight / last))
    }

    /// How much less than that is looked for, at most: clipping pays where steps are few.
    fn less(self) -> f64 {
        match self {
            Self::Four => 0.63,
            Self::Eight => 0.36,
        }
    }
}

/// Samples that are multiplied at once: few enough for sums in f32.
const CHUNK: usize = 1024;
/// Scales that are tried for each channel.
const SCALES: usize = 9;
/// Channels' weights with a scale that are looked for at once, about: they stay in the cache.
const CANDIDATES: usize = 16;
/// Passes of the descent.
const SWEEPS: usize = 8;
/// Taps up to which several scales and priors are tried; the cost grows with their square and more.
const TAPS_TO_TRY: usize = 1200;

/// The means of what a layer reads, and of what it should make of it.
#[derive(Debug, Clone)]
pub struct Means {
    /// Samples.
    count: f64,
    /// `Σ x`.
    inputs: DVector<f64>,
    /// `Σ t`.
    targets: DVector<f64>,
}

impl Means {
    /// Of samples, a row each: inputs `[samples, taps]`, targets `[samples, channels]`.
    pub fn new(inputs: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> Self {
        let sums = |of: ArrayView2<'_, f32>| {
            let column = |column: ArrayView1<'_, f32>| column.iter().map(|&x| f64::from(x)).sum();
            DVector::from_iterator(of.ncols(), of.columns().into_iter().map(column))
        };
        Self { count: inputs.nrows() as f64, inputs: sums(inputs), targets: sums(targets) }
    }

    /// Of both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            inputs: &self.inputs + &other.inputs,
            targets: &self.targets + &other.targets,
        }
    }

    /// The bias with which the sums of `weights` have the mean of channel `o`'s targets.
    pub fn bias(&self, o: usize, weights: impl Iterator<Item = f64>) -> f64 {
        let sum: f64 = weights.zip(&self.inputs).map(|(weight, x)| weight * x).sum();
        (self.targets[o] - sum) / self.count
    }
}

/// What a layer reads, and what it should make of it, summed up over samples.
#[derive(Debug, Clone)]
pub struct Moments {
    means: Means,
    /// `Σ t²` of all channels.
    target_squares: f64,
    /// `Σ x xᵀ`.
    squares: DMatrix<f64>,
    /// `Σ x tᵀ`: a column an output channel.
    products: DMatrix<f64>,
}

impl Moments {
    /// Of samples, a row each: inputs `[samples, taps]`, targets `[samples, channels]`.
    pub fn new(inputs: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> Self {
        let (count, taps) = inputs.dim();
        let channels = targets.ncols();
        let starts: Vec<usize> = (0..count).step_by(CHUNK).collect();
        let mut moments = Self {
            means: Means::new(inputs, targets),
            target_squares: targets.iter().map(|&t| f64::from(t) * f64::from(t)).sum(),
            squares: DMatrix::zeros(taps, taps),
            products: DMatrix::zeros(taps, channels),
        };
        let sum = |into: &mut [f64], part: &Array2<f32>| {
            for (into, &value) in into.iter_mut().zip(part) {
                *into += f64::from(value);
            }
        };
        // A few at a time, in order: the sums do not depend on the number of threads.
        for starts in starts.chunks(16) {
            let parts: Vec<_> = starts
                .par_iter()
                .map(|&start| {
                    let rows = s![start..(start + CHUNK).min(count), ..];
                    let (x, t) = (inputs.slice(rows), targets.slice(rows));
                    // Transposed: nalgebra's matrices go down the columns.
                    (x.t().dot(&x), t.t().dot(&x))
                })
                .collect();
            for (squares, products) in parts {
                sum(moments.squares.as_mut_slice(), &squares);
                sum(moments.products.as_mut_slice(), &products);
            }
        }
        moments
    }

    /// Of both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            means: self.means.with(&other.means),
            target_squares: self.target_squares + other.target_squares,
            squares: &self.squares + &other.squares,
            products: &self.products + &other.products,
        }
    }

    /// Squared error of all outputs with such weights, over the samples.
    fn error(&self, channels: &[Steps], bias: Option<&[f64]>) -> f64 {
        let Means { count, inputs, targets } = &self.means;
        let reals = channels.iter().flat_map(Steps::reals);
        let weights = DMatrix::from_iterator(inputs.len(), channels.len(), reals);
        let products = &self.squares * &weights;
        let error = |(o, weights): (usize, DVectorView<'_, f64>)| {
            let bias = bias.map_or_else(|| self.means.bias(o, channels[o].reals()), |bias| bias[o]);
            let sum = weights.dot(inputs);
            weights.dot(&products.column(o)) + count * bias * bias
                - 2.0 * (weights.dot(&self.products.column(o)) + bias * (targets[o] - sum))
        };
        self.target_squares + weights.column_iter().enumerate().map(error).sum::<f64>()
    }

    /// About their means, so that a bias is free to make up for what the weights shift.
    fn centred(&self) -> (DMatrix<f64>, DMatrix<f64>) {
        let Means { count, inputs, targets } = &self.means;
        let mut squares = self.squares.clone();
        let mut products = self.products.clone();
        squares.ger(-1.0 / count, inputs, inputs, 1.0);
        products.ger(-1.0 / count, inputs, targets, 1.0);
        (squares, products)
    }
}

/// The weights of an output channel in steps of a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// Real value of a step.
    pub scale: f64,
    /// The weights.
    pub weights: Vec<i8>,
}

impl Steps {
    /// The nearest ones, of the scale with the least squared error.
    pub fn nearest(weights: &[f64], smallest_scale: f64, bits: Bits) -> Self {
        let scale = scale(weights, bits).max(smallest_scale);
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let step = |weight: &f64| bits.round(weight / scale) as i8;
        Self { scale, weights: weights.iter().map(step).collect() }
    }

    /// What the steps stand for.
    pub fn reals(&self) -> impl Iterator<Item = f64> + '_ {
        self.weights.iter().map(|&weight| f64::from(weight) * self.scale)
    }
}

/// The weights of a layer as they were trained.
#[derive(Debug, Clone)]
pub struct Trained {
    /// `[taps, channels]`.
    pub weights: DMatrix<f64>,
    /// One a channel.
    pub bias: Vec<f64>,
    /// Lower bounds of the channels' scales.
    pub smallest_scales: Vec<f64>,
    /// Whether the bias will be corrected.
    pub free_bias: bool,
    /// Of a weight.
    pub bits: Bits,
}

/// How much the trained weights may count beside the samples, as shares of what an input does on
/// average.
const PRIORS: [f64; 5] = [1e-2, 1e-1, 1.0, 10.0, 100.0];
/// What serves where they are not tried.
const PRIOR: f64 = 10.0;

/// Steps of all output channels, from samples in two halves.
///
/// How much the trained weights count beside the samples is what serves each half best when the
/// weights are learned from the other.
pub fn learn(halves: [&Moments; 2], trained: &Trained) -> Vec<Steps> {
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

/// Steps of all output channels, with `scales` scales tried.
fn learn_from(moments: &Moments, trained: &Trained, prior: f64, scales: usize) -> Vec<Steps> {
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
        let channel =
            |o: usize| Steps::nearest(weights.column(o).as_slice(), smallest_scales[o], bits);
        (0..channels).map(channel).collect()
    };
    let mean = squares.trace() / taps as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return nearest();
    }
    // Towards the weights that were trained, where the samples say little.
    let prior = mean * prior;
    for i in 0..taps {
        squares[(i, i)] += prior;
    }
    products += weights * prior;
    // The taps that are read with the largest values are rounded first: the others make up for
    // their errors. The solver goes from the last to the first.
    let mut order: Vec<usize> = (0..taps).collect();
    order.sort_by(|&a, &b| squares[(a, a)].total_cmp(&squares[(b, b)]).then(b.cmp(&a)));
    let squares = DMatrix::from_fn(taps, taps, |i, j| squares[(order[i], order[j])]);
    let products = DMatrix::from_fn(taps, channels, |i, o| products[(order[i], o)]);
    let Some(cholesky) = Cholesky::new(squares.clone()) else { return nearest() };
    let best = cholesky.solve(&products);
    // Rows of the upper factor are columns of the lower.
    let lattice = Lattice { squares, lower: cholesky.unpack(), best, bits };
    let mut steps = lattice.closest(smallest_scales, scales);
    for channel in &mut steps {
        let mut weights = vec![0; taps];
        for (&tap, &weight) in order.iter().zip(&channel.weights) {
            weights[tap] = weight;
        }
        channel.weights = weights;
    }
    steps
}

/// The weights of all channels, and what their errors cost.
struct Lattice {
    squares: DMatrix<f64>,
    lower: DMatrix<f64>,
    /// Those without an error: a column a channel.
    best: DMatrix<f64>,
    bits: Bits,
}

/// A channel's weights in steps of a scale.
struct Candidate {
    channel: usize,
    scale: f64,
    steps: Vec<f64>,
    /// What the best weights are more than these.
    off: DVector<f64>,
    error: f64,
}

impl Lattice {
    /// The closest steps found for each channel, of the best of these scales.
    fn closest(&self, smallest_scales: &[f64], scales: usize) -> Vec<Steps> {
        let channels: Vec<usize> = (0..self.best.ncols()).collect();
        let closest: Vec<Candidate> = channels
            .par_chunks(CANDIDATES.div_ceil(scales))
            .flat_map_iter(|channels| {
                let scales = |&o: &usize| (o, self.scales(o, smallest_scales[o], scales));
                self.nearest_planes(channels.iter().map(scales))
            })
            .collect();
        let off: Vec<_> = closest.iter().map(|candidate| candidate.off.column(0)).collect();
        let slopes = &self.squares * DMatrix::from_columns(&off);
        closest
            .into_par_iter()
            .map(|Candidate { channel, scale, mut steps, .. }| {
                self.descend(scale, &mut steps, slopes.column(channel).into_owned());
                Steps { scale, weights: steps.iter().map(|&step| step as i8).collect() }
            })
            .collect()
    }

    /// So many scales that may serve a channel.
    fn scales(&self, channel: usize, smallest_scale: f64, count: usize) -> Vec<f64> {
        let best = self.best.column(channel);
        let best = best.as_slice();
        let least_squares = scale(best, self.bits).max(smallest_scale);
        if least_squares <= 0.0 {
            return vec![1.0];
        }
        let reach = self.bits.reach(best);
        let more = if best.len() <= TAPS_TO_TRY { count - 1 } else { 0 };
        let apart = self.bits.less() / SCALES as f64;
        let more = (0..more).map(|i| (reach * (1.0 - apart * i as f64)).max(smallest_scale));
        [least_squares].into_iter().chain(more).collect()
    }

    /// For each of some channels the closest of the nearest planes with its scales. All at once, for
    /// each column of the factor to be fetched once.
    fn nearest_planes(
        &self,
        channels: impl Iterator<Item = (usize, Vec<f64>)>,
    ) -> impl Iterator<Item = Candidate> {
        let taps = self.best.nrows();
        let candidate = |channel, scale| Candidate {
            channel,
            scale,
            steps: vec![0.0; taps],
            off: DVector::zeros(taps),
            error: 0.0,
        };
        let mut candidates: Vec<Vec<Candidate>> = channels
            .map(|(o, scales)| scales.into_iter().map(|scale| candidate(o, scale)).collect())
            .collect();
        for i in (0..taps).rev() {
            let column = self.lower.column(i);
            let (diagonal, below) = (column[i], column.rows_range(i + 1..));
            for Candidate { channel, scale, steps, off, error } in candidates.iter_mut().flatten() {
                let best = self.best[(i, *channel)];
                let wanted = best + below.dot(&off.rows_range(i + 1..)) / diagonal;
                steps[i] = self.bits.round(wanted / *scale);
                off[i] = best - steps[i] * *scale;
                *error += (diagonal * (wanted - steps[i] * *scale)).powi(2);
            }
        }
        let least = |of: Vec<Candidate>| of.into_iter().min_by(|a, b| a.error.total_cmp(&b.error));
        candidates.into_iter().filter_map(least)
    }

    /// Changes single taps as long as that lessens the error, whose slope is given.
    fn descend(&self, scale: f64, steps: &mut [f64], mut slope: DVector<f64>) {
        for _ in 0..SWEEPS {
            let mut changed = false;
            for i in 0..steps.len() {
                let wanted = steps[i] + slope[i] / (self.squares[(i, i)] * scale);
                let change = self.bits.round(wanted) - steps[i];
                if change != 0.0 {
                    steps[i] += change;
                    slope.axpy(-change * scale, &self.squares.column(i), 1.0);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }
}

/// The scale of a channel's weights with the least squared error: the outermost steps reach the
/// outermost weights, or clip them. 0 for weights that are all zero.
fn scale(weights: &[f64], bits: Bits) -> f64 {
    let reach = bits.reach(weights);
    if reach == 0.0 {
        return 0.0;
    }
    let [first, last] = bits.ends();
    let error = |scale: f64| -> f64 {
        // Halves may go either way: the error is the same. So without a call for each weight.
        const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
        let step = |steps: f64| ((steps + WHOLE) - WHOLE).clamp(first, last);
        let inverse = 1.0 / scale;
        weights.iter().map(|w| (w - step(w * inverse) * scale).powi(2)).sum()
    };
    (0..(100.0 * bits.less()) as u32 + 4)
        .map(|i| reach * (1.0 - f64::from(i) * 0.01))
        .min_by(|&a, &b| error(a).total_cmp(&error(b)))
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of inputs that go together, and what two channels make of them.
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
        // Four bits, so that rounding counts.
        let smallest_scales = vec![0.016; 2];
        let nearest: Vec<Steps> = (0..2)
            .map(|o| Steps::nearest(weights.column(o).as_slice(), smallest_scales[o], Bits::Four))
            .collect();
        let trained = Trained {
            weights: weights.clone(),
            bias: vec![0.5; 2],
            smallest_scales,
            free_bias: true,
            bits: Bits::Four,
        };
        let learned = learn([&a, &b], &trained);
        let errors = [&learned, &nearest].map(|steps| unseen.error(steps, None));
        assert!(errors[0] < errors[1] / 4.0, "{errors:?}");
        let again = learn([&a, &b], &trained);
        assert_eq!(learned, again);
        // A bias that is not free counts with what it is.
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
            bits: Bits::Eight,
        };
        let steps = learn([&moments, &moments], &trained);
        assert!(steps[0].reals().all(|real| (real - 0.3).abs() < 1e-9), "{steps:?}");
    }
}
