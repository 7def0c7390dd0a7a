//! A node's output in the layout of the file.

use std::ops::Range;

use super::node::corrupt;
use super::shapes;
use crate::error::{Problem, unsupported};
use crate::rewrite::view::View;

/// Axis of a map; the batch is always 1 and has no axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Height = 0,
    Width = 1,
    Channel = 2,
}

pub(super) use Axis::{Channel, Height, Width};

/// A node's output as a tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) view: View,
    /// For each dimension of the tensor the axes that it runs over, outermost first; none for the
    /// batch and for added dimensions of size 1.
    pub(super) dims: Vec<Vec<Axis>>,
}

impl Map {
    /// A node's output as N, C, H, W.
    pub(super) fn nchw(view: View) -> Map {
        Map { view, dims: vec![vec![], vec![Channel], vec![Height], vec![Width]] }
    }

    /// Whether its columns are the rows of the file, whose columns are of size 1: a signal that is
    /// written as N, C, W, 1.
    pub(super) fn is_upright(&self) -> bool {
        self.extent(Height) == 1
            && self.extent(Width) > 1
            && self.is_laid_out(&[&[], &[Channel], &[Width], &[]])
    }

    /// An output of an operator on this map, in ONNX's own layout with the same number of
    /// dimensions.
    pub(super) fn like(&self, view: View) -> Map {
        match self.dims.len() {
            4 if self.is_upright() => {
                Map { view, dims: vec![vec![], vec![Channel], vec![Width], vec![]] }
            }
            3 => Map { view, dims: vec![vec![], vec![Channel], vec![Width]] },
            _ => Map::nchw(view),
        }
    }

    pub(super) fn extent(&self, axis: Axis) -> usize {
        self.view.shape()[axis as usize]
    }

    pub(super) fn size(&self, dim: usize) -> usize {
        self.dims[dim].iter().map(|&axis| self.extent(axis)).product()
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        (0..self.dims.len()).map(|dim| self.size(dim)).collect()
    }

    /// Whether the dimensions run over these axes; axes of size 1 do not matter.
    pub(super) fn is_laid_out(&self, wanted: &[&[Axis]]) -> bool {
        let wide = |axes: &[Axis]| -> Vec<Axis> {
            axes.iter().copied().filter(|&axis| self.extent(axis) > 1).collect()
        };
        self.dims.len() == wanted.len()
            && self.dims.iter().zip(wanted).all(|(dim, wanted)| wide(dim) == wide(wanted))
    }

    /// Whether each dimension of `other`, with the last dimensions aligned, runs over the same axes
    /// as this one's, or over none.
    pub(super) fn broadcasts(&self, other: &Map) -> bool {
        let wide = |map: &Map, dim: usize| -> Vec<Axis> {
            let axes = map.dims[dim].iter().copied();
            axes.filter(|&axis| map.extent(axis) > 1).collect()
        };
        let Some(more) = self.dims.len().checked_sub(other.dims.len()) else { return false };
        (0..other.dims.len()).all(|dim| {
            let theirs = wide(other, dim);
            theirs.is_empty() || theirs == wide(self, dim + more)
        })
    }

    /// Refuses maps that are not laid out as N, C, H, W, or as N, C, W or N, C, W, 1 if they have one
    /// dimension.
    pub(super) fn require_nchw(&self) -> Result<(), Problem> {
        if self.is_laid_out(&[&[], &[Channel], &[Height], &[Width]])
            || self.is_laid_out(&[&[], &[Channel], &[Width]])
            || self.is_upright()
        {
            return Ok(());
        }
        Err(unsupported(
            format!("reads a map laid out as {:?}, not as N, C, H, W", self.dims),
            "export the network in ONNX's own layout",
        ))
    }

    /// Whether these dimensions together run over the channels, and over nothing else.
    pub(super) fn is_over_channels(&self, dims: Range<usize>) -> bool {
        let axes = self.dims[dims].iter().flatten().copied();
        let wide: Vec<Axis> = axes.filter(|&axis| self.extent(axis) > 1).collect();
        match self.extent(Channel) {
            1 => wide.is_empty(),
            _ => wide == [Channel],
        }
    }

    /// The axis that a dimension, counted from the end if negative, runs over.
    pub(super) fn axis(&self, dim: i64) -> Result<usize, Problem> {
        shapes::axis(dim, self.dims.len())
    }

    /// The same values with other dimensions.
    pub(super) fn reshaped(&self, target: &[usize]) -> Result<Map, Problem> {
        let mut axes = self.dims.iter().flatten().copied().filter(|&axis| self.extent(axis) > 1);
        let mut dims = Vec::with_capacity(target.len());
        for &size in target {
            let (mut dim, mut product) = (vec![], 1);
            while product < size {
                let Some(axis) = axes.next() else { break };
                product *= self.extent(axis);
                dim.push(axis);
            }
            if product != size {
                let sizes = self.sizes();
                return Err(unsupported(
                    format!("reshapes a map of {sizes:?} to {target:?}, which cuts an axis"),
                    "only flattening before the last layer is supported",
                ));
            }
            dims.push(dim);
        }
        if axes.next().is_some() {
            let sizes = self.sizes();
            return Err(corrupt(format!("reshapes {sizes:?} to {target:?}")));
        }
        Ok(Map { view: self.view, dims })
    }
}
