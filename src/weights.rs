//! Where weights are while a network runs: in memory, or behind a driver.

use core::ops::Range;

use crate::model::Model;
#[cfg(feature = "self-test")]
use crate::scrub::{Scrub, Verification};

/// Where a [`Session`](crate::Session) has its weights from: [`Mapped`], or, with the crate's feature
/// `weights-window`, a `WeightsWindow`. There are no others.
pub trait Weights: Sealed {}

impl<W: Sealed> Weights for W {}

/// Weights lie in memory that the core reads, with the rest of the model file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mapped;

/// Weights of some output channels of a layer, and room for what is made with them.
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
    /// Room for their outputs, if they are not all of the layer.
    pub(crate) rows: &'w mut [i8],
}

/// What a session asks of its weights.
pub trait Sealed {
    /// Whether they lie in memory. Then nothing else is asked but [`verify`](Self::verify).
    const MAPPED: bool;

    /// Runs `run` with the weights of some output channels of a layer, until it has had all of them.
    /// Where they cannot be read, it [fails](Self::has_failed) instead.
    fn each_part(&mut self, model: &Model<'_>, layer: usize, run: impl FnMut(Part<'_>));

    /// Says which layer runs behind the one that runs now, if that is known.
    fn follows(&mut self, layer: Option<usize>);

    /// Lets the driver begin to read what that layer needs first.
    fn announce(&mut self, model: &Model<'_>, layer: usize);

    /// Whether they could not be read since the last [`recover`](Self::recover).
    fn has_failed(&self) -> bool;

    /// Forgets that.
    fn recover(&mut self);

    /// Reads more of the model file for a pass over it.
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
