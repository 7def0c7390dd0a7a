//! Layers that are worth int16.

use std::collections::BTreeSet;

use brooklet_import::network::NodeId;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::error::Unrepresentable;
use brooklet_quantize::precision::int16;
use brooklet_quantize::recipe::{Quantized, Recipe};

use super::args::Args;
use super::bars::Bars;
use super::model::{build, judge};
use crate::failure::{Result, failed};

/// Layers that seem to be worth int16.
pub(super) struct Found {
    pub(super) nodes: BTreeSet<NodeId>,
    /// Their names, and what each brings, in dB.
    pub(super) gains: Vec<(String, f64)>,
    /// All in int8.
    pub(super) int8: Program,
    /// How good that is on the calibration data.
    pub(super) int8_sqnr_db: Option<f64>,
}

/// Finds the layers of a network, quantized to int8, that are worth int16.
pub(super) fn find_int16(
    args: &Args,
    recipe: &Recipe,
    quantized: &Quantized,
    data: &Dataset,
    preprocess: &Preprocess,
    bars: &Bars,
) -> Result<Option<Found>> {
    let int8 = program(recipe, quantized, preprocess);
    let int8 = int8.map_err(|error| error.in_file(&args.network))?;
    let network = &quantized.network;
    let found = int16::worthwhile(network, &int8, preprocess, data, bars)
        .map_err(|failure| failed(&args.network, failure))?;
    if found.is_empty() {
        return Ok(None);
    }
    let name = |gain: &int16::Gain| (network.nodes[gain.node].name.clone(), gain.db);
    Ok(Some(Found {
        nodes: found.iter().map(|gain| gain.node).collect(),
        gains: found.iter().map(name).collect(),
        int8_sqnr_db: sqnr_db(&int8, data, quantized, args)?,
        int8,
    }))
}

/// The program of a quantized network.
pub(super) fn program(
    recipe: &Recipe,
    quantized: &Quantized,
    preprocess: &Preprocess,
) -> Result<Program, Unrepresentable> {
    let Quantized { network, ranges, learned, .. } = quantized;
    recipe.fused(network)?.quantize(ranges, preprocess, learned)
}

/// How good a program is on the calibration data.
pub(super) fn sqnr_db(
    program: &Program,
    data: &Dataset,
    quantized: &Quantized,
    args: &Args,
) -> Result<Option<f64>> {
    let file = build(program, &plan(program, Goal::Size)?, args)?;
    Ok(judge(&file, data, quantized.logits.clone())?.sqnr_db)
}
