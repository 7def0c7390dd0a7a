//! Convolutions that read or make int16.

use core::ops::Range;

use super::{Numbers, Output};
use crate::model::Model;
use crate::ops::MAX_KERNEL;
use crate::ops::conv::{Conv, Padding};
use crate::proved::proved;
use crate::weights::Weights;

/// Runs a convolution, with its weights in memory or behind a driver.
#[inline(always)]
pub(super) fn run<W: Weights>(
    weights: &mut W,
    model: &Model<'_>,
    index: usize,
    rows: &[Numbers<'_>; MAX_KERNEL],
    output: &mut Output<'_>,
) {
    let conv = Conv::new(model, model.layer(index));
    let all = 0..usize::from(conv.window.output.channels);
    if W::MAPPED {
        return conv_row(&conv, &all, rows, output);
    }
    weights.each_part(model, index, |part| {
        let conv = Conv { weights: part.weights, ..conv };
        conv_row(&conv, &part.channels, rows, output);
    });
}

/// Makes the output channels whose weights are present, two channels at two columns at a time. If
/// one channel is left, it is computed twice.
fn conv_row(
    conv: &Conv<'_>,
    part: &Range<usize>,
    rows: &[Numbers<'_>; MAX_KERNEL],
    output: &mut Output<'_>,
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let [kernel_rows, taps] = conv.kernel_taps();
    let columns = usize::from(window.output.columns);
    for first in part.clone().step_by(2) {
        // Spelled out, because mapping over an array becomes a loop when the compiler optimizes for
        // size.
        let second = (first + 1).min(part.end - 1);
        let (of_first, of_second) = (conv.multiplier(first), conv.multiplier(second));
        let mut x = 0;
        while x < columns {
            // The columns from x on for which the same part of the kernel lies on the input.
            let (on_input, _) = window.columns_on_input(x);
            let mut end = x + 1;
            while end < columns && window.columns_on_input(end).0 == on_input {
                end += 1;
            }
            let start = [
                i64::from(conv.bias(first)) + padding(conv, rows, &on_input, first - part.start),
                i64::from(conv.bias(second)) + padding(conv, rows, &on_input, second - part.start),
            ];
            let under = on_input.start * inputs..on_input.end * inputs;
            while x < end {
                let beside = (x + 1).min(end - 1);
                let (place, next) =
                    (window.columns_on_input(x).1, window.columns_on_input(beside).1);
                let mut acc = [start; 2];
                for (ky, row) in rows.iter().take(kernel_rows).enumerate() {
                    if row.len() > 0 {
                        let weights = |o: usize| {
                            let at = ((o - part.start) * kernel_rows + ky) * taps;
                            proved!(conv.weights.get(at + under.start..at + under.end))
                                .unwrap_or(&[])
                        };
                        let weights = [weights(first), weights(second)];
                        row.multiply(weights, [place * inputs, next * inputs], &mut acc);
                    }
                }
                let [here, there] = acc;
                output.set(x, first, here[0], of_first);
                if second != first {
                    output.set(x, second, here[1], of_second);
                }
                if beside != x {
                    output.set(beside, first, there[0], of_first);
                    if second != first {
                        output.set(beside, second, there[1], of_second);
                    }
                }
                x += 2;
            }
            x = end;
        }
    }
}

/// The sum of the products on padding for output channel `o`, counted among those whose weights are
/// present.
fn padding(
    conv: &Conv<'_>,
    rows: &[Numbers<'_>; MAX_KERNEL],
    on_input: &Range<usize>,
    o: usize,
) -> i64 {
    let inputs = usize::from(conv.window.input.channels);
    let taps = conv.kernel_taps();
    let mut sum = 0;
    if matches!(conv.padding, Padding::Same(0)) {
        return sum;
    }
    for (ky, row) in rows.iter().take(conv.window.kernel[0]).enumerate() {
        for kx in 0..conv.window.kernel[1] {
            if row.len() == 0 || !on_input.contains(&kx) {
                let at = (o * taps[0] + ky) * taps[1] + kx * inputs;
                let weights = proved!(conv.weights.get(at..at + inputs)).unwrap_or(&[]);
                sum += match conv.padding {
                    Padding::Same(value) => {
                        let sum = weights.iter().fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
                        i64::from(sum) * i64::from(value)
                    }
                    Padding::PerChannel(values) => {
                        let products = weights.iter().zip(values);
                        products.map(|(&w, &v)| i64::from(i32::from(w) * i32::from(v))).sum()
                    }
                };
            }
        }
    }
    sum
}
