//! The end of a network, where a map's rows and columns may be joined.

use std::collections::HashSet;

use super::graph::Operator;
use super::schema::operator_name;

/// Operators on each pixel by itself.
const BY_PIXEL: [&str; 7] =
    ["ARG_MAX", "DEQUANTIZE", "LOGISTIC", "LOG_SOFTMAX", "QUANTIZE", "RESHAPE", "SOFTMAX"];

/// The tensors between which and the outputs of the file other operators come than such on each pixel
/// by itself. Operators are in the order of a file: each after those whose outputs it reads.
pub(super) fn inner(operators: &[Operator<'_>]) -> HashSet<i32> {
    let mut inner = HashSet::new();
    for operator in operators.iter().rev() {
        let ends = BY_PIXEL.contains(&operator_name(operator.code).as_str())
            && !operator.outputs.iter().any(|output| inner.contains(output));
        // Its other inputs are constants, such as a shape.
        inner.extend(operator.inputs.iter().skip(usize::from(ends)));
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(code: i32, input: i32) -> Operator<'static> {
        Operator { code, inputs: vec![input, -1], outputs: vec![input + 1], options: None }
    }

    // Numbers of operators in a file.
    const CONV: i32 = 3;
    const RESHAPE: i32 = 22;
    const SOFTMAX: i32 = 25;

    #[test]
    fn tensors_before_a_convolution_are_not_at_the_end() {
        let codes = [RESHAPE, CONV, RESHAPE, SOFTMAX];
        let operators: Vec<_> = (0..).zip(codes).map(|(at, code)| operator(code, at)).collect();
        assert_eq!(inner(&operators), HashSet::from([-1, 0, 1]));
    }

    #[test]
    fn a_file_of_many_operators_takes_no_longer_than_reading_it() {
        let operators: Vec<_> = (0..200_000).map(|at| operator(RESHAPE, at)).collect();
        assert_eq!(inner(&operators), HashSet::from([-1]));
    }
}
