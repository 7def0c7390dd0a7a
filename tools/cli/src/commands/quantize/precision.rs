//! Finds layers that are worth int16, and streams that are worth 16 bits.

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
use super::float::Asked;
use super::made::WithoutStream;
use super::model::{build, judge};
use crate::failure::{Result, failed};

/// Layers that seem to be worth int16.
pub(super) struct Found {
    pub(super) nodes: BTreeSet<NodeId>,
    /// Their names, and what each gains, in dB.
    pub(super) gains: Vec<(String, f64)>,
    /// The program with all layers in int8.
    pub(super) int8: Program,
    /// Its SQNR on the calibration data.
    pub(super) int8_sqnr_db: Option<f64>,
}

/// Finds the layers of an int8 network that are worth int16.
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

/// The gain in the logits' SQNR, in dB, from which on a stream gets 16 bits.
const STREAM_MARGIN_DB: f64 = 0.5;

/// Finds out for `--stream auto` whether the stream gets 16 bits: if that gains enough, and the
/// board has the RAM. Gives the program with the other width, which is not used.
pub(super) fn find_stream(
    asked: &Asked<'_>,
    recipe: &mut Recipe,
    quantized: &mut Quantized,
    data: &Dataset,
    run: &dyn Fn(&Recipe) -> Result<Quantized>,
) -> Result<WithoutStream> {
    let &Asked { args, preprocess, board, .. } = asked;
    let made = |recipe: &Recipe, quantized: &Quantized| {
        let program = program(recipe, quantized, preprocess);
        program.map_err(|error| error.in_file(&args.network))
    };
    let eight = made(recipe, quantized)?;
    let wide = Recipe { stream16: true, ..recipe.clone() };
    // The size of the arena does not depend on the numbers.
    let sixteen = made(&wide, quantized)?;
    if let Some(board) = board {
        let (_, plan) = args.budget.plan(sixteen.clone(), Some(board), &args.network)?;
        if plan.arena_bytes > board.arena_bytes as usize {
            return Ok(WithoutStream { program: Some(sixteen), sqnr_db: None });
        }
    }
    let eight_db = sqnr_db(&eight, data, quantized, args)?;
    let learned = run(&wide)?;
    let sixteen = made(&wide, &learned)?;
    let sixteen_db = sqnr_db(&sixteen, data, &learned, args)?;
    if sixteen_db > eight_db.map(|db| db + STREAM_MARGIN_DB) {
        (*recipe, *quantized) = (wide, learned);
        return Ok(WithoutStream { program: Some(eight), sqnr_db: eight_db });
    }
    Ok(WithoutStream { program: Some(sixteen), sqnr_db: sixteen_db })
}

/// The SQNR of a program on the calibration data.
pub(super) fn sqnr_db(
    program: &Program,
    data: &Dataset,
    quantized: &Quantized,
    args: &Args,
) -> Result<Option<f64>> {
    let file = build(program, &plan(program, Goal::Size)?, args)?;
    Ok(judge(&file, data, quantized.logits.clone())?.sqnr_db)
}
