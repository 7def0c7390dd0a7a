//! Makes outputs from sums: bias, requantization, join, the range of the activation.
//!
//! ```text
//! for each four channels, a lane each:
//!     for each of four columns:
//!         value = (bias + sums) · 2^left · mantissa / 2³¹, rounded
//!         value = value / 2^right, rounded half away from zero
//!         value = value + zero point, or (value + table[shortcut]) / 2^bits
//!     two columns at a time as int16: output = clamp(value)
//! ```
//!
//! `VQRDMULH` rounds as the high product does. `VRSHL` rounds half up, so one is subtracted from
//! negative values before the shift. If the smallest output is zero, as after a ReLU, this makes no
//! difference and is left out.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ptr::{null, without_provenance};

use zerocopy::little_endian::I32;

use super::Args;
use crate::ops::Shortcut;
use crate::ops::conv::{Conv, Finish, PATCH_COLUMNS};
use crate::ops::stream16::distance;
use crate::quant::Clamp;

/// How the sums of a convolution become outputs.
pub(super) struct Finisher<'c> {
    /// The assembly, for [`Args::finish`].
    pub(super) finish: unsafe extern "C" fn(),
    last: i32,
    table: *const I32,
    /// The shortcut's row, its stride, and the distance to its lower bytes.
    shortcut: Option<(&'c [i8], usize, usize)>,
    /// Whether the outputs are a 16-bit stream.
    both: bool,
}

impl<'c> Finisher<'c> {
    /// `None` if the assembly cannot do it: if a table is not aligned to words, or if there are
    /// more channels than it can count.
    pub(super) fn of(conv: &Conv<'_>, shortcut: &Shortcut<'c>) -> Option<Self> {
        let channels = usize::from(conv.window.output.channels);
        if PATCH_COLUMNS * channels > usize::from(u16::MAX) {
            return None;
        }
        // SAFETY: all shifts can be read.
        let shifts = unsafe { extremes(conv.shifts.as_ptr(), conv.shifts.len()) };
        let (least, most) = (shifts as i8, (shifts >> 32) as i8);
        let full = conv.clamp == Clamp::FULL;
        match conv.finish {
            Finish::Requantize { zero_point } => {
                let finish = if full && most <= 0 && zero_point == i32::from(i8::MIN) {
                    rectify
                } else if full && most < 0 {
                    requantize
                } else {
                    requantize_any
                };
                let (last, table) = (zero_point, null());
                Some(Self { finish, last, table, shortcut: None, both: false })
            }
            Finish::Stream(stream) if full => Some(Self {
                finish: stream16(least >= 0)?,
                last: stream.offset,
                // An integer, not a pointer: `set` passes it to the assembly in the table's place.
                table: without_provenance(stream.factor as usize),
                shortcut: match *shortcut {
                    Shortcut::Row { row, lower, stride, .. } if stream.factor != 0 => {
                        Some((row, stride, distance(row, lower)))
                    }
                    // With a factor of zero any operand will do.
                    _ => None,
                },
                both: true,
            }),
            Finish::Stream(_) => None,
            Finish::Join { table, bits } => {
                // Derived from the whole table, because assembly reads on both sides of it.
                let middle = (table.len() == 256).then(|| table.as_ptr().wrapping_add(128))?;
                if !middle.addr().is_multiple_of(4) {
                    return None;
                }
                Some(Self {
                    finish: if full && least >= 0 { join } else { join_any },
                    last: -(bits as i32),
                    table: middle,
                    shortcut: match *shortcut {
                        Shortcut::InPlace => None,
                        Shortcut::Row { row, stride, .. } => Some((row, stride, 0)),
                    },
                    both: false,
                })
            }
        }
    }

    /// Sets the arguments of the assembly except for the outputs. In a 16-bit stream, `lower` is
    /// the distance from outputs to their lower bytes.
    pub(super) fn set(&self, args: &mut Args, lower: usize) {
        args.finish = self.finish;
        args.last = self.last;
        args.table = self.table;
        if self.both {
            // In place of the range.
            let shortcut_lower = self.shortcut.map_or(lower, |(_, _, lower)| lower);
            (args.min, args.max) = (shortcut_lower as i32, lower as i32);
        }
    }

    /// The start of the shortcuts from column `x` and channel `o` on, and the distance from column
    /// to column; those of the outputs if there is no shortcut elsewhere.
    pub(super) fn shortcut(
        &self,
        x: usize,
        o: usize,
        output: *const i8,
        channels: usize,
    ) -> (*const i8, usize) {
        match self.shortcut {
            Some((row, stride, _)) => {
                let step = stride * channels;
                (row.as_ptr().wrapping_add(x * step + o), step)
            }
            None => (output, channels),
        }
    }
}

/// The assembly for a 16-bit stream; `None` in a build without it.
fn stream16(to_the_left: bool) -> Option<unsafe extern "C" fn()> {
    #[cfg(feature = "stream16")]
    return Some(if to_the_left { numbers } else { numbers_any });
    #[cfg(not(feature = "stream16"))]
    return {
        let _ = to_the_left;
        None
    };
}

/// Keeps the sums, and makes no outputs.
///
/// # Safety
///
/// Always safe.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn keep() {
    naked_asm!("bx lr")
}

/// The smallest and the largest of `length` bytes, at least one: the smallest in the low word, the
/// largest in the high word.
///
/// ```text
/// r0 bytes   r1 length   r2 least   r3 most   lr bytes left
/// ```
///
/// # Safety
///
/// `length` bytes can be read.
#[unsafe(naked)]
unsafe extern "C" fn extremes(bytes: *const i8, length: usize) -> u64 {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "mov r2, #127",
        "mvn r3, #127",
        "wlstp.8 lr, r1, 3f",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vminv.s8 r2, q0",
        "vmaxv.s8 r3, q0",
        "letp lr, 2b",
        "3:",
        "mov r0, r2",
        "mov r1, r3",
        "pop {{r7, pc}}",
    )
}

/// An instruction for each of four columns, whose values are in `q0` … `q3`. `$operands` follow the
/// register.
macro_rules! columns {
    ($instruction:literal $operands:literal) => {
        concat!(
            $instruction,
            " q0, q0, ",
            $operands,
            "\n",
            $instruction,
            " q1, q1, ",
            $operands,
            "\n",
            $instruction,
            " q2, q2, ",
            $operands,
            "\n",
            $instruction,
            " q3, q3, ",
            $operands,
            "\n",
        )
    };
}

/// Expands a macro for each of four columns.
macro_rules! each {
    ($each:ident) => {
        concat!($each!("q0" "r4"), $each!("q1" "r5"), $each!("q2" "r6"), $each!("q3" "r7"))
    };
}

/// Subtracts one from negative values.
macro_rules! away {
    ($value:literal $shortcut:literal) => {
        concat!("vshr.s32 q7, ", $value, ", #31\n", "vadd.i32 ", $value, ", ", $value, ", q7\n",)
    };
}

/// Subtracts one from negative values if `q4` is a shift to the right.
macro_rules! away_any {
    ($value:literal $shortcut:literal) => {
        concat!(
            "vand q7, ",
            $value,
            ", q4\n",
            "vshr.s32 q7, q7, #31\n",
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", q7\n",
        )
    };
}

/// Adds the biases to the sums; those of the first two columns are loaded. Loads the parameters in
/// `$parameters` to `q7`. Loads and computations alternate, because they overlap.
macro_rules! sums {
    ($parameters:literal) => {
        concat!(
            "vldrb.u8 q4, [r1], #16\n",
            "vadd.i32 q0, q0, q4\n",
            $parameters,
            "vadd.i32 q1, q1, q4\n",
            "vldrw.u32 q2, [r0], #16\n",
            "vadd.i32 q2, q2, q4\n",
            "vldrw.u32 q3, [r0], #16\n",
            "vadd.i32 q3, q3, q4\n",
        )
    };
}

/// Multiplies, and loads shifts to `q4`. `$first` and `$second` follow in the first two columns.
macro_rules! scale {
    ($first:literal, $second:literal) => {
        concat!(
            sums!("vldrb.u8 q7, [r2], #16\n"),
            "vqrdmulh.s32 q0, q0, q7\n",
            "vldrb.s32 q4, [r3], #4\n",
            "vqrdmulh.s32 q1, q1, q7\n",
            $first,
            "vqrdmulh.s32 q2, q2, q7\n",
            $second,
            "vqrdmulh.s32 q3, q3, q7\n",
        )
    };
}

/// Shifts to the left, and multiplies. `$first` is for the first column.
macro_rules! scale_left {
    ($first:literal) => {
        concat!(
            sums!("vldrb.s32 q7, [r3], #4\n"),
            "vldrb.u8 q4, [r2], #16\n",
            "vshl.s32 q0, q0, q7\n",
            "vqrdmulh.s32 q0, q0, q4\n",
            "vshl.s32 q1, q1, q7\n",
            "vqrdmulh.s32 q1, q1, q4\n",
            "vshl.s32 q2, q2, q7\n",
            "vqrdmulh.s32 q2, q2, q4\n",
            "vshl.s32 q3, q3, q7\n",
            $first,
            "vqrdmulh.s32 q3, q3, q4\n",
        )
    };
}

/// Multiplies, with a shift in either direction.
macro_rules! scale_any {
    ($first:literal) => {
        concat!(
            sums!("vldrb.s32 q7, [r3]\n"),
            "vmov.i32 q4, #0\n",
            "vmax.s32 q7, q7, q4\n",
            columns!("vshl.s32" "q7"),
            "vldrb.u8 q4, [r2], #16\n",
            columns!("vqrdmulh.s32" "q4"),
            "vldrb.s32 q4, [r3], #4\n",
            "vmov.i32 q7, #0\n",
            "vmin.s32 q4, q4, q7\n",
            each!(away_any),
            columns!("vrshl.s32" "q4"),
            $first,
        )
    };
}

/// Narrows to int16, with two columns in each register: `q4` and `q7`. Loads the sums of the first
/// two columns for the next channels.
macro_rules! narrow {
    () => {
        concat!(
            "vqmovnb.s32 q4, q0\n",
            "vqmovnt.s32 q4, q1\n",
            "vldrw.u32 q0, [r0], #16\n",
            "vqmovnb.s32 q7, q2\n",
            "vldrw.u32 q1, [r0], #16\n",
            "vqmovnt.s32 q7, q3\n",
        )
    };
}

/// Adds the zero point to two columns at a time.
macro_rules! add_zero_point {
    () => {
        concat!(narrow!(), "vqadd.s16 q4, q4, r9\n", "vqadd.s16 q7, q7, r9\n")
    };
}

/// Loads the shortcuts of a column.
macro_rules! shortcuts {
    ($shortcut:literal) => {
        concat!("vldrb.s32 q7, [", $shortcut, "], #4\n")
    };
}

/// Adds the values of the loaded shortcuts from the table; `$next` loads those of the next column.
macro_rules! add_shortcut {
    ($value:literal, $next:expr) => {
        concat!(
            "vldrw.u32 q4, [r10, q7, uxtw #2]\n",
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", q4\n",
            $next,
            "vshl.s32 ",
            $value,
            ", r9\n",
        )
    };
}

/// Adds shortcuts; those of the first column are loaded.
macro_rules! add_shortcuts {
    () => {
        concat!(
            add_shortcut!("q0", shortcuts!("r5")),
            add_shortcut!("q1", shortcuts!("r6")),
            add_shortcut!("q2", shortcuts!("r7")),
            add_shortcut!("q3", ""),
            narrow!(),
        )
    };
}

macro_rules! store {
    () => {
        "vstrb.16 q4, [r8, q5]\n vstrb.16 q7, [r8, q6]\n"
    };
}

/// Saturates to int8, and stores.
macro_rules! saturate {
    () => {
        concat!(
            "vqmovnb.s16 q4, q4\n",
            "vstrb.16 q4, [r8, q5]\n",
            "vqmovnb.s16 q7, q7\n",
            "vstrb.16 q7, [r8, q6]\n",
        )
    };
}

/// Clamps to a range within int8, and stores.
macro_rules! clamp {
    () => {
        concat!(
            "vdup.16 q2, r11\n",
            "vmax.s16 q4, q4, q2\n",
            "vmax.s16 q7, q7, q2\n",
            "vdup.16 q2, r12\n",
            "vmin.s16 q4, q4, q2\n",
            "vmin.s16 q7, q7, q2\n",
            store!(),
        )
    };
}

/// Makes outputs of four columns and all channels: `$step` makes outputs, as int16, from the sums.
///
/// ```text
/// q0 … q3 values of the columns   q4 q7 parameters of the channels   q5 q6 places of the outputs
/// r0 sums   r1 bias   r2 mantissas   r3 shifts   r4 … r7 shortcuts of the columns   r8 output
/// r9 zero point or bits   r10 middle of the table   r11 r12 range   lr channels left
/// ```
///
/// # Safety
///
/// `r0` points to [`Args`], and no register is preserved: only the loops of [`sums`](super::sums)
/// call this. There is at least one channel. For each channel a bias, a mantissa and a shift can be
/// read, and so can four sums, also for the channels that pad them to a multiple of four; eight words
/// after these can be read, too. Outputs can be written at all `places` of every four channels. With
/// a join, shortcuts can be read there, and the table has 128 aligned words on either side.
macro_rules! finish {
    ($(#[$doc:meta])* $name:ident: $($step:expr),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r7, lr}}",
                "vldrw.u32 q5, [r0, #{places}]",
                "vldrw.u32 q6, [r0, #{places} + 16]",
                "add r0, r0, #{sums}",
                "ldm.w r0, {{r0-r12, lr}}",
                "dlstp.32 lr, lr",
                "sub r8, r8, #4",
                "vldrw.u32 q0, [r0], #16",
                "vldrw.u32 q1, [r0], #16",
                "2:",
                "add r8, r8, #4",
                $($step,)+
                "letp lr, 2b",
                "pop {{r7, pc}}",
                places = const offset_of!(Args, places),
                sums = const offset_of!(Args, sums),
            )
        }
    };
}

finish!(
    /// Shifts to the right or none, with zero as the smallest output: 31 instructions for 16.
    rectify: scale!("vrshl.s32 q0, q0, q4\n", "vrshl.s32 q1, q1, q4\n"), "vrshl.s32 q2, q2, q4",
        "vrshl.s32 q3, q3, q4", add_zero_point!(), saturate!()
);
finish!(
    /// Shifts to the right: 39 instructions for 16.
    requantize: scale!("", ""), each!(away), columns!("vrshl.s32" "q4"), add_zero_point!(),
        saturate!()
);
finish!(
    /// Any shifts and any range: 57 instructions for 16.
    requantize_any: scale_any!(""), add_zero_point!(), clamp!()
);
finish!(
    /// Shifts to the left or none: 45 instructions for 16.
    join: scale_left!("vldrb.s32 q7, [r4], #4\n"), add_shortcuts!(), saturate!()
);
finish!(
    /// Any shifts and any range: 71 instructions for 16.
    join_any: scale_any!("vldrb.s32 q7, [r4], #4\n"), add_shortcuts!(), clamp!()
);

/// Adds the values of a shortcut, multiplied by the factor, and the offset; then drops the bits
/// that are not kept.
#[cfg(feature = "stream16")]
macro_rules! add_number {
    ($value:literal $shortcut:literal) => {
        concat!(
            "vldrb.s32 q4, [",
            $shortcut,
            "]\n",
            "add ",
            $shortcut,
            ", ",
            $shortcut,
            ", r11\n",
            "vldrb.u32 q7, [",
            $shortcut,
            "], #4\n",
            "sub ",
            $shortcut,
            ", ",
            $shortcut,
            ", r11\n",
            "vshl.i32 q4, q4, #8\n",
            "vadd.i32 q4, q4, q7\n",
            "vmul.i32 q4, q4, r10\n",
            "vshr.s32 q4, q4, #10\n",
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", r9\n",
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", q4\n",
            "vshr.s32 ",
            $value,
            ", ",
            $value,
            ", #4\n",
        )
    };
}

/// Stores the values of two columns at a time.
#[cfg(feature = "stream16")]
macro_rules! store_numbers {
    () => {
        concat!(
            each!(add_number),
            narrow!(),
            "vmov.i16 q2, #128
             vqadd.s16 q4, q4, q2
             vqadd.s16 q7, q7, q2
             add r8, r8, r12
            ",
            store!(),
            "sub r8, r8, r12
             vshr.s16 q4, q4, #8
             vshr.s16 q7, q7, #8
            ",
            store!(),
        )
    };
}

#[cfg(feature = "stream16")]
finish!(
    /// A 16-bit stream, with shifts to the left or none: 76 instructions for 16. Offset and factor
    /// take the place of a join's bits and table. The distances from shortcuts and outputs to their
    /// lower bytes take the place of a range.
    numbers: scale_left!(""),
        store_numbers!()
);
#[cfg(feature = "stream16")]
finish!(
    /// The same for any shifts.
    numbers_any: scale_any!(""), store_numbers!()
);
