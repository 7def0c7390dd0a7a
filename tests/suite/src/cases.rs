//! The convolutions that are tried.

use brooklet::Shape;
use brooklet::ops::Window;

/// A convolution to try: kernel, stride, left pad, columns, channels in and out.
pub(crate) struct Case {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) pad_left: usize,
    pub(crate) pad_right: usize,
    pub(crate) columns: u16,
    pub(crate) inputs: u16,
    pub(crate) outputs: u16,
}

impl Case {
    /// In the form of an operator.
    pub(crate) fn window(&self) -> Window {
        let padded = usize::from(self.columns) + self.pad_left + self.pad_right;
        let columns = (padded - self.kernel[1]) / self.stride + 1;
        Window {
            input: Shape::new(9, self.columns, self.inputs),
            output: Shape::new(1, columns as u16, self.outputs),
            kernel: self.kernel,
            stride: [self.stride; 2],
            pad_left: self.pad_left,
        }
    }
}

const fn case(
    kernel: [usize; 2],
    stride: usize,
    pads: [usize; 2],
    columns: u16,
    inputs: u16,
    outputs: u16,
) -> Case {
    Case { kernel, stride, pad_left: pads[0], pad_right: pads[1], columns, inputs, outputs }
}

pub(crate) const CASES: [Case; 47] = [
    case([3, 3], 1, [1, 1], 9, 17, 6),
    case([3, 3], 1, [1, 1], 8, 12, 16),
    case([3, 3], 1, [1, 1], 32, 3, 16),
    case([3, 3], 1, [1, 1], 7, 5, 9),
    case([3, 3], 1, [1, 1], 1, 4, 4),
    case([3, 3], 1, [1, 1], 2, 1, 1),
    case([3, 3], 1, [1, 1], 3, 2, 3),
    case([3, 3], 1, [0, 0], 9, 7, 5),
    case([3, 3], 2, [0, 1], 16, 16, 32),
    case([3, 3], 2, [1, 1], 15, 8, 6),
    case([3, 3], 2, [1, 1], 16, 3, 7),
    case([3, 3], 2, [0, 1], 6, 1, 2),
    case([1, 1], 1, [0, 0], 8, 32, 32),
    case([1, 1], 1, [0, 0], 5, 3, 1),
    case([1, 1], 2, [0, 0], 16, 16, 32),
    case([1, 1], 2, [0, 0], 7, 9, 11),
    case([1, 1], 1, [0, 0], 1, 64, 10),
    case([1, 1], 1, [0, 0], 1, 127, 33),
    case([7, 7], 2, [3, 3], 24, 3, 8),
    case([7, 7], 2, [3, 2], 13, 1, 5),
    case([5, 5], 1, [2, 2], 6, 4, 6),
    case([5, 3], 1, [1, 1], 6, 4, 6),
    case([1, 5], 3, [4, 4], 4, 2, 3),
    case([8, 8], 1, [0, 0], 8, 2, 10),
    case([2, 2], 2, [0, 0], 10, 6, 6),
    case([3, 3], 3, [2, 2], 7, 3, 34),
    case([3, 3], 1, [2, 2], 1, 6, 2),
    case([1, 3], 1, [1, 1], 5, 16, 66),
    case([3, 3], 1, [1, 1], 15, 16, 10),
    case([3, 3], 1, [1, 1], 80, 4, 5),
    case([5, 3], 1, [1, 1], 5, 40, 4),
    case([8, 8], 1, [3, 4], 9, 10, 3),
    case([3, 3], 1, [1, 1], 40, 4, 7),
    case([3, 3], 2, [1, 1], 80, 3, 4),
    case([3, 3], 2, [0, 1], 66, 6, 5),
    case([1, 1], 2, [0, 0], 9, 16, 2),
    case([3, 3], 2, [0, 1], 16, 26, 26),
    case([2, 2], 1, [0, 0], 4, 148, 11),
    case([12, 1], 1, [0, 0], 3, 5, 6),
    case([11, 13], 1, [6, 6], 9, 1, 4),
    case([1, 16], 2, [8, 7], 16, 3, 5),
    case([3, 3], 1, [1, 1], 14, 4, 19),
    case([3, 3], 1, [1, 1], 8, 36, 4),
    case([5, 5], 1, [2, 2], 9, 32, 4),
    case([3, 3], 1, [1, 1], 4, 3, 48),
    case([3, 3], 1, [1, 1], 9, 4, 32),
    case([3, 3], 1, [1, 1], 3, 11, 15),
];
