//! Warnings of `brooklet quantize` that images are in other units than in the network's training.

use brooklet_import::network::Network;
use brooklet_import::network::QuantizedNetwork;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::recipe::Quantized;
use brooklet_quantize::units::{self, Right, Spread};

use super::args::Args;
use crate::failure::failed;
use crate::failure::{Result, failure};
use crate::report::percent;

/// The command that finds the right units.
const DOCTOR: &str = "`brooklet doctor NETWORK DATA` finds the right ones on labelled images";

/// The units of pixels for an int8 network: those that the user gave, or else those of the input's
/// scale.
pub(super) fn int8_units(
    args: &Args,
    network: &QuantizedNetwork,
    preprocess: &Preprocess,
    warnings: &mut Vec<String>,
) -> Result<Preprocess> {
    let range = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
    match units::of_network(network, preprocess) {
        Ok(found) => {
            let input = &network.nodes[0];
            if let Some(misfit) = units::Misfit::of(input, &found) {
                warnings.push(format!(
                    "{}: its input takes {}, but with these --mean and --std pixels are {}: {} of \
                     their values saturate, and they use {} of the input's steps; {DOCTOR}",
                    args.network.display(),
                    range(misfit.input),
                    range(misfit.pixels),
                    percent(misfit.saturated),
                    percent(misfit.taken),
                ));
            }
            Ok(found)
        }
        Err(misfit) => Err(failure!(
            help = format!(
                "give the --mean and --std of its training, of pixels in 0 to 1, such as {}; {DOCTOR}",
                units::CONVENTIONS[3].options()
            ),
            "{}: its input takes {}, but without --mean and --std pixels are {}: {} of their values \
             would saturate",
            args.network.display(),
            range(misfit.input),
            range(misfit.pixels),
            percent(misfit.saturated),
        )),
    }
}

/// Warnings that images may be in other units than in the network's training.
pub(super) fn doubts(
    args: &Args,
    network: &Network,
    data: &Dataset,
    preprocess: &Preprocess,
    quantized: &Quantized,
) -> Result<Vec<String>> {
    if data.is_noise() {
        return Ok(Vec::new());
    }
    let failed = |failure| failed(&args.network, failure);
    let given = match (preprocess.mean, preprocess.std) {
        (None, None) => "without --mean and --std it takes raw pixels from 0 to 255",
        _ => "these --mean and --std may be another network's",
    };
    let mut doubts = Vec::new();
    let spread = Spread::of(network, data).map_err(failed)?;
    if let Some(Spread { deviation, shift }) = spread.filter(|spread| spread.is_off()) {
        doubts.push(format!(
            "{}: the first layer's outputs have {deviation:.3} times the deviation of its training, \
             and their mean is {shift:.2} deviations from that of training: {given}; {DOCTOR}",
            args.network.display()
        ));
    }
    let labels = data.labels()?;
    let rows = quantized.logits.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
    let right = Right::of(rows.iter().map(Vec::as_slice).zip(labels));
    let classes = quantized.logits.ncols();
    if right.is_chance(classes) {
        doubts.push(format!(
            "{}: the float network has {} of {} labelled images right, little more than chance: \
             {given}; or labels and classes are in different orders; {DOCTOR}",
            args.network.display(),
            right.right,
            right.all
        ));
    }
    Ok(doubts)
}
