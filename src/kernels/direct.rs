//! Backends without some of their kernels, which take less stack and less code.
//!
//! A kernel that no method calls is not linked. Models packed for it are refused, as are those
//! packed for another backend.

use super::{Backend, Isa};
use crate::ops::conv::Conv;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};

/// Forwards all methods of a backend, except those for convolutions, to the backend in a field.
macro_rules! others_of {
    ($field:tt) => {
        fn add(
            &self,
            add: &$crate::ops::add::Add<'_>,
            input: &[i8],
            shortcut: &$crate::ops::Shortcut<'_>,
            output: &mut [i8],
        ) {
            self.$field.add(add, input, shortcut, output);
        }

        fn max_pool(
            &self,
            pool: &$crate::ops::max_pool::MaxPool,
            rows: &$crate::ops::Rows<'_>,
            output: &mut [i8],
        ) {
            self.$field.max_pool(pool, rows, output);
        }

        fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
            self.$field.sum_row(first, row, sums);
        }

        fn average(
            &self,
            pool: &$crate::ops::average_pool::AveragePool,
            sums: &[i32],
            output: &mut [i8],
        ) {
            self.$field.average(pool, sums, output);
        }

        fn depthwise_conv(
            &self,
            conv: &$crate::ops::depthwise_conv::DepthwiseConv<'_>,
            rows: &$crate::ops::Rows<'_>,
            output: &mut [i8],
        ) {
            self.$field.depthwise_conv(conv, rows, output);
        }

        fn lookup(
            &self,
            lookup: &$crate::ops::lookup::Lookup<'_>,
            input: &[i8],
            output: &mut [i8],
        ) {
            self.$field.lookup(lookup, input, output);
        }

        fn multiply(
            &self,
            multiply: &$crate::ops::multiply::Multiply,
            input: &[i8],
            shortcut: &$crate::ops::Shortcut<'_>,
            output: &mut [i8],
        ) {
            self.$field.multiply(multiply, input, shortcut, output);
        }

        fn window_average(
            &self,
            pool: &$crate::ops::window_average::WindowAverage,
            rows: &$crate::ops::Rows<'_>,
            output: &mut [i8],
        ) {
            self.$field.window_average(pool, rows, output);
        }

        fn batch_norm(
            &self,
            norm: &$crate::ops::batch_norm::BatchNorm<'_>,
            input: &[i8],
            output: &mut [i8],
        ) {
            self.$field.batch_norm(norm, input, output);
        }

        fn softmax(
            &self,
            softmax: &$crate::ops::softmax::Softmax,
            input: &[i8],
            output: &mut [i8],
        ) {
            self.$field.softmax(softmax, input, output);
        }
    };
}

pub(super) use others_of;

/// A backend without Winograd's convolutions, whose [steps make several
/// rows](crate::format::Packing::rows_a_step).
///
/// It saves a fifth of the code, and 2 KB of stack, which small boards do not have.
///
/// ```
/// use brooklet::format::Packing;
/// use brooklet::kernels::{Backend, Direct, Portable};
///
/// assert!(Portable.runs(Packing::Winograd) && !Direct(Portable).runs(Packing::Winograd));
/// ```
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

    // Never called: models that would need it are refused.
    fn conv_rows(
        &self,
        _: &Conv<'_>,
        _: &Rows<'_>,
        _: &Shortcuts<'_>,
        _: &mut [u8],
        _: &mut Outputs<'_>,
    ) {
    }

    others_of!(0);
}
