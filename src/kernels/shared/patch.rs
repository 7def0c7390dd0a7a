//! Patches: the values under the kernel at some columns of the output, in the form in which they
//! are multiplied.

use core::ops::Range;

use crate::ops::conv::{Conv, Padding};
use crate::proved::proved;

/// How a kernel lies on the rows.
pub(in crate::kernels) struct Kernel {
    /// Number of values under a kernel row, including the packing's padding.
    pub(in crate::kernels) packed: usize,
    /// Number of values from one output column to the next, and number of values in the columns of
    /// padding.
    pub(in crate::kernels) step: usize,
    pub(in crate::kernels) pad: usize,
    /// The output columns at which packed kernel rows lie entirely on the row.
    pub(in crate::kernels) inside: Range<usize>,
}

impl Kernel {
    pub(in crate::kernels) fn of(conv: &Conv<'_>) -> Self {
        let window = &conv.window;
        let inputs = usize::from(window.input.channels).max(1);
        let (stride, pad) = (window.stride[1].max(1), window.pad_left);
        let packed = conv.packed_row();
        let room = (usize::from(window.input.columns) * inputs).checked_sub(packed);
        let end = room.map_or(0, |room| (room / inputs + pad) / stride + 1);
        Self { packed, step: stride * inputs, pad: pad * inputs, inside: pad.div_ceil(stride)..end }
    }
}

/// Fills `edge` with the values under a kernel row at column `x`, from value `start` on. Values
/// after its end are arbitrary, because their weights are zero.
#[inline(never)]
pub(in crate::kernels) fn fill_edge(
    conv: &Conv<'_>,
    row: &[i8],
    x: usize,
    start: usize,
    edge: &mut [i8],
) {
    let inputs = usize::from(conv.window.input.channels).max(1);
    let (on_input, first) = conv.window.columns_on_input(x);
    let on_input = if row.is_empty() { 0..0 } else { on_input };
    // Padding, values of the row, padding.
    let length = edge.len();
    let cut = |kx: usize| (kx * inputs).saturating_sub(start).min(length);
    let (from, to) = (cut(on_input.start), cut(on_input.end));
    let Some((before, rest)) = proved!(edge.split_at_mut_checked(from)) else { return };
    let Some((inside, after)) = proved!(rest.split_at_mut_checked(to.saturating_sub(from))) else {
        return;
    };
    let begin = (first * inputs + start + from).saturating_sub(on_input.start * inputs);
    if let Some(values) = proved!(row.get(begin..begin + inside.len()))
        // The compiler does not always see this.
        && values.len() == inside.len()
    {
        inside.copy_from_slice(values);
    }
    for (pad, at) in [(before, start), (after, start + to)] {
        match conv.padding {
            _ if pad.is_empty() => {}
            Padding::Same(value) => pad.fill(value),
            Padding::PerChannel(values) => {
                let mut i = at.checked_rem(inputs).unwrap_or(0);
                for place in pad {
                    *place = proved!(values.get(i)).copied().unwrap_or(0);
                    i = if i + 1 == inputs { 0 } else { i + 1 };
                }
            }
        }
    }
}

/// Number of integers in a range. `Range::len` has an assertion that the compiler cannot always
/// remove.
#[inline(always)]
pub(in crate::kernels) fn numbers(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}
