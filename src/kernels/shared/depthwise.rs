//! The loops of a depthwise convolution, around assembly that processes adjacent channels.
//!
//! ```text
//! for each block of up to 32 channels:
//!     for each run of columns whose kernel lies on the input alike:
//!         start[channel] = bias + products with padding
//!         for each column of the run, for some channels at a time:            in assembly
//!             acc[channel] = start[channel]
//!             for each kernel row and kernel column on the input:
//!                 acc[channel] += weight[channel] · value[channel]
//!             output[column, channel] = finish(acc)
//! ```

use core::mem::MaybeUninit;

use zerocopy::little_endian::I32;

use crate::kernels::portable;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::{MAX_KERNEL, Rows};
use crate::proved::proved;

/// Number of channels whose start values are kept at a time.
const BLOCK: usize = 32;

/// The arguments of the assembly: a block of channels at a run of columns.
///
/// [`conv`] makes only arguments with the following properties. There is at least one kernel row,
/// kernel column, channel and column. From each of the first `rows` pointers of `values` on,
/// `channels` bytes can be read for each of `columns` columns, `step` bytes apart, and each of
/// `kernel_columns` positions, `pitch` bytes apart. From each of the first `rows` pointers of
/// `weights` on, `channels` bytes can be read for each of the positions. `starts`, `mantissas` and
/// `shifts` have `channels` items, and words are aligned. `output` can be written: `channels` bytes
/// for each of the columns, `pitch` bytes apart. Nothing that is read overlaps it.
#[repr(C)]
pub(in crate::kernels) struct Args {
    /// For each kernel row on the input, the values at the first position and column.
    pub(in crate::kernels) values: [MaybeUninit<*const i8>; MAX_KERNEL],
    /// For each kernel row on the input, the weights at the first position.
    pub(in crate::kernels) weights: [MaybeUninit<*const i8>; MAX_KERNEL],
    /// Number of kernel rows on the input.
    pub(in crate::kernels) rows: usize,
    /// Number of kernel columns on the input.
    pub(in crate::kernels) kernel_columns: usize,
    /// Number of channels of the block.
    pub(in crate::kernels) channels: usize,
    /// Number of channels of a pixel.
    pub(in crate::kernels) pitch: usize,
    /// Distance in bytes from the values of one column to those of the next.
    pub(in crate::kernels) step: usize,
    /// Number of columns of the run.
    pub(in crate::kernels) columns: usize,
    /// Start values of the sums.
    pub(in crate::kernels) starts: *const i32,
    /// Mantissas of the multipliers.
    pub(in crate::kernels) mantissas: *const I32,
    /// Shifts of the multipliers, from −31 to 30.
    pub(in crate::kernels) shifts: *const i8,
    /// Zero point of the output.
    pub(in crate::kernels) zero_point: i32,
    /// Smallest output.
    pub(in crate::kernels) min: i32,
    /// Largest output.
    pub(in crate::kernels) max: i32,
    /// Address of the outputs of the first column.
    pub(in crate::kernels) output: *mut i8,
}

/// `naked_asm!` for a function that takes [`Args`] and uses each field by its name.
macro_rules! depthwise_asm {
    ($($assembly:tt)*) => {
        core::arch::naked_asm!(
            $($assembly)*
            values = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, values),
            weights = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, weights),
            rows = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, rows),
            kernel_columns = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, kernel_columns),
            channels = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, channels),
            pitch = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, pitch),
            step = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, step),
            columns = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, columns),
            starts = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, starts),
            mantissas = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, mantissas),
            shifts = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, shifts),
            zero_point = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, zero_point),
            min = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, min),
            max = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, max),
            output = const core::mem::offset_of!($crate::kernels::shared::depthwise::Args, output),
        )
    };
}

/// Makes one output row, see [`Backend::depthwise_conv`](crate::kernels::Backend::depthwise_conv),
/// with `assembly`, which takes multiples of `GRANULE` channels.
///
/// # Safety
///
/// `assembly` may be called with [`Args`] that have the properties documented there.
pub(in crate::kernels) unsafe fn conv<const GRANULE: usize>(
    assembly: unsafe extern "C" fn(&Args),
    conv: &DepthwiseConv<'_>,
    rows: &Rows<'_>,
    output: &mut [i8],
) {
    let window = &conv.window;
    let [channels, columns] = [window.output.channels, window.output.columns].map(usize::from);
    let [kernel_rows, kernel_columns] = window.kernel;
    let row = usize::from(window.input.columns) * channels;
    let on_input = |row: &&&[i8]| !row.is_empty();
    let whole = channels >= GRANULE
        && conv.outputs_an_input() == 1
        && window.input.channels == window.output.channels
        && kernel_rows <= MAX_KERNEL
        && conv.weights.len() == kernel_rows * kernel_columns * channels
        && [conv.bias.len(), conv.mantissas.len(), conv.shifts.len()] == [channels; 3]
        && conv.mantissas.as_ptr().addr().is_multiple_of(4)
        && output.len() == columns * channels
        && rows.iter().filter(on_input).all(|on_input| on_input.len() >= row)
        && rows.iter().take(kernel_rows).any(|row| !row.is_empty())
        && (0..columns).all(|x| window.columns_on_input(x).0.end > 0);
    if !whole {
        return portable::depthwise_conv(conv, rows, output);
    }
    let mut first = 0;
    while first < channels {
        // After the last whole granule, some channels are computed a second time.
        let block = first.min(channels - GRANULE);
        let count = (channels - block).min(BLOCK) / GRANULE * GRANULE;
        let mut x = 0;
        while x < columns {
            let (on_input, column) = window.columns_on_input(x);
            let mut end = x + 1;
            while end < columns && window.columns_on_input(end).0 == on_input {
                end += 1;
            }
            let padded = on_input.len() < kernel_columns
                || rows.iter().take(kernel_rows).any(|row| row.is_empty());
            let mut starts = [0i32; BLOCK];
            for (o, start) in (block..).zip(&mut starts).take(count) {
                let padding = if padded { conv.padding(rows, &on_input, o) } else { 0 };
                *start = conv.bias(o).wrapping_add(padding);
            }
            let mut args = Args {
                values: [const { MaybeUninit::uninit() }; MAX_KERNEL],
                weights: [const { MaybeUninit::uninit() }; MAX_KERNEL],
                rows: 0,
                kernel_columns: on_input.len(),
                channels: count,
                pitch: channels,
                step: window.stride[1] * channels,
                columns: end - x,
                starts: starts.as_ptr(),
                mantissas: conv.mantissas.as_ptr().wrapping_add(block),
                shifts: conv.shifts.as_ptr().wrapping_add(block),
                zero_point: conv.zero_point,
                min: conv.clamp.min.into(),
                max: conv.clamp.max.into(),
                output: output.as_mut_ptr().wrapping_add(x * channels + block),
            };
            for (ky, row) in rows.iter().take(kernel_rows).enumerate() {
                if row.is_empty() {
                    continue;
                }
                let tap = (ky * kernel_columns + on_input.start) * channels + block;
                let (values, weights) =
                    (proved!(args.values.get_mut(args.rows)), args.weights.get_mut(args.rows));
                if let (Some(values), Some(slot)) = (values, weights) {
                    values.write(row.as_ptr().wrapping_add(column * channels + block));
                    slot.write(conv.weights.as_ptr().wrapping_add(tap));
                    args.rows += 1;
                }
            }
            // SAFETY: by `whole`, rows on the input have all columns of all channels, and there is
            // at least one such row. By `columns_on_input`, the positions of all columns of the run
            // lie on these rows, and there is at least one position. The block's channels exist,
            // and weights, starts, mantissas and shifts are there for each. The output has these
            // columns and channels, and is borrowed mutably.
            unsafe { assembly(&args) }
            x = end;
        }
        first = block + count;
    }
}

pub(in crate::kernels) use depthwise_asm;
