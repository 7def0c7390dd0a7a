//! Searches the closest point of a lattice.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::channel::{Bits, QuantizedChannel, scale};

/// Number of scales that are tried for each channel.
pub(super) const SCALES: usize = 9;
/// Approximate number of pairs of channel and scale that are searched together, so that they stay
/// in the cache.
const CANDIDATES: usize = 16;
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

/// A channel's weights as multiples of a scale.
struct Candidate {
    channel: usize,
    scale: f64,
    levels: Vec<f64>,
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
                self.nearest_planes(channels.iter().map(scales))
            })
            .collect();
        let off: Vec<_> = closest.iter().map(|candidate| candidate.off.column(0)).collect();
        let slopes = &self.squares * DMatrix::from_columns(&off);
        closest
            .into_par_iter()
            .map(|Candidate { channel, scale, mut levels, .. }| {
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

    /// For each of some channels the closest result of the nearest planes with its scales. They are
    /// computed together, so that each column of the factor is loaded once.
    fn nearest_planes(
        &self,
        channels: impl Iterator<Item = (usize, Vec<f64>)>,
    ) -> impl Iterator<Item = Candidate> {
        let taps = self.best.nrows();
        let candidate = |channel, scale| Candidate {
            channel,
            scale,
            levels: vec![0.0; taps],
            off: DVector::zeros(taps),
            error: 0.0,
        };
        let mut candidates: Vec<Vec<Candidate>> = channels
            .map(|(o, scales)| scales.into_iter().map(|scale| candidate(o, scale)).collect())
            .collect();
        for i in (0..taps).rev() {
            let column = self.lower.column(i);
            let (diagonal, below) = (column[i], column.rows_range(i + 1..));
            for Candidate { channel, scale, levels, off, error } in candidates.iter_mut().flatten()
            {
                let best = self.best[(i, *channel)];
                let wanted = best + below.dot(&off.rows_range(i + 1..)) / diagonal;
                levels[i] = self.bits.round(wanted / *scale);
                off[i] = best - levels[i] * *scale;
                *error += (diagonal * (wanted - levels[i] * *scale)).powi(2);
            }
        }
        let least = |of: Vec<Candidate>| of.into_iter().min_by(|a, b| a.error.total_cmp(&b.error));
        candidates.into_iter().filter_map(least)
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
