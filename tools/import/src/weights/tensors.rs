//! Named weights, which a structure takes one by one.

use std::collections::BTreeMap;
use std::collections::btree_map::Keys;

use ndarray::ArrayD;

use super::names::plain;
use super::random::Maker;

/// Counters that PyTorch stores with its batch norms, and that inference does not need.
pub(super) fn ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
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
