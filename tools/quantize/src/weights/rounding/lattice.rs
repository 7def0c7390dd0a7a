//! Searches the closest point of a lattice.

use nalgebra::{DMatrix, DVector, DVectorView};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ShapeBuilder, s};
use rayon::prelude::*;

use super::channel::{Bits, QuantizedChannel, scale};
use super::factor::BLOCK;

/// Number of scales that are tried for each channel.
pub(super) const SCALES: usize = 9;
/// Approximate number of pairs of channel and scale that are searched together.
const CANDIDATES: usize = 128;
/// Maximum number of passes of the descent.
const SWEEPS: usize = 8;
/// Number of taps up to which several scales and priors are tried, as the cost grows faster than
/// its square.
pub(super) const TAPS_TO_TRY: usize = 1200;

/// The weights of all channels, and the cost of their errors.
pub(super) struct Lattice {
    pub(super) squares: DMatrix<f64>,
    pub(super) lower: DMatrix<f64>,
    /// The real weights without error, one column per channel.
    pub(super) best: DMatrix<f64>,
    pub(super) bits: Bits,
}

/// A channel's weights as multiples of a scale: the best weights without what these are off.
struct Candidate {
    channel: usize,
    scale: f64,
    /// The best weights minus these.
    off: DVector<f64>,
    error: f64,
}

impl Lattice {
    /// The closest weights found for each channel, with the best of `scales` scales.
    pub(super) fn closest(&self, smallest_scales: &[f64], scales: usize) -> Vec<QuantizedChannel> {
        let channels: Vec<usize> = (0..self.best.ncols()).collect();
        let closest: Vec<Candidate> = channels
            .par_chunks(CANDIDATES.div_ceil(scales))
            .flat_map_iter(|channels| {
                let scales = |&o: &usize| (o, self.scales(o, smallest_scales[o], scales));
                self.nearest_planes(&channels.iter().map(scales).collect::<Vec<_>>())
            })
            .collect();
        let off: Vec<_> = closest.iter().map(|candidate| candidate.off.column(0)).collect();
        let slopes = &self.squares * DMatrix::from_columns(&off);
        closest
            .into_par_iter()
            .map(|Candidate { channel, scale, off, .. }| {
                let best = self.best.column(channel);
                let mut levels: Vec<f64> = best
                    .iter()
                    .zip(&off)
                    .map(|(best, off)| ((best - off) / scale).round())
                    .collect();
                self.descend(scale, &mut levels, slopes.column(channel).into_owned());
                QuantizedChannel {
                    scale,
                    weights: levels.iter().map(|&level| level as i8).collect(),
                }
            })
            .collect()
    }

    /// Up to `count` scales to try for a channel.
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

    /// For each of some channels the closest result of the nearest planes with its scales.
    ///
    /// Taps are rounded in blocks. What the taps after a block change in it is one product of
    /// matrices for all channels and scales.
    fn nearest_planes(&self, channels: &[(usize, Vec<f64>)]) -> Vec<Candidate> {
        let taps = self.best.nrows();
        let tried = || channels.iter().flat_map(|(o, scales)| scales.iter().map(|&s| (*o, s)));
        let count = tried().count();
        let mut off = Array2::<f64>::zeros((taps, count).f());
        let mut errors = vec![0.0; count];
        // A matrix in column-major order is its transpose in row-major order.
        let upper = ArrayView2::from_shape((taps, taps), self.lower.as_slice()).expect("square");
        for from in (0..taps).step_by(BLOCK).rev() {
            let to = (from + BLOCK).min(taps);
            let mut pull = Array2::zeros((to - from, count).f());
            let (block, later) = (upper.slice(s![from..to, to..]), off.slice(s![to.., ..]));
            general_mat_mul(1.0, &block, &later, 0.0, &mut pull);
            let columns = off.columns_mut().into_iter().zip(pull.columns()).zip(&mut errors);
            for ((channel, scale), ((mut off, pull), error)) in tried().zip(columns) {
                let off = off.as_slice_mut().expect("a column is contiguous");
                for i in (from..to).rev() {
                    let diagonal = self.lower[(i, i)];
                    let below = self.lower.view((i + 1, i), (to - i - 1, 1));
                    let later = DVectorView::from_slice(&off[i + 1..to], to - i - 1);
                    let best = self.best[(i, channel)];
                    let wanted = best + (pull[i - from] + below.dot(&later)) / diagonal;
                    let rounded = self.bits.round(wanted / scale) * scale;
                    off[i] = best - rounded;
                    *error += (diagonal * (wanted - rounded)).powi(2);
                }
            }
        }
        let mut closest: Vec<Candidate> = Vec::new();
        for ((channel, scale), (off, error)) in tried().zip(off.columns().into_iter().zip(errors)) {
            let last = closest.last().filter(|last| last.channel == channel);
            if last.is_some_and(|last| last.error <= error) {
                continue;
            }
            if last.is_some() {
                closest.pop();
            }
            let off = DVector::from_iterator(taps, off.iter().copied());
            closest.push(Candidate { channel, scale, off, error });
        }
        closest
    }

    /// Changes single taps as long as that reduces the error, whose slope is given.
    fn descend(&self, scale: f64, levels: &mut [f64], mut slope: DVector<f64>) {
        for _ in 0..SWEEPS {
            let mut changed = false;
            for i in 0..levels.len() {
                let wanted = levels[i] + slope[i] / (self.squares[(i, i)] * scale);
                let change = self.bits.round(wanted) - levels[i];
                if change != 0.0 {
                    levels[i] += change;
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
