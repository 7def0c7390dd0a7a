//! Assertions about assembly, and about its arguments.

/// Asserts that fields lie one after the other, as instructions that load several words require.
/// Each is a word, or `[words]`.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
macro_rules! consecutive {
    ($args:ty: $first:ident $([$words:literal])? $second:ident $($rest:tt)*) => {
        #[cfg(target_pointer_width = "32")]
        const _: () = {
            let words = 1 $(* $words)?;
            let first = core::mem::offset_of!($args, $first);
            assert!(core::mem::offset_of!($args, $second) == first + 4 * words);
        };
        $crate::kernels::shared::assembly::consecutive!($args: $second $($rest)*);
    };
    ($args:ty: $last:ident) => {};
}

/// Lines of assembly that take no room. They do not assemble unless there are `$bytes` bytes
/// between the label `$from` and this place. Jumps into the middle of unrolled code rely on this.
///
/// The assembler knows the number only after all code is placed. That is too late for `.if`, but
/// not for `.space`, which refuses a negative number.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rvv"))]
macro_rules! assert_length {
    ($from:literal, $bytes:literal) => {
        concat!(
            "99: .space 99b - ",
            $from,
            " - (",
            $bytes,
            ")\n",
            ".space (",
            $bytes,
            ") - (99b - ",
            $from,
            ")",
        )
    };
}

/// The first lines in builds with [16-bit streams](crate::ops::stream16), otherwise the second.
#[cfg(feature = "stream16")]
macro_rules! if_stream16 {
    ({ $($with:tt)* } else { $($without:tt)* }) => { $($with)* };
}
#[cfg(not(feature = "stream16"))]
macro_rules! if_stream16 {
    ({ $($with:tt)* } else { $($without:tt)* }) => { $($without)* };
}

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rvv"))]
pub(in crate::kernels) use assert_length;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
pub(in crate::kernels) use consecutive;
pub(in crate::kernels) use if_stream16;
