//! The images that changes are tried on: some to choose by, others to judge by.

use crate::data::Dataset;
use crate::memory::Memory;
use crate::network::Network;

/// An error must be less by this share to count as less.
pub(crate) const MARGIN: f64 = 0.01;
/// Multiplications that a pass over the images takes at most, if these are not too few then.
const MACS: usize = 27_000_000_000;
/// Images, at least and at most; one of three is to judge by.
const IMAGES: [usize; 2] = [12, 450];

/// Images of a data set, fewer of them for larger networks.
pub(crate) struct Images {
    /// Those that factors and ranges come from.
    pub(crate) seen: Vec<usize>,
    /// Those that errors are measured on. Of one image there is no other.
    pub(crate) unseen: Vec<usize>,
    /// Of these, as many at once as there is memory for.
    pub(crate) batch: usize,
}

impl Images {
    /// For trials with a network.
    pub(crate) fn new(network: &Network, data: &Dataset, memory: Memory) -> Self {
        let batch = memory.batch_of_nodes(network);
        let [least, most] = IMAGES;
        let all = data.spread((MACS / network.macs().max(1)).clamp(least, most));
        if all.len() < 2 {
            return Self { seen: all.clone(), unseen: all, batch };
        }
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for (place, &image) in all.iter().enumerate() {
            let part = if place % 3 == 1 { &mut unseen } else { &mut seen };
            part.push(image);
        }
        Self { seen, unseen, batch }
    }

    /// Batches of two passes over the images to choose by, and one over those to judge by.
    pub(crate) fn batches(&self) -> usize {
        2 * self.seen.len().div_ceil(self.batch) + self.unseen.len().div_ceil(self.batch)
    }
}
