//! Backends without some of their kernels: for less stack, and for less code.
//!
//! A kernel that no method reaches is not linked. Models packed for it are refused, as those
//! packed for another backend are.

use super::{Backend, Isa};
use crate::ops::add::Add;
use crate::ops::average_pool::AveragePool;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::lookup::Lookup;
use crate::ops::max_pool::MaxPool;
use crate::ops::multiply::Multiply;
use crate::ops::softmax::Softmax;
use crate::ops::window_average::WindowAverage;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};

/// A backend without Winograd's convolutions, whose [steps make several rows](crate::format::Packing::rows_a_step):
/// a fifth less code, and 2 KB less of stack, which small boards do not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct<B>(pub B);

impl<B: Backend> Backend for Direct<B> {
    const ISA: &'static Isa = B::ISA;
    const SEVERAL_ROWS: bool = false;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        self.0.conv(conv, rows, shortcut, scratch, output);
    }

    // Not called: what it is for is refused.
    fn conv_rows(
        &self,
        _: &Conv<'_>,
        _: &Rows<'_>,
        _: &Shortcuts<'_>,
        _: &mut [u8],
        _: &mut Outputs<'_>,
    ) {
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        self.0.add(add, input, shortcut, output);
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        self.0.max_pool(pool, rows, output);
    }

    fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
        self.0.sum_row(first, row, sums);
    }

    fn average(&self, pool: &AveragePool, sums: &[i32], output: &mut [i8]) {
        self.0.average(pool, sums, output);
    }

    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        self.0.depthwise_conv(conv, rows, output);
    }

    fn lookup(&self, lookup: &Lookup<'_>, input: &[i8], output: &mut [i8]) {
        self.0.lookup(lookup, input, output);
    }

    fn multiply(
        &self,
        multiply: &Multiply,
        input: &[i8],
        shortcut: &Shortcut<'_>,
        output: &mut [i8],
    ) {
        self.0.multiply(multiply, input, shortcut, output);
    }

    fn window_average(&self, pool: &WindowAverage, rows: &Rows<'_>, output: &mut [i8]) {
        self.0.window_average(pool, rows, output);
    }

    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        self.0.batch_norm(norm, input, output);
    }

    fn softmax(&self, softmax: &Softmax, input: &[i8], output: &mut [i8]) {
        self.0.softmax(softmax, input, output);
    }
}
