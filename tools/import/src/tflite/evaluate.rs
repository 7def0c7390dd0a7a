//! Evaluates what is computed from constants alone: dequantized weights, and the shapes that
//! converters compute in the graph if the batch size is open.

use super::call::Call;
use super::constant::{Constant, Constants};
use super::schema::corrupt;
use crate::error::{Problem, unsupported};

/// Maximum number of sizes in a shape.
const MOST: usize = 64;

/// The result of an operator whose inputs are all constant; `shape` is the shape of its input, if
/// it reads one.
pub(super) fn evaluate(
    call: &Call<'_>,
    constants: &Constants<'_, '_>,
    shape: Option<Vec<i64>>,
) -> Result<Constant, Problem> {
    let ints = |at: usize| constants.ints(call.input(at)?);
    let result = match call.name {
        "DEQUANTIZE" => return Ok(Constant::Dequantized(call.input(0)?)),
        "SHAPE" => match shape {
            Some(shape) => shape,
            None => {
                constants.tensor(call.input(0)?)?.shape.iter().map(|&size| size.into()).collect()
            }
        },
        "CAST" | "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => ints(0)?,
        "PACK" | "CONCATENATION" => {
            let mut all = Vec::new();
            for at in 0..call.operator.inputs.len() {
                all.extend(ints(at)?);
            }
            all
        }
        "STRIDED_SLICE" => {
            let (list, begin, end) = (ints(0)?, ints(1)?, ints(2)?);
            let options = call.options();
            let size = list.len() as i64;
            let place = |bound: &[i64], open: i64, mask: i32| match bound.first() {
                Some(&at) if mask & 1 == 0 => if at < 0 { at + size } else { at }.clamp(0, size),
                _ => open,
            };
            let begin = place(&begin, 0, options.int(0, 0)?) as usize;
            let end = place(&end, size, options.int(1, 0)?) as usize;
            // An index instead of a range selects one element.
            let end = if options.int(4, 0)? & 1 != 0 { (begin + 1).min(list.len()) } else { end };
            list.get(begin..end).unwrap_or(&[]).to_vec()
        }
        "GATHER" => {
            let list = ints(0)?;
            let at = |&at: &i64| {
                let place = if at < 0 { at + list.len() as i64 } else { at };
                usize::try_from(place).ok().and_then(|at| list.get(at)).copied()
            };
            let picked: Option<Vec<i64>> = ints(1)?.iter().map(at).collect();
            picked.ok_or_else(|| corrupt("gathers beyond the end"))?
        }
        "REDUCE_PROD" => {
            let product = ints(0)?.iter().try_fold(1i64, |product, &n| product.checked_mul(n));
            vec![product.ok_or_else(|| corrupt("a product of sizes beyond 64 bits"))?]
        }
        "MUL" | "ADD" | "SUB" => {
            let (a, b) = (ints(0)?, ints(1)?);
            let both = a.iter().zip(b.iter().cycle()).map(|(&a, &b)| match call.name {
                "MUL" => a.checked_mul(b),
                "ADD" => a.checked_add(b),
                _ => a.checked_sub(b),
            });
            both.collect::<Option<Vec<_>>>().ok_or_else(|| corrupt("sizes beyond 64 bits"))?
        }
        name => {
            return Err(Problem::UnsupportedOperator {
                op: name.into(),
                remedy: "it only works on constants: convert the network with a fixed batch of one"
                    .into(),
            });
        }
    };
    match result.len() <= MOST {
        true => Ok(Constant::Ints(result)),
        false => Err(unsupported(
            format!("{} makes {} integers", call.name, result.len()),
            "convert the network with constants folded",
        )),
    }
}
