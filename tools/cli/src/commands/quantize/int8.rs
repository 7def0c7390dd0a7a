//! From an int8 network to a program that keeps its scales, zero points and weights.

use brooklet_import::network::QuantizedNetwork;
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::lower::int8::lower;
use brooklet_quantize::precision::bits::WeightBits;
use brooklet_quantize::recipe::Stream;

use super::args::Args;
use super::doubts::int8_units;
use super::made::Made;
use crate::failure::{Result, failure};

/// Makes the program of a network.
pub(super) fn make(
    args: &Args,
    network: QuantizedNetwork,
    preprocess: &Preprocess,
    warnings: &mut Vec<String>,
) -> Result<Made> {
    if args.calibrate.is_some() || args.ranges.is_some() {
        return Err(failure!(
            help = "leave out --calibrate and --ranges: the file's own scales are kept",
            "{}: is already int8",
            args.network.display(),
        ));
    }
    if args.weights.and_then(WeightBits::narrow).is_some() {
        return Err(failure!(
            help = "leave out --weights, or quantize the float network that it was made of",
            "{}: is already int8",
            args.network.display(),
        ));
    }
    if args.stream != Stream::Eight {
        return Err(failure!(
            help = "leave out --stream, or quantize the float network that it was made of",
            "{}: is already int8",
            args.network.display(),
        ));
    }
    if !args.int16.is_empty() {
        return Err(failure!(
            help = "leave out --int16, or quantize the float network that it was made of",
            "{}: is already int8",
            args.network.display(),
        ));
    }
    args.check(preprocess, network.input)?;
    let network = network.for_rgb(args.images.channels);
    let network = network.map_err(|problem| problem.in_file(&args.network))?;
    let preprocess = int8_units(args, &network, preprocess, warnings)?;
    let program = lower(&network, &preprocess).map_err(|error| error.in_file(&args.network))?;
    Ok(Made::of_int8(program, preprocess))
}
