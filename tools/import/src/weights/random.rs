//! Random weights.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// Makes the weights of [`Arch::new_weights`](crate::Arch::new_weights).
pub(crate) struct Maker {
    classes: usize,
    random: ChaCha8Rng,
    /// Suffix of the keys of the weights that scale the end of a block, and their scale.
    last_of_blocks: Option<String>,
    last_scale: f32,
    made: BTreeMap<String, ArrayD<f32>>,
}

impl Maker {
    /// Makes weights for `classes` classes, and for `blocks` blocks.
    pub(crate) fn new(
        classes: usize,
        seed: u64,
        blocks: usize,
        last_of_blocks: Option<String>,
    ) -> Self {
        Self {
            classes,
            random: ChaCha8Rng::seed_from_u64(seed),
            last_of_blocks,
            last_scale: (blocks as f32).sqrt().recip(),
            made: BTreeMap::new(),
        }
    }

    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    /// All tensors that were made.
    pub(super) fn into_weights(self) -> BTreeMap<String, ArrayD<f32>> {
        self.made
    }

    /// Makes a tensor with this name and shape.
    pub(super) fn make(&mut self, key: &str, shape: &[usize]) -> ArrayD<f32> {
        let part = key.rsplit('.').next().unwrap_or(key);
        let is_last = self.last_of_blocks.as_ref().is_some_and(|last| key.ends_with(last));
        let scale = if is_last { self.last_scale } else { 1.0 };
        let tensor = match (shape.len(), part) {
            (1, "weight") => ArrayD::from_elem(shape, scale),
            (1, "running_var") => ArrayD::ones(shape),
            (1, _) => ArrayD::zeros(shape),
            _ => {
                let inputs: usize = shape[1..].iter().product();
                let deviation = scale * (2.0 / inputs as f32).sqrt();
                ArrayD::from_shape_simple_fn(shape, || {
                    let number: f32 = StandardNormal.sample(&mut self.random);
                    deviation * number
                })
            }
        };
        self.made.insert(key.to_owned(), tensor.clone());
        tensor
    }
}
