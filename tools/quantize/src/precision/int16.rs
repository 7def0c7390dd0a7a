//! Chooses layers whose outputs get int16, where int8 is not enough and the user allows it.

use std::collections::{BTreeSet, HashMap};

use ndarray::{Array4, ArrayView4};

use crate::compare::{dequantized, reads};
use crate::data::{Dataset, Preprocess};
use crate::error::EngineError;
use crate::error::QuantizeError;
use crate::forward::BATCH;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::Fused;
use crate::network::{Network, NodeId, Op};
use crate::program::Program;
use crate::ranges::Range;
use crate::recipe::Progress;
use crate::weights::Affine;

/// The reduction of the logits' noise, in dB, for which a layer is worth int16: a twentieth of the
/// noise.
///
/// Users who want less for twice the bytes per row and slower sums can name layers.
pub const MARGIN_DB: f64 = 0.25;

/// Maximum numbers of images: to measure what each layer gains alone, and together with others.
const IMAGES: [usize; 2] = [100, 200];

/// A layer that is worth int16.
#[derive(Debug, Clone, Copy)]
pub struct Gain {
    /// Its node.
    pub node: NodeId,
    /// Reduction of the logits' noise, in dB, on top of the layers before it.
    pub db: f64,
}

/// The layers that a word of `--int16` selects: `first` (convolution), `last` (the logits, and the
/// mean that they are computed from), the name of a layer, or that of a block, which is the part
/// before a dot in the names of its layers.
///
/// Names are those of reports, or of the network's file.
///
/// # Errors
///
/// What is wrong with the word.
pub fn named(network: &Network, fused: &Fused<'_>, word: &str) -> Result<BTreeSet<NodeId>, String> {
    let is = |node: NodeId, of: fn(&Op) -> bool| of(&network.nodes[node].op);
    let can_be = |node: NodeId| !is(node, |op| matches!(op, Op::Input | Op::Softmax));
    let units = || fused.units.iter();
    let logits = || units().filter(|unit| unit.output == network.logits());
    let chosen: BTreeSet<NodeId> = match word {
        "first" => {
            let mut convs = units().filter(|unit| is(unit.node, |op| matches!(op, Op::Conv(_))));
            convs.next().map(|unit| unit.node).into_iter().collect()
        }
        "last" => {
            let before = logits().map(|unit| fused.units[unit.input].node);
            let means = before.filter(|&node| is(node, |op| matches!(op, Op::GlobalAveragePool)));
            means.chain(logits().map(|unit| unit.node)).collect()
        }
        name => {
            let block = format!("{name}.");
            let same = |node: NodeId| {
                let node = &network.nodes[node];
                node.name == name || node.source == name || node.name.starts_with(&block)
            };
            let named = units().enumerate().filter(|(_, of)| same(of.node) || same(of.output));
            named.map(|(unit, _)| fused.units[fused.pooled(unit)].node).collect()
        }
    };
    let chosen: BTreeSet<NodeId> = match chosen.is_empty() {
        true => return Err(format!("the network has no layer or block `{word}`")),
        false => chosen.into_iter().filter(|&node| can_be(node)).collect(),
    };
    match chosen.is_empty() {
        true => Err(format!("`{word}` is exact in int8, or of no use in int16")),
        false => Ok(chosen),
    }
}

/// The layers whose outputs are worth int16, the best first: each reduces the noise of the
/// quantized network's logits by at least [`MARGIN_DB`], on top of those before it.
///
/// `program` is the network quantized to int8.
///
/// # Errors
///
/// [`QuantizeError`] says what went wrong.
pub fn worthwhile(
    network: &Network,
    program: &Program,
    preprocess: &Preprocess,
    data: &Dataset,
    progress: &dyn Progress,
) -> Result<Vec<Gain>, QuantizeError> {
    let fused = Fused::new(network)?;
    let [few, images] = IMAGES.map(|count| data.spread(count));
    let logits = fused.units.iter().position(|unit| unit.output == network.logits());
    let logits = logits.unwrap_or(0);
    let could_be = |unit: &usize| {
        let op = &network.nodes[fused.units[*unit].node].op;
        !matches!(op, Op::Input | Op::MaxPool(_) | Op::Softmax)
    };
    let candidates: Vec<usize> = (0..=logits).filter(could_be).collect();
    progress.begin("trying int16", (1 + candidates.len()) * few.len().div_ceil(BATCH));
    let float = FloatModel::new(network)?;
    let mut ranges = vec![Range::default(); fused.units.len()];
    for images in images.chunks(BATCH) {
        let batch = data.batch(images.iter().copied())?;
        let maps = float.maps(batch.view(), &fused)?;
        for (unit, range) in ranges.iter_mut().enumerate() {
            for &value in &maps.of(unit) {
                *range = Range { min: range.min.min(value), max: range.max.max(value) };
            }
        }
    }
    let trial = Trial {
        model: FloatModel::new(&dequantized(network, &fused, program, Some(preprocess)))?,
        float,
        fused: &fused,
        int8: program.layers.iter().map(Affine::of).collect(),
        ranges,
        logits,
    };
    let alone: Vec<BTreeSet<usize>> = candidates.iter().map(|&unit| [unit].into()).collect();
    let sets = [&[BTreeSet::new()], &alone[..]].concat();
    let noises = trial.noises(&sets, data, &few, progress)?;
    let decibels = |before: f64, now: f64| match now > 0.0 {
        true => 10.0 * (before / now).log10(),
        false => 0.0,
    };
    let alone = noises[0];
    let mut worth: Vec<(usize, f64)> =
        candidates.into_iter().zip(noises.into_iter().skip(1)).collect();
    // Gains that few images show are not exact, so half of the margin is enough here.
    worth.retain(|&(_, now)| decibels(alone, now) >= MARGIN_DB / 2.0);
    worth.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut gains = Vec::new();
    let mut chosen = BTreeSet::new();
    progress.begin("combining int16", (1 + worth.len()) * images.len().div_ceil(BATCH));
    let mut noise = trial.noises(&[BTreeSet::new()], data, &images, progress)?[0];
    for (unit, _) in worth {
        let mut more = chosen.clone();
        more.insert(unit);
        let now = trial.noises(std::slice::from_ref(&more), data, &images, progress)?[0];
        let db = decibels(noise, now);
        if db >= MARGIN_DB {
            gains.push(Gain { node: fused.units[unit].node, db });
            (chosen, noise) = (more, now);
        }
    }
    Ok(gains)
}

/// The quantized network in the float engine, in which any layers can be int16.
struct Trial<'n> {
    float: FloatModel,
    /// The float network with the quantized weights.
    model: FloatModel,
    fused: &'n Fused<'n>,
    int8: Vec<Affine>,
    /// The range of each unit for int16.
    ranges: Vec<Range>,
    /// The unit that makes the logits.
    logits: usize,
}

impl Trial<'_> {
    /// The squared errors of the logits with the outputs of each set of units in int16.
    fn noises(
        &self,
        sets: &[BTreeSet<usize>],
        data: &Dataset,
        images: &[usize],
        progress: &dyn Progress,
    ) -> Result<Vec<f64>, QuantizeError> {
        let mut noises = vec![0.0; sets.len()];
        for images in images.chunks(BATCH) {
            let batch = data.batch(images.iter().copied())?;
            let right = self.float.run(batch.view())?;
            let pixels = batch.permuted_axes([0, 3, 1, 2]);
            for (set, noise) in sets.iter().zip(&mut noises) {
                let logits = self.run(set, pixels.view())?;
                let (images, classes) = right.dim();
                let right = right.view().into_shape_with_order((images, classes, 1, 1));
                let right = right.map_err(EngineError::new)?;
                // In the order of `right`: rows, columns, classes.
                let logits = logits.permuted_axes([0, 2, 3, 1]);
                *noise += squared_error(logits.view(), right);
                progress.advance(1);
            }
        }
        Ok(noises)
    }

    fn run(
        &self,
        set: &BTreeSet<usize>,
        pixels: ArrayView4<'_, f32>,
    ) -> Result<Array4<f32>, EngineError> {
        let last_readers = self.fused.last_readers();
        let mut live: HashMap<usize, Array4<f32>> = HashMap::from([(0, pixels.to_owned())]);
        for (index, unit) in self.fused.units.iter().enumerate().take(self.logits + 1).skip(1) {
            let given = reads(unit).into_iter();
            let given = given.map(|read| (self.fused.units[read].output, live[&read].view()));
            let mut output = self.model.output(&given.collect::<Vec<_>>(), unit.output)?;
            let pooled = self.fused.pooled(index);
            let int16 = || Affine::new(self.ranges[pooled], true);
            let affine = if set.contains(&pooled) { int16() } else { None };
            let affine = affine.unwrap_or(self.int8[index]);
            output.mapv_inplace(|value| affine.round(value));
            live.insert(index, output);
            live.retain(|&unit, _| unit == self.logits || last_readers[unit] > index);
        }
        Ok(live.remove(&self.logits).unwrap_or_default())
    }
}
