//! Scores a model's answers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD};
use ndarray_npy::{WriteNpyError, WriteNpyExt};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::DataError;
use crate::model_file::{Answer, Simulator};

/// How good the answers are. Shares are of 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// Number of images.
    pub images: usize,
    /// Share whose best class is the right one.
    pub top1: Option<f64>,
    /// Share whose right class is among the best five.
    pub top5: Option<f64>,
    /// Share whose best class is that of the float network; of a network that ends in a map, share
    /// of all images' cells.
    pub agreement: Option<f64>,
    /// Signal to quantization noise of the logits, in dB:
    /// 10·log₁₀(Σ float² / Σ (float − dequantized)²).
    pub sqnr_db: Option<f64>,
}

/// The model's answers to the images `range` of a data set, in order. They are computed on all
/// cores, and `done` is called for each.
///
/// # Errors
///
/// An error for the first image that cannot be read.
pub fn answers(
    simulator: &Simulator<'_>,
    data: &Dataset,
    range: std::ops::Range<usize>,
    done: impl Fn() + Sync,
) -> Result<Vec<(Answer, Option<usize>)>, DataError> {
    range
        .into_par_iter()
        .map_init(
            || simulator.clone(),
            |simulator, index| {
                let image = data.get(index)?;
                let pixels = image.pixels.as_standard_layout();
                let answer = simulator.run(pixels.as_slice().unwrap_or(&[]));
                done();
                Ok((answer, image.label))
            },
        )
        .collect()
}

/// The classes, best first; with equal scores, the lower number first.
///
/// ```
/// use brooklet_quantize::evaluate::ranked;
///
/// assert_eq!(ranked(&[0.1, 0.7, 0.2, 0.7]), [1, 3, 2, 0]);
/// ```
pub fn ranked<T: PartialOrd + Copy>(scores: &[T]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    // The sort is stable: equal scores keep their order.
    classes
        .sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(std::cmp::Ordering::Equal));
    classes
}

/// The class that scores answer: the best one, or, for a network with one score, class 1 if the
/// score is at least `threshold`, and otherwise class 0.
///
/// ```
/// use brooklet_quantize::evaluate::best;
///
/// assert_eq!(best(&[-3, 12, 5], 0), 1);
/// // A logit of 0.4 is a probability of 0.6.
/// assert_eq!((best(&[0.4], 0.0), best(&[0.4], 0.5)), (1, 0));
/// ```
pub fn best<T: PartialOrd + Copy>(scores: &[T], threshold: T) -> usize {
    match scores {
        [score] => usize::from(*score >= threshold),
        scores => ranked(scores).first().copied().unwrap_or(0),
    }
}

/// The float network's answers to the same images.
#[derive(Debug, Clone)]
pub enum FloatAnswers {
    /// Its logits, [images, classes]; those of a map in the order of rows, columns and classes.
    Logits(Array2<f32>),
    /// Its best classes; of a map, of each cell.
    Best(Vec<usize>),
}

/// How the images of one class were answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClassScore {
    /// The class.
    pub class: usize,
    /// Number of its images.
    pub images: usize,
    /// Number of its images that were classified correctly.
    pub right: usize,
    /// The class that most of the others were taken for.
    pub taken_for: Option<usize>,
}

/// Scores each class that has labelled images, for a network that ends in a vector. `dequantize` and
/// `threshold` are those of [`score`].
///
/// ```
/// use brooklet_plan::model_file::Answer;
/// use brooklet_quantize::evaluate::by_class;
///
/// // Three images of class 0, the last of which is taken for class 2.
/// let answer = |logits: [i16; 3]| Answer { logits: logits.to_vec(), output: logits.to_vec() };
/// let answers = [[90, -20, 3], [41, 40, 0], [-5, 7, 60]].map(|logits| (answer(logits), Some(0)));
/// let scores = by_class(&answers, f32::from, 0.0);
/// assert_eq!((scores[0].images, scores[0].right, scores[0].taken_for), (3, 2, Some(2)));
/// ```
pub fn by_class(
    answers: &[(Answer, Option<usize>)],
    dequantize: impl Fn(i16) -> f32,
    threshold: f32,
) -> Vec<ClassScore> {
    // For each class, how often each class was the answer.
    let mut answered: BTreeMap<usize, BTreeMap<usize, usize>> = BTreeMap::new();
    for (answer, label) in answers {
        let Some(label) = label else { continue };
        let said = answered_class(&answer.logits, &dequantize, threshold);
        *answered.entry(*label).or_default().entry(said).or_default() += 1;
    }
    let score = |(class, said): (usize, BTreeMap<usize, usize>)| ClassScore {
        class,
        images: said.values().sum(),
        right: said.get(&class).copied().unwrap_or(0),
        taken_for: said
            .iter()
            .filter(|(other, _)| **other != class)
            // With equal counts, the lower number counts.
            .max_by_key(|&(other, count)| (*count, Reverse(*other)))
            .map(|(other, _)| *other),
    };
    answered.into_iter().map(score).collect()
}

/// The class that the logits of an answer, or of one of its cells, give.
fn answered_class(logits: &[i16], dequantize: impl Fn(i16) -> f32, threshold: f32) -> usize {
    match *logits {
        [logit] => best(&[dequantize(logit)], threshold),
        ref logits => best(logits, 0),
    }
}

/// Scores answers against labels, and against the float network's answers, if these are given.
///
/// `dequantize` turns a logit, int8 or int16, into a real. A network with one score answers class 1
/// if its logit is at least `threshold`. A network that ends in a map answers a class for each cell,
/// of `classes` logits; there are no labels for it.
pub fn score(
    answers: &[(Answer, Option<usize>)],
    float: Option<&FloatAnswers>,
    dequantize: impl Fn(i16) -> f32,
    classes: usize,
    threshold: f32,
) -> Score {
    let share = |count: usize, of: usize| (of > 0).then(|| count as f64 / of as f64);
    let mut score = Score { images: answers.len(), ..Score::default() };
    let labelled: Vec<(Vec<usize>, usize)> = answers
        .iter()
        .filter_map(|(answer, label)| Some((ranked(&answer.logits), (*label)?)))
        .collect();
    let within = |k: usize| {
        labelled
            .iter()
            .filter(|(ranked, label)| ranked.iter().take(k).any(|class| class == label))
            .count()
    };
    let answered = |logits: &[i16]| answered_class(logits, &dequantize, threshold);
    let known =
        answers.iter().filter_map(|(answer, label)| Some(answered(&answer.logits) == (*label)?));
    score.top1 = share(known.filter(|&right| right).count(), labelled.len());
    // A network with one score has no best five.
    score.top5 = share(within(5), labelled.len()).filter(|_| classes > 1);
    let cells = || answers.iter().flat_map(|(answer, _)| answer.logits.chunks(classes.max(1)));
    let agreeing = |float: &mut dyn Iterator<Item = usize>| {
        share(
            cells().zip(float).filter(|&(cell, float)| answered(cell) == float).count(),
            cells().count(),
        )
    };
    match float {
        None => {}
        Some(FloatAnswers::Best(best)) => {
            score.agreement = agreeing(&mut best.iter().copied());
        }
        Some(FloatAnswers::Logits(float)) => {
            let rows = || float.outer_iter().map(|row| row.to_vec());
            let float = rows().flat_map(|row| {
                let cells = row.chunks(classes.max(1)).map(|cell| best(cell, threshold));
                cells.collect::<Vec<_>>()
            });
            score.agreement = agreeing(&mut float.into_iter());
            let (mut signal, mut noise) = (0.0, 0.0);
            for ((answer, _), row) in answers.iter().zip(rows()) {
                for (&q, real) in answer.logits.iter().zip(row) {
                    let real = f64::from(real);
                    signal += real * real;
                    noise += (real - f64::from(dequantize(q))).powi(2);
                }
            }
            score.sqnr_db = Some(10.0 * (signal / noise).log10()).filter(|db| db.is_finite());
        }
    }
    score
}

/// The logits, one row per image, as an `.npy` file of int8, or of int16 if the network's are.
///
/// If the network ends in a map of these rows, columns and classes, the file has the shape
/// `[images, rows, columns, classes]`.
///
/// # Errors
///
/// Never in practice, as memory accepts all writes.
pub fn logits_npy(
    answers: &[(Answer, Option<usize>)],
    int16: bool,
    map: Option<[usize; 3]>,
) -> Result<Vec<u8>, WriteNpyError> {
    npy(logits(answers), int16, map)
}

/// The network's outputs in the same form: after a softmax, if it ends in one.
///
/// # Errors
///
/// Never in practice.
pub fn outputs_npy(
    answers: &[(Answer, Option<usize>)],
    int16: bool,
    map: Option<[usize; 3]>,
) -> Result<Vec<u8>, WriteNpyError> {
    npy(rows(answers, |answer| &answer.output), int16, map)
}

fn npy(
    numbers: Array2<i16>,
    int16: bool,
    map: Option<[usize; 3]>,
) -> Result<Vec<u8>, WriteNpyError> {
    let numbers: ArrayD<i16> = match map {
        Some([rows, columns, classes]) => {
            let shape = (numbers.nrows(), rows, columns, classes);
            numbers.into_shape_with_order(shape).expect("each has all of them").into_dyn()
        }
        None => numbers.into_dyn(),
    };
    let mut bytes = Vec::new();
    match int16 {
        true => numbers.write_npy(&mut bytes)?,
        false => numbers.mapv(|number| number as i8).write_npy(&mut bytes)?,
    }
    Ok(bytes)
}

/// Numbers of each answer, one row per image.
fn rows(answers: &[(Answer, Option<usize>)], of: impl Fn(&Answer) -> &Vec<i16>) -> Array2<i16> {
    let columns = answers.first().map_or(0, |(answer, _)| of(answer).len());
    let all: Vec<i16> = answers.iter().flat_map(|(answer, _)| of(answer).clone()).collect();
    Array2::from_shape_vec((answers.len(), columns), all).expect("each has all of them")
}

/// The logits, one row per image.
pub fn logits(answers: &[(Answer, Option<usize>)]) -> Array2<i16> {
    rows(answers, |answer| &answer.logits)
}
