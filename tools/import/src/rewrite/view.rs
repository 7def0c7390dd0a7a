//! A map with padding and subsampling that are not applied yet.
//!
//! Files express a padded convolution as Pad + Conv, and the option A shortcut as slices and a Pad,
//! or as a Concat with zeros. A [`View`] collects these until their use is known: a convolution
//! takes over the spatial padding, and subsampling becomes a single [`Subsample`] node.

use crate::error::{Problem, unsupported};
use crate::network::{NodeId, Pads, Shape, Subsample};

/// A node's output, subsampled, then padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) node: NodeId,
    /// Shape of the node's output.
    base: Shape,
    stride: [usize; 2],
    /// Number of zero channels before and after.
    channels: [usize; 2],
    pads: Pads,
}

impl View {
    /// The node's output as it is.
    pub(crate) fn new(node: NodeId, base: Shape) -> View {
        View { node, base, stride: [1, 1], channels: [0, 0], pads: [0; 4] }
    }

    /// Shape after subsampling and padding.
    pub(crate) fn shape(&self) -> Shape {
        let [top, left, bottom, right] = self.pads;
        [
            self.base[0].div_ceil(self.stride[0]) + top + bottom,
            self.base[1].div_ceil(self.stride[1]) + left + right,
            self.base[2] + self.channels[0] + self.channels[1],
        ]
    }

    /// Keeps every `stride`-th row and column.
    pub(crate) fn subsampled(mut self, stride: [usize; 2]) -> Result<View, Problem> {
        crate::network::check_extents(&stride, "stride")?;
        if self.pads != [0; 4] && stride != [1, 1] {
            return Err(unsupported(
                "slices a padded map",
                "write the shortcut as x[:, :, ::2, ::2], padded afterwards",
            ));
        }
        self.stride = [self.stride[0] * stride[0], self.stride[1] * stride[1]];
        crate::network::check_extents(&self.stride, "stride")?;
        Ok(self)
    }

    /// Adds zeros around the map.
    pub(crate) fn padded(mut self, pads: Pads, channels: [usize; 2]) -> Result<View, Problem> {
        for (sum, pad) in self.pads.iter_mut().zip(pads) {
            *sum = sum.saturating_add(pad);
        }
        for (sum, pad) in self.channels.iter_mut().zip(channels) {
            *sum = sum.saturating_add(pad);
        }
        let sizes = self.pads.iter().chain(&self.channels).map(|n| n.saturating_add(1));
        crate::network::check_extents(&sizes.collect::<Vec<_>>(), "padding")?;
        Ok(self)
    }

    /// The spatial padding.
    pub(crate) fn pads(&self) -> Pads {
        self.pads
    }

    /// Removes the spatial padding, for a convolution that pads by itself.
    pub(crate) fn take_pads(&mut self) -> Pads {
        std::mem::take(&mut self.pads)
    }

    /// The subsampling that is left, if any, without the spatial padding.
    pub(crate) fn subsample(&self) -> Option<Subsample> {
        let subsample = Subsample {
            stride: self.stride,
            channels_before: self.channels[0],
            channels_after: self.channels[1],
        };
        let nothing = self.stride == [1, 1] && self.channels == [0, 0];
        (!nothing).then_some(subsample)
    }
}
