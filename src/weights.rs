//! Where weights are while a network runs: in memory, or behind a driver.

use core::ops::Range;

use crate::model::Model;
#[cfg(feature = "self-test")]
use crate::scrub::{Scrub, Verification};

/// Where a [`Session`](crate::Session) gets its weights: [`Mapped`], or a `WeightsWindow` with the
/// crate's feature `weights-window`. There are no others.
pub trait Weights: Sealed {}

impl<W: Sealed> Weights for W {}

/// The weights lie in memory that the core can read, with the rest of the model file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mapped;

/// The weights of some output channels of a layer, and room for the outputs made with them.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "weights-window"),
    allow(dead_code, reason = "what is mapped is run whole")
)]
pub struct Part<'w> {
    /// The output channels.
    pub(crate) channels: Range<usize>,
    /// Their weights, in the layer's packing.
    pub(crate) weights: &'w [i8],
    /// Room for their outputs, unless the part has all channels of the layer.
    pub(crate) rows: &'w mut [i8],
}

/// What a session asks of its weights.
pub trait Sealed {
    /// Whether they lie in memory. If so, only [`verify`](Self::verify) is called.
    const MAPPED: bool;

    /// Calls `run` with the weights of some output channels of a layer, until all channels are
    /// done. If the weights cannot be read, it [fails](Self::has_failed) instead.
    fn each_part(&mut self, model: &Model<'_>, layer: usize, run: impl FnMut(Part<'_>));

    /// Says which layer runs after the current one, if that is known.
    fn follows(&mut self, layer: Option<usize>);

    /// Lets the driver begin to read what `layer` needs first.
    fn announce(&mut self, model: &Model<'_>, layer: usize);

    /// Whether weights could not be read since the last [`recover`](Self::recover).
    fn has_failed(&self) -> bool;

    /// Clears the failure.
    fn recover(&mut self);

    /// Reads further bytes of the model file for a pass over it.
    #[cfg(feature = "self-test")]
    fn verify(&mut self, model: &Model<'_>, scrub: &mut Scrub, budget: usize) -> Verification;
}

impl Sealed for Mapped {
    const MAPPED: bool = true;

    fn each_part(&mut self, _: &Model<'_>, _: usize, _: impl FnMut(Part<'_>)) {}

    fn follows(&mut self, _: Option<usize>) {}

    fn announce(&mut self, _: &Model<'_>, _: usize) {}

    #[inline(always)]
    fn has_failed(&self) -> bool {
        false
    }

    fn recover(&mut self) {}

    #[cfg(feature = "self-test")]
    #[inline(always)]
    fn verify(&mut self, model: &Model<'_>, scrub: &mut Scrub, budget: usize) -> Verification {
        scrub.advance(model.file(), budget)
    }
}
