//! Named weights, which a structure takes one by one.

use std::collections::BTreeMap;
use std::collections::btree_map::Keys;

use ndarray::ArrayD;

use super::names::plain;
use super::random::Maker;

/// Names of losses, whose weights training scripts store beside the network.
const LOSSES: [&str; 4] = ["criterion.", "loss.", "loss_fn.", "loss_function."];

/// Counters that PyTorch stores with its batch norms, and weights of the training's loss, which
/// inference does not need.
pub(super) fn ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || LOSSES.iter().any(|loss| name.starts_with(loss))
}

/// Floats of 16 bits.
pub(super) fn halves(bytes: &[u8], value: impl Fn([u8; 2]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
}

/// Named weights.
pub type Weights = BTreeMap<String, ArrayD<f32>>;

/// Named weights, which the structure takes one by one; or weights that are made on demand.
pub(crate) struct Tensors {
    map: Weights,
    maker: Option<Maker>,
}

impl Tensors {
    /// Renames weights to the names of PyTorch's own ResNets, which the structures use.
    pub(super) fn new(map: Weights) -> Tensors {
        Tensors { map: plain(map), maker: None }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Weights that are made on demand.
    pub(crate) fn made(maker: Maker) -> Tensors {
        Tensors { map: Weights::new(), maker: Some(maker) }
    }

    /// Whether weights are made on demand.
    pub(crate) fn is_made(&self) -> bool {
        self.maker.is_some()
    }

    /// All weights that were made.
    pub(crate) fn into_made(self) -> Weights {
        self.maker.map(Maker::into_weights).unwrap_or_default()
    }

    /// Names of the weights that were not taken.
    pub(crate) fn names(&self) -> Keys<'_, String, ArrayD<f32>> {
        self.map.keys()
    }

    /// First size of a tensor: for weights of a linear layer, its number of outputs.
    pub(crate) fn outputs(&self, key: &str) -> Option<usize> {
        let found = self.map.get(key).and_then(|tensor| tensor.shape().first()).copied();
        found.or(self.maker.as_ref().map(Maker::classes))
    }

    /// Number of rows of a convolution's kernels.
    pub(crate) fn rows(&self, key: &str) -> Option<usize> {
        self.map.get(key).and_then(|tensor| tensor.shape().get(2)).copied()
    }

    /// Number of channels of the image that the first convolution reads.
    pub(crate) fn image_channels(&self) -> Option<usize> {
        let first = ["conv1.weight", "conv1.0.weight", "features.0.0.weight"];
        let first = first.iter().find_map(|key| self.map.get(*key))?;
        first.shape().get(1).copied()
    }

    /// Takes the tensor of this name, whose shape may be another.
    ///
    /// A tensor that is made has this shape.
    pub(crate) fn take(&mut self, key: &str, shape: &[usize]) -> Option<ArrayD<f32>> {
        match &mut self.maker {
            Some(maker) => Some(maker.make(key, shape)),
            None => self.map.remove(key),
        }
    }
}
