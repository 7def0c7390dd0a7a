//! Limits the memory that quantizing takes.

use crate::forward::BATCH;
use crate::network::{Network, Op};

/// Approximate limit of the bytes of weights and maps.
///
/// A network whose maps of a single image are larger takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub usize);

impl Default for Memory {
    fn default() -> Self {
        Self(400 << 20)
    }
}

/// Number of copies of a network's weights in memory: as they were read, as they were changed, and
/// in the engine.
const COPIES: usize = 3;

impl Memory {
    /// Number of images whose maps fit besides the weights, if those of one image take `bytes`: at
    /// least one, and at most [`BATCH`].
    pub(crate) fn batch(self, network: &Network, bytes: usize) -> usize {
        let maps = self.0.saturating_sub(COPIES * weight_bytes(network));
        (maps / bytes.max(1)).clamp(1, BATCH)
    }

    /// Number of images for which the outputs of all nodes fit.
    pub(crate) fn batch_of_nodes(self, network: &Network) -> usize {
        let numbers = network.nodes.iter().map(|node| node.shape.iter().product::<usize>());
        self.batch(network, size_of::<f32>() * numbers.sum::<usize>())
    }
}

fn weight_bytes(network: &Network) -> usize {
    let numbers = network.nodes.iter().map(|node| match &node.op {
        Op::Conv(conv) => conv.weights.len(),
        _ => 0,
    });
    size_of::<f32>() * numbers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks;

    #[test]
    fn less_memory_is_fewer_images_and_one_at_least() {
        let mut network = Network::new([4, 4, 3], "x").unwrap();
        let conv = blocks::conv([5, 3, 1], |_| 0.0, 0.0);
        network.push(Op::Conv(conv), &[0], "").unwrap();
        assert_eq!(weight_bytes(&network), 60);
        let batch = |bytes: usize| Memory(bytes).batch_of_nodes(&network);
        // 16 pixels of 3 and of 5 channels are 512 bytes, the weights three times 60.
        assert_eq!([batch(0), batch(691), batch(180 + 1024)], [1, 1, 2]);
        assert_eq!(batch(180 + 512 * BATCH - 1), BATCH - 1);
        assert_eq!(Memory::default().batch_of_nodes(&network), BATCH);
    }
}
