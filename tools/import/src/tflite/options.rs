//! Options of operators.

use super::schema::{Table, corrupt};
use crate::error::{Problem, unsupported};
use crate::network::{Activation, MAX_EXTENT, Pads, Shape, check_extents, same_pads};

/// An operator's options; absent ones have their defaults.
#[derive(Clone, Copy)]
pub(super) struct Options<'a>(pub(super) Option<Table<'a>>);

impl<'a> Options<'a> {
    pub(super) fn number<T: planus::TableRead<'a>>(
        self,
        field: usize,
        default: T,
    ) -> Result<T, Problem> {
        match self.0 {
            Some(table) => table.number(field, default),
            None => Ok(default),
        }
    }

    pub(super) fn int(self, field: usize, default: i32) -> Result<i32, Problem> {
        self.number(field, default)
    }

    pub(super) fn extent(self, field: usize, default: i32) -> Result<usize, Problem> {
        let value = self.int(field, default)?;
        let extent = usize::try_from(value).ok().filter(|&n| n > 0 && n <= MAX_EXTENT);
        extent.ok_or_else(|| corrupt(format!("an extent of {value}")))
    }

    /// Stride and pads of a convolution or a pooling, whose options begin with the same fields.
    pub(super) fn window(
        self,
        input: Shape,
        kernel: [usize; 2],
    ) -> Result<([usize; 2], Pads), Problem> {
        check_extents(&kernel, "kernel")?;
        let stride = [self.extent(2, 0)?, self.extent(1, 0)?];
        match self.number(0, 0i8)? {
            0 => Ok((stride, same_pads(input, kernel, stride, true))),
            1 => Ok((stride, [0; 4])),
            other => Err(corrupt(format!("a padding of kind {other}"))),
        }
    }

    pub(super) fn activation(self, field: usize) -> Result<Activation, Problem> {
        match self.number(field, 0i8)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            3 => Ok(Activation::Relu6),
            other => Err(unsupported(
                format!("a fused activation of kind {other}"),
                "only ReLU and ReLU6 are supported",
            )),
        }
    }
}
