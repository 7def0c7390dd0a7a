//! The images on which changes are tried: some to choose by, others to judge by.

use crate::data::Dataset;
use crate::memory::Memory;
use crate::network::Network;

/// The share by which an error must be less to count as less.
pub(crate) const MARGIN: f64 = 0.01;
/// Most multiplications of a pass over the images, unless that leaves too few images.
const MACS: usize = 27_000_000_000;
/// Least and most number of images; one of three is used to judge by.
const IMAGES: [usize; 2] = [12, 450];

/// Images of a data set, fewer of them for larger networks.
pub(crate) struct Images {
    /// Images that factors and ranges come from.
    pub(crate) seen: Vec<usize>,
    /// Images that errors are measured on; the same ones if there is only one.
    pub(crate) unseen: Vec<usize>,
    /// Number of images that fit into memory at once.
    pub(crate) batch: usize,
}

impl Images {
    /// Chooses images for trials with a network.
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

    /// Number of batches in two passes over the images to choose by, and one over those to judge
    /// by.
    pub(crate) fn batches(&self) -> usize {
        2 * self.seen.len().div_ceil(self.batch) + self.unseen.len().div_ceil(self.batch)
    }
}
