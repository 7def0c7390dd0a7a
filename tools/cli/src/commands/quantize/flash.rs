//! Fits a model file into a limit of flash: how many bits the weights of each layer get.

use std::collections::BTreeMap;

use brooklet_firmware::Spec;
use brooklet_import::network::{Network, NodeId};
use brooklet_plan::preprocessing::to_record;
use brooklet_plan::program::Program;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::error::Unrepresentable;
use brooklet_quantize::precision::bits;
use brooklet_quantize::recipe::{Effort, Recipe};
use brooklet_quantize::weights::rounding::Bits;

use super::args::Args;
use super::bars::Bars;
use super::model::set_test_images;
use crate::failure::{Result, failed, failure};
use crate::report::thousands;

/// The limit of the model file's size, and what this size depends on.
pub(super) struct FlashBudget<'b> {
    pub(super) bytes: usize,
    pub(super) board: Option<&'b Spec>,
    pub(super) labels: Option<Vec<String>>,
}

impl FlashBudget<'_> {
    /// The bits of each convolution whose weights get fewer than eight.
    pub(super) fn choose(
        self,
        args: &Args,
        network: &Network,
        data: &Dataset,
        preprocess: &Preprocess,
        bars: &Bars,
    ) -> Result<BTreeMap<NodeId, Bits>> {
        let failed = |failure| failed(&args.network, failure);
        // The size of the file does not depend on the ranges, so any will do.
        let int16 = args.named_int16(network)?;
        let recipe = Recipe { effort: Effort::Fast, calibration: None, int16, ..args.recipe() };
        let quick = recipe.run(network, data, preprocess, bars).map_err(failed)?;
        let at = |error: Unrepresentable| error.in_file(&args.network);
        let fused = recipe.fused(network).map_err(at)?;
        let program = fused.quantize(&quick.ranges, preprocess, &quick.learned);
        let mut program = program.map_err(at)?;
        program.preprocessing = Some(to_record(preprocess));
        program.labels = self.labels.unwrap_or_default();
        set_test_images(&mut program, args, Some(data), preprocess)?;
        let (now, bytes) = args.budget.smallest(program, self.board, &args.network)?;
        if now <= self.bytes {
            return Ok(BTreeMap::new());
        }
        let candidates = bits::candidates(network, &fused, preprocess, data, bars);
        let candidates = candidates.map_err(failed)?;
        let chosen = bits::within(self.bytes, now, &candidates, &bytes);
        let least = bits::least(now, &candidates, &bytes);
        chosen.ok_or_else(|| {
            failure!(
                help = format!("a network with fewer weights, or --flash {least}"),
                "{}: takes {} bytes of flash even with all weights in 3 bits, more than {}",
                args.network.display(),
                thousands(least),
                thousands(self.bytes),
            )
        })
    }
}

/// Refuses a program that does not fit with weights of eight bits: without images, no layer can be
/// chosen to get fewer.
pub(super) fn in_eight_bits(args: &Args, program: &Program, board: Option<&Spec>) -> Result<()> {
    let (None, Some(bytes)) = (args.weights, args.budget.flash()) else { return Ok(()) };
    let (now, _) = args.budget.smallest(program.clone(), board, &args.network)?;
    if now <= bytes {
        return Ok(());
    }
    let (why, remedy) = match args.ranges {
        Some(_) => (
            "the layers that get fewer bits are chosen by images, not by saved ranges",
            format!(
                "--calibrate DATA instead of --ranges; or --weights 4, for all layers but the first \
                 and the last; or --flash {now}"
            ),
        ),
        None => (
            "an int8 file's weights are kept as they are",
            format!("--flash {now}, or quantize the float network that it was made of"),
        ),
    };
    Err(failure!(
        help = remedy,
        "{}: takes {} bytes of flash with weights in 8 bits, more than {}: {why}",
        args.network.display(),
        thousands(now),
        thousands(bytes),
    ))
}
