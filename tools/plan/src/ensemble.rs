//! Several networks in one model file: they run one after another in the same arena, and their
//! probabilities are averaged (He et al. 2015, section 4.1: the paper's 3.57 %).
//!
//! ```text
//! input ─┬─> member 1 ─> softmax ───────┐
//!        ├─> member 2 ─> softmax ─> add ┤   mean of 2 = ½ · second + ½ · first
//!        └─> member 3 ─> softmax ─> add ┘   mean of 3 = ⅓ · third + ⅔ · mean of 2
//! ```
//!
//! The image stays in the arena until the last member has read it.

use brooklet::Shape;
use brooklet::format::{NONE, Operator, flags};
use brooklet::ops::softmax::PROBABILITY;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, U16};

use crate::program::{Layer, Program};
use crate::records::{set_add, set_softmax};

/// Reasons why networks cannot form an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It takes other pixels, or other int8 values for them.
    #[error("takes other images than the first member")]
    Input,
    /// It has other preprocessing.
    #[error("preprocesses images differently from the first member")]
    Preprocessing,
    /// It has other classes.
    #[error("has other classes than the first member")]
    Classes,
    /// The probabilities of its scores are not a softmax.
    #[error("has one score, or scores behind a sigmoid: only softmaxes are averaged")]
    Scores,
    /// It has more layers than the model format can number.
    #[error("makes an ensemble of more than {} layers", u16::MAX - 1)]
    Layers,
    /// The scale of its logits is out of range.
    #[error("has logits whose scale is out of range for a softmax")]
    Logits,
}

/// The ensemble of these members, of which there must be at least one; or the first member that
/// does not fit, and why.
///
/// The test images are those of the first member that has some, without answers.
///
/// # Errors
///
/// The number of the member, and the [`Misfit`].
pub fn ensemble(members: Vec<Program>) -> Result<Program, (usize, Misfit)> {
    let tested = members.iter().find(|member| !member.test_images.is_empty());
    let images: Vec<_> = tested.iter().flat_map(|member| &member.test_images).collect();
    let images = images.into_iter().map(|image| image.pixels.clone()).collect();
    let mut members = members.into_iter().enumerate();
    let Some((_, first)) = members.next() else { return Ok(Program::default()) };
    let input = first.layers[0].clone();
    let classes = shape(&first);
    let mut whole = Program { layers: vec![input], ..Program::default() };
    whole.labels.clone_from(&first.labels);
    whole.preprocessing = first.preprocessing;
    let mut mean = append(&mut whole, first, 1).map_err(|misfit| (0, misfit))?;
    for (index, member) in members {
        let at = |misfit| (index, misfit);
        fits(&whole, classes, &member).map_err(at)?;
        let probabilities = append(&mut whole, member, index + 1).map_err(at)?;
        mean =
            average(&mut whole, probabilities, mean, index + 1).ok_or((index, Misfit::Logits))?;
    }
    whole.logits = mean;
    whole.set_test_images(images);
    Ok(whole)
}

/// Shape of the scores.
fn shape(program: &Program) -> Shape {
    program.layers[program.logits].record.shape()
}

fn fits(whole: &Program, classes: Shape, member: &Program) -> Result<(), Misfit> {
    let (ours, theirs) = (&whole.layers[0], &member.layers[0]);
    if ours.record.shape() != theirs.record.shape()
        || ours.record.quantization() != theirs.record.quantization()
        || ours.table != theirs.table
    {
        return Err(Misfit::Input);
    }
    if whole.preprocessing.as_ref().map(IntoBytes::as_bytes)
        != member.preprocessing.as_ref().map(IntoBytes::as_bytes)
    {
        return Err(Misfit::Preprocessing);
    }
    if shape(member) != classes || whole.labels != member.labels {
        return Err(Misfit::Classes);
    }
    Ok(())
}

/// Appends a member without its input, and a softmax if it has none; returns the layer of
/// its probabilities.
fn append(whole: &mut Program, member: Program, number: usize) -> Result<usize, Misfit> {
    if member.classes() == 1 || member.layers[member.logits].record.has_sigmoid() {
        return Err(Misfit::Scores);
    }
    // A softmax and an addition must fit, too.
    if whole.layers.len() + member.layers.len() + 2 >= usize::from(NONE) {
        return Err(Misfit::Layers);
    }
    // A member's layer 1 follows the layers that are there; all members share the input.
    let offset = whole.layers.len() - 1;
    let moved = |layer: usize| if layer == 0 { 0 } else { layer + offset };
    let logits = moved(member.logits);
    for mut layer in member.layers.into_iter().skip(1) {
        layer.name = format!("{number}.{}", layer.name);
        layer.record.input = U16::new(moved(layer.record.input.get().into()) as u16);
        if let Some(shortcut) = layer.record.shortcut() {
            layer.record.shortcut = U16::new(moved(shortcut) as u16);
        }
        whole.layers.push(layer);
    }
    if !whole.layers[whole.layers.len() - 1].record.has_probabilities() {
        let record = &whole.layers[logits].record;
        let scale = record.scale.get();
        let name = format!("{number}.softmax");
        let mut softmax = Layer::new(name, Operator::Softmax, logits, record.shape());
        set_probabilities(&mut softmax);
        if record.is_int16() {
            softmax.record.flags |= flags::HAS_INT16;
        }
        set_softmax(&mut softmax, scale).ok_or(Misfit::Logits)?;
        whole.layers.push(softmax);
    }
    Ok(whole.layers.len() - 1)
}

/// The mean of `count` members, from the mean of all except the last.
fn average(whole: &mut Program, last: usize, mean: usize, count: usize) -> Option<usize> {
    let record = |layer: usize| &whole.layers[layer].record;
    let shape = record(last).shape();
    let share = |layer: usize, members: usize| {
        let scale = record(layer).scale.get() * members as f32 / count as f32;
        (scale, i32::from(record(layer).zero_point))
    };
    let operands = [share(last, 1), share(mean, count - 1)];
    let mut layer = Layer::new(format!("mean of {count}"), Operator::Add, last, shape);
    set_probabilities(&mut layer);
    layer.record.flags |= flags::PROBABILITIES;
    layer.record.shortcut = U16::new(mean as u16);
    layer.record.shortcut_stride = 1;
    set_add(&mut layer, operands)?;
    whole.layers.push(layer);
    Some(whole.layers.len() - 1)
}

/// The quantization of probabilities.
fn set_probabilities(layer: &mut Layer) {
    layer.record.scale = F32::new(PROBABILITY.scale);
    layer.record.zero_point = PROBABILITY.zero_point;
}
