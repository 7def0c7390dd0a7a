//! Sums over samples of a layer's inputs and targets.

use nalgebra::{DMatrix, DVector, DVectorView};
use ndarray::{Array2, ArrayView1, ArrayView2, s};
use rayon::prelude::*;

use super::channel::QuantizedChannel;

/// Number of samples that are multiplied at once, few enough for sums in f32.
const CHUNK: usize = 1024;

/// The sums of a layer's inputs and targets, from which their means follow.
#[derive(Debug, Clone)]
pub struct Means {
    /// Number of samples.
    count: f64,
    /// `Σ x`.
    pub(super) inputs: DVector<f64>,
    /// `Σ t`.
    targets: DVector<f64>,
}

impl Means {
    /// The sums over samples, one per row: inputs `[samples, taps]`, targets `[samples, channels]`.
    pub fn new(inputs: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> Self {
        let sums = |of: ArrayView2<'_, f32>| {
            let column = |column: ArrayView1<'_, f32>| column.iter().map(|&x| f64::from(x)).sum();
            DVector::from_iterator(of.ncols(), of.columns().into_iter().map(column))
        };
        Self { count: inputs.nrows() as f64, inputs: sums(inputs), targets: sums(targets) }
    }

    /// The sums over both sets of samples.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            inputs: &self.inputs + &other.inputs,
            targets: &self.targets + &other.targets,
        }
    }

    /// The bias with which the sums of `weights` have the same mean as channel `o`'s targets.
    pub fn bias(&self, o: usize, weights: impl Iterator<Item = f64>) -> f64 {
        let sum: f64 = weights.zip(&self.inputs).map(|(weight, x)| weight * x).sum();
        (self.targets[o] - sum) / self.count
    }
}

/// The first and second moments of a layer's inputs and targets over samples.
#[derive(Debug, Clone)]
pub struct Moments {
    pub(super) means: Means,
    /// `Σ t²` of all channels.
    target_squares: f64,
    /// `Σ x xᵀ`.
    pub(super) squares: DMatrix<f64>,
    /// `Σ x tᵀ`, one column per output channel.
    pub(super) products: DMatrix<f64>,
}

impl Moments {
    /// The moments of samples, one per row: inputs `[samples, taps]`, targets
    /// `[samples, channels]`.
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
        // A few chunks at a time, in order, so that the sums do not depend on the number of
        // threads.
        for starts in starts.chunks(16) {
            let parts: Vec<_> = starts
                .par_iter()
                .map(|&start| {
                    let rows = s![start..(start + CHUNK).min(count), ..];
                    let (x, t) = (inputs.slice(rows), targets.slice(rows));
                    // They are transposed, as nalgebra's matrices are column-major.
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

    /// The moments of both sets of samples.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            means: self.means.with(&other.means),
            target_squares: self.target_squares + other.target_squares,
            squares: &self.squares + &other.squares,
            products: &self.products + &other.products,
        }
    }

    /// Squared error of all outputs with these weights, over the samples.
    pub(super) fn error(&self, channels: &[QuantizedChannel], bias: Option<&[f64]>) -> f64 {
        let Means { count, inputs, targets } = &self.means;
        let mut reals = Vec::with_capacity(inputs.len() * channels.len());
        channels.iter().for_each(|channel| reals.extend(channel.reals()));
        let weights = DMatrix::from_vec(inputs.len(), channels.len(), reals);
        let products = &self.squares * &weights;
        let error = |(o, weights): (usize, DVectorView<'_, f64>)| {
            let bias = bias.map_or_else(|| self.means.bias(o, channels[o].reals()), |bias| bias[o]);
            let sum = weights.dot(inputs);
            weights.dot(&products.column(o)) + count * bias * bias
                - 2.0 * (weights.dot(&self.products.column(o)) + bias * (targets[o] - sum))
        };
        self.target_squares + weights.column_iter().enumerate().map(error).sum::<f64>()
    }

    /// The moments about the means: the bias is free to correct a shift of the mean.
    pub(super) fn centred(&self) -> (DMatrix<f64>, DMatrix<f64>) {
        let Means { count, inputs, targets } = &self.means;
        let mut squares = self.squares.clone();
        let mut products = self.products.clone();
        squares.ger(-1.0 / count, inputs, inputs, 1.0);
        products.ger(-1.0 / count, inputs, targets, 1.0);
        (squares, products)
    }
}
