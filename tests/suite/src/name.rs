//! The cases, their order, and their names.

use core::fmt;

use brooklet::Shape;
use brooklet::format::Packing;
use brooklet::ops::Window;

use crate::Values;
use crate::cases::{CASES, Case};

/// What a case computes.
#[derive(Clone, Copy)]
pub(crate) enum Name {
    /// A convolution. `operand` is the kind of shortcut, as in [`crate::conv::run`].
    Conv {
        case: &'static Case,
        values: Values,
        packing: Packing,
        operand: u32,
        stream16: bool,
    },
    Add(Shape),
    BatchNorm(Shape),
    Pools(Shape),
    Softmax(u16),
    DepthwiseConv(Window, Values),
    GroupedConv(Window, Packing),
    WindowAverage(Window),
    Lookup(Shape),
    Multiply(Shape),
}

const VALUES: [Values; 3] = [Values::Any, Values::Extreme, Values::Largest];

/// Calls `of` with each case.
pub(crate) fn each(mut of: impl FnMut(Name)) {
    for case in &CASES {
        for values in VALUES {
            for packing in Packing::ALL {
                if !packing.fits(case.kernel, [case.stride; 2]) {
                    continue;
                }
                for operand in 0..4 {
                    of(Name::Conv { case, values, packing, operand, stream16: false });
                }
                for operand in 0..4 {
                    of(Name::Conv { case, values, packing, operand, stream16: true });
                }
            }
        }
    }
    for columns in [1, 2, 7, 16] {
        for channels in [1, 3, 16, 33] {
            of(Name::Add(Shape::new(1, columns, channels)));
            of(Name::BatchNorm(Shape::new(1, columns, channels)));
            of(Name::Pools(Shape::new(5, columns, channels)));
        }
    }
    for channels in [1, 2, 10, 257] {
        of(Name::Softmax(channels));
    }
    for values in VALUES {
        for kernel in [[3, 3], [1, 1], [5, 5], [2, 3], [1, 9]] {
            for (stride, pad_left, columns) in [(1, 1, 9), (2, 0, 16), (2, 1, 8), (1, 0, 10)] {
                let window = |inputs, outputs| {
                    window(Shape::new(9, columns, inputs), kernel, stride, pad_left, outputs)
                };
                for channels in [1, 3, 4, 16, 18, 37] {
                    of(Name::DepthwiseConv(window(channels, channels), values));
                    of(Name::WindowAverage(window(channels, channels)));
                }
                for packing in Packing::ALL {
                    if packing.rows_a_step() == 1 {
                        of(Name::GroupedConv(window(12, 15), packing));
                    }
                }
            }
        }
    }
    for columns in [1, 7, 16] {
        for channels in [1, 3, 16, 33] {
            of(Name::Lookup(Shape::new(1, columns, channels)));
            of(Name::Multiply(Shape::new(1, columns, channels)));
        }
    }
}

fn window(
    input: Shape,
    kernel: [usize; 2],
    stride: usize,
    pad_left: usize,
    channels: u16,
) -> Window {
    // A pad must be smaller than the kernel.
    let pad_left = pad_left.min(kernel[1] - 1);
    let columns = (usize::from(input.columns) + pad_left - kernel[1]) / stride + 1;
    let output = Shape::new(1, columns as u16, channels);
    Window { input, output, kernel, stride: [stride; 2], pad_left }
}

/// A case, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseNumber(pub u32);

impl fmt::Display for CaseNumber {
    /// Kernel, packing and shape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut result) = (0, Ok(()));
        each(|name| {
            if number == self.0 {
                result = write!(f, "case {number}: {name}");
            }
            number += 1;
        });
        result
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = |f: &mut fmt::Formatter<'_>, what: &str, window: &Window| {
            let Window { input, output, kernel, stride, pad_left } = window;
            write!(
                f,
                "{what}, {}×{} kernel, stride {}, {pad_left} padded on the left, {} columns of {} \
                 channels to {} of {}",
                kernel[0],
                kernel[1],
                stride[1],
                input.columns,
                input.channels,
                output.columns,
                output.channels
            )
        };
        let of = |f: &mut fmt::Formatter<'_>, what: &str, shape: &Shape| {
            let Shape { rows, columns, channels } = shape;
            write!(f, "{what}, {rows}×{columns}×{channels}")
        };
        match self {
            Self::Conv { case, values, packing, operand, stream16 } => {
                conv(f, "conv", &case.window())?;
                let shortcut =
                    ["no shortcut", "a shortcut in place", "a shortcut", "a strided shortcut"];
                let stream = if *stream16 { ", a stream in 16 bits" } else { "" };
                let shortcut = shortcut[*operand as usize];
                write!(f, "; {}, {shortcut}{stream}, {values} values", packing.name())
            }
            Self::DepthwiseConv(window, values) => {
                conv(f, "depthwise conv", window)?;
                write!(f, "; {values} values")
            }
            Self::GroupedConv(window, packing) => {
                conv(f, "grouped conv", window)?;
                write!(f, "; {}", packing.name())
            }
            Self::WindowAverage(window) => conv(f, "window average", window),
            Self::Add(shape) => of(f, "add", shape),
            Self::BatchNorm(shape) => of(f, "batch norm", shape),
            Self::Pools(shape) => of(f, "max-pool, then average pool", shape),
            Self::Softmax(channels) => write!(f, "softmax of {channels}"),
            Self::Lookup(shape) => of(f, "lookup", shape),
            Self::Multiply(shape) => of(f, "multiply", shape),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Extreme => "extreme",
            Self::Largest => "the largest",
        })
    }
}
