//! How sums become values of a [16-bit stream](crate::ops::stream16), with a lane for each channel
//! or with a lane for each column.

/// Jumps to the code for 16-bit streams if register `$table`, which has the pointer to a join's
/// table, is odd.
macro_rules! to_stream16 {
    ($table:literal) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!("andi t2, ", $table, ", 1\n bnez t2, 10f")
        } else {
            ""
        })
    };
}

/// Finishes blocks, each with its sums. `t1` is the offset. `shortcut` and `output` set `t2` to the
/// upper bytes of the first block, and `next` moves `t2` and `t5` to those of the next. `load` and
/// `store` access bytes that are `t3` apart, if `stride` says so.
macro_rules! finish_stream16 {
    (
        $($sums:literal),+;
        shortcut: $shortcut:literal, output: $output:literal, next: $next:literal,
        load: $load:literal, store: $store:literal, stride: $stride:literal
    ) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!(
                "10:
                 lw t0, {factor}(a0)
                ",
                $shortcut,
                "
                 lw t3, {shortcut_step}(a0)
                 lw t5, {shortcut_lower}(a0)
                 add t5, t5, t2
                ",
                $(
                    "vsetvli zero, zero, e16, m4, ta, ma
                    ", $load, " v0, (t2)", $stride, "
                    ", $load, " v2, (t5)", $stride, "
                     vsext.vf2 v4, v0
                     vsll.vi v4, v4, 8
                     vzext.vf2 v0, v2
                     vadd.vv v4, v4, v0
                     vwmul.vx v0, v4, t0
                     vsetvli zero, zero, e32, m8, ta, ma
                     vsra.vi v0, v0, 10
                     vadd.vv ", $sums, ", ", $sums, ", v0
                     vadd.vx ", $sums, ", ", $sums, ", t1
                     vsra.vi ", $sums, ", ", $sums, ", 4
                    ", $next, "\n",
                )+
                "lw t0, {min}(a0)
                 lw t1, {max}(a0)
                ",
                $output,
                "
                 lw t3, {output_step}(a0)
                 lw t5, {lower}(a0)
                 add t5, t5, t2
                 li t6, 128
                 vsetvli zero, zero, e16, m4, ta, ma
                ",
                $(
                    "vnclip.wi ", $sums, ", ", $sums, ", 0
                     vmax.vx ", $sums, ", ", $sums, ", t0
                     vmin.vx ", $sums, ", ", $sums, ", t1
                     vadd.vx ", $sums, ", ", $sums, ", t6
                    ",
                )+
                "vsetvli zero, zero, e8, m2, ta, ma
                ",
                $(
                    "vnsrl.wi v0, ", $sums, ", 0
                    ", $store, " v0, (t5)", $stride, "
                     vnsrl.wi ", $sums, ", ", $sums, ", 8
                    ", $store, " ", $sums, ", (t2)", $stride, "
                    ", $next, "\n",
                )+
                "j 11b",
            )
        } else {
            // Operands that are not used must be named.
            "# {factor} {lower} {shortcut_lower}"
        })
    };
}

pub(super) use {finish_stream16, to_stream16};
