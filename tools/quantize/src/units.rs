//! The units of pixels that a network takes: the usual conventions, and signs that a wrong one was
//! used.
//!
//! A network that is fed pixels in other units than in its training still computes, but its answers
//! are no better than chance. The signs, each with a bound that right units keep:
//!
//! - The input of an int8 network has a range: pixels outside of it saturate, and pixels in a small
//!   part of it use only few levels.
//! - A batch norm stores the mean and the deviation that the map before it had in training.
//! - If images have labels, the share of right answers can be compared with chance.

use ndarray::Axis;

use crate::data::Dataset;
use crate::error::QuantizeError;
use crate::evaluate::best;
use crate::forward::FloatModel;
use crate::network::{Network, Op, QuantizedNetwork, QuantizedNode};
use brooklet_plan::Preprocess;

/// A usual way to convert pixels to the numbers that a network takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convention {
    /// Its usual name.
    pub name: &'static str,
    /// Mean of red, green and blue, for pixels from 0 to 1.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of red, green and blue, for pixels from 0 to 1.
    pub std: Option<[f32; 3]>,
}

/// The usual conventions; those of int8 files come first.
pub const CONVENTIONS: [Convention; 6] = [
    Convention { name: "raw 0 to 255", mean: None, std: None },
    Convention { name: "0 to 1", mean: Some([0.0; 3]), std: Some([1.0; 3]) },
    Convention { name: "-1 to 1", mean: Some([0.5; 3]), std: Some([0.5; 3]) },
    Convention {
        name: "ImageNet",
        mean: Some([0.485, 0.456, 0.406]),
        std: Some([0.229, 0.224, 0.225]),
    },
    Convention {
        name: "CIFAR-10",
        mean: Some([0.4914, 0.4822, 0.4465]),
        std: Some([0.2470, 0.2435, 0.2616]),
    },
    Convention {
        name: "minus mean (Caffe)",
        mean: Some([0.485, 0.458, 0.408]),
        std: Some([1.0 / 255.0; 3]),
    },
];

impl Convention {
    /// The preprocessing with these units.
    pub fn apply(&self, preprocess: &Preprocess) -> Preprocess {
        Preprocess { mean: self.mean, std: self.std, ..*preprocess }
    }

    /// The options of `brooklet quantize` that select it.
    pub fn options(&self) -> String {
        let list = |numbers: [f32; 3]| match numbers {
            [one, two, three] if one == two && two == three => one.to_string(),
            numbers => numbers.map(|number| number.to_string()).join(","),
        };
        match (self.mean, self.std) {
            (Some(mean), Some(std)) => format!("--mean {} --std {}", list(mean), list(std)),
            _ => "neither --mean nor --std".into(),
        }
    }
}

/// Takes the normalization of the image out of a network, and returns it as preprocessing, for
/// pixels that were normalized by `preprocess` before.
///
/// The network stays unchanged if the preprocessing cannot represent it: beyond three channels, or
/// with negative factors.
pub fn normalization_outside(network: Network, preprocess: &Preprocess) -> (Network, Preprocess) {
    let (without, affine) = network.clone().without_normalization();
    match affine.and_then(|affine| outside(&affine, preprocess)) {
        Some(preprocess) => (without, preprocess),
        None => (network, *preprocess),
    }
}

/// The preprocessing that includes the factor and offset of each channel, for pixels that were
/// normalized by `preprocess` before; `None` if it cannot represent them: beyond three channels, or
/// with negative factors.
pub fn outside(affine: &[(f64, f64)], preprocess: &Preprocess) -> Option<Preprocess> {
    let alike = affine.iter().skip(2).all(|&channel| channel == affine[2]);
    if !alike || affine.iter().any(|&(factor, _)| factor <= 0.0) {
        return None;
    }
    let raw = preprocess.mean.is_none() && preprocess.std.is_none();
    let (mut mean, mut std) = ([0.0; 3], [1.0; 3]);
    for channel in 0..3 {
        let (factor, offset) = affine[channel.min(affine.len() - 1)];
        // Mean and deviation of pixels from 0 to 1.
        let (before_mean, before_std) = match raw {
            true => (0.0, 1.0 / 255.0),
            false => (
                preprocess.mean.map_or(0.0, |mean| f64::from(mean[channel])),
                preprocess.std.map_or(1.0, |std| f64::from(std[channel])),
            ),
        };
        std[channel] = (before_std / factor) as f32;
        mean[channel] = (before_mean - offset * before_std / factor) as f32;
    }
    Some(Preprocess { mean: Some(mean), std: Some(std), ..*preprocess })
}

/// The mean and deviation that convert numbers from `low` to `high`, and zero, to bytes and back.
pub fn of_numbers([low, high]: [f32; 2], preprocess: &Preprocess) -> Preprocess {
    let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
    let scale = ((high - low) / 255.0).max(f64::from(f32::MIN_POSITIVE) * 255.0);
    let zero = (-low / scale).round();
    let (mean, std) = ((zero / 255.0) as f32, (1.0 / (255.0 * scale)) as f32);
    Preprocess { mean: Some([mean; 3]), std: Some([std; 3]), ..*preprocess }
}

/// Distance, in levels, at which a pixel still is as close to its int8 value as rounding is, with a
/// margin for float arithmetic.
const HALF_LEVEL: f64 = 0.5 + 1e-3;
/// Share of pixel values that may saturate.
const MAY_SATURATE: f64 = 0.05;
/// Least share of the levels of an int8 input that pixels should use.
const TAKEN: f64 = 0.25;

/// The int8 value of a pixel of this channel before it is rounded.
pub(crate) fn level(
    input: &QuantizedNode,
    preprocess: &Preprocess,
    pixel: u8,
    channel: usize,
) -> f64 {
    let real = f64::from(preprocess.normalize(pixel, channel));
    real / f64::from(input.scale) + f64::from(input.zero_point)
}

fn levels<'i>(
    input: &'i QuantizedNode,
    preprocess: &'i Preprocess,
) -> impl Iterator<Item = (u8, f64)> + 'i {
    let channels = 0..input.shape[2].min(3);
    let pixels = channels.flat_map(|channel| (0..=255).map(move |pixel| (channel, pixel)));
    pixels.map(move |(channel, pixel)| (pixel, level(input, preprocess, pixel, channel)))
}

/// Whether pixel − 128 is the int8 value of every pixel, to half a level, which is as close as
/// rounding.
pub(crate) fn is_plain(input: &QuantizedNode, preprocess: &Preprocess) -> bool {
    !input.int16
        && levels(input, preprocess)
            .all(|(pixel, level)| (level - (f64::from(pixel) - 128.0)).abs() <= HALF_LEVEL)
}

/// An int8 input and pixels that do not fit it in the given units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misfit {
    /// The range of reals that the input represents.
    pub input: [f64; 2],
    /// The range of the pixels' reals.
    pub pixels: [f64; 2],
    /// Share of pixel values that saturate.
    pub saturated: f64,
    /// Share of the input's levels that pixels use.
    pub taken: f64,
}

impl Misfit {
    /// A misfit if pixels saturate, or use only a small part of the input's range.
    pub fn of(input: &QuantizedNode, preprocess: &Preprocess) -> Option<Self> {
        let bits = if input.int16 { 15 } else { 7 };
        let (least, most) = (-f64::from(1 << bits), f64::from((1 << bits) - 1));
        let (mut count, mut beyond) = (0.0, 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (_, level) in levels(input, preprocess) {
            count += 1.0;
            beyond += f64::from(u8::from(!(least - 1.0..=most + 1.0).contains(&level)));
            (low, high) = (low.min(level), high.max(level));
        }
        let (saturated, taken) =
            (beyond / count, (high.min(most) - low.max(least)) / (most - least));
        let real = |level: f64| (level - f64::from(input.zero_point)) * f64::from(input.scale);
        let misfit = Self {
            input: [least, most].map(real),
            pixels: [low, high].map(real),
            saturated,
            taken: taken.max(0.0),
        };
        (saturated > MAY_SATURATE || misfit.taken < TAKEN).then_some(misfit)
    }
}

/// The units of pixels for an int8 network if the user gives none: the convention for which pixel −
/// 128 fits its input, if there is one.
///
/// # Errors
///
/// The [`Misfit`] of raw pixels, if they do not fit the input either.
pub fn of_int8(input: &QuantizedNode, preprocess: &Preprocess) -> Result<Preprocess, Misfit> {
    if preprocess.mean.is_some() || preprocess.std.is_some() {
        return Ok(*preprocess);
    }
    let mut fitting = CONVENTIONS.iter().map(|convention| convention.apply(preprocess));
    match fitting.find(|preprocess| is_plain(input, preprocess)) {
        Some(preprocess) => Ok(preprocess),
        None => Misfit::of(input, preprocess).map_or(Ok(*preprocess), Err),
    }
}

/// As [`of_int8`], for a network whose file may normalize the image before it quantizes it: this is
/// then included.
///
/// # Errors
///
/// As [`of_int8`].
pub fn of_network(
    network: &QuantizedNetwork,
    preprocess: &Preprocess,
) -> Result<Preprocess, Misfit> {
    let input = &network.nodes[0];
    if network.normalization.is_none() {
        return of_int8(input, preprocess);
    }
    if preprocess.mean.is_some() || preprocess.std.is_some() {
        return Ok(included(network, preprocess));
    }
    let raw = included(network, preprocess);
    let candidates = CONVENTIONS.iter().take(2);
    let candidates = candidates.map(|units| included(network, &units.apply(preprocess)));
    let mut fitting = candidates.filter(|units| Misfit::of(input, units).is_none());
    match (fitting.next(), Misfit::of(input, &raw)) {
        (None, Some(misfit)) => Err(misfit),
        (found, _) => Ok(found.unwrap_or(raw)),
    }
}

/// The preprocessing that includes what a network's file does with the image before it quantizes
/// it.
pub fn included(network: &QuantizedNetwork, preprocess: &Preprocess) -> Preprocess {
    let affine = network.normalization.as_ref();
    affine.and_then(|affine| outside(affine, preprocess)).unwrap_or(*preprocess)
}

/// The largest useful mean and deviation of pixels from 0 to 1.
const LARGEST: [f32; 2] = [1.0, 2.0];

/// The error for a mean or deviation of pixels from 0 to 255, with the right options.
pub fn of_255(preprocess: &Preprocess) -> Option<String> {
    let above = |numbers: Option<[f32; 3]>, most: f32| {
        numbers.is_some_and(|numbers| numbers.iter().any(|&number| number > most))
    };
    let (mean, std) = (above(preprocess.mean, LARGEST[0]), above(preprocess.std, LARGEST[1]));
    if !mean && !std {
        return None;
    }
    let parts = [("--mean", preprocess.mean, mean), ("--std", preprocess.std, std)];
    let options = parts.into_iter().filter_map(|(name, numbers, is_255)| {
        let numbers = numbers?.map(|number| if is_255 { number / 255.0 } else { number });
        Some(format!("{name} {}", numbers.map(|number| format!("{number:.4}")).join(",")))
    });
    let options = options.collect::<Vec<_>>().join(" ");
    Some(format!(
        "--mean and --std are for pixels from 0 to 1, but these are for 0 to 255: give {options}"
    ))
}

/// Number of images on which the first map is measured.
const IMAGES: usize = 64;
/// The spread of the first normalized map, relative to what training saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Its deviation, relative to that of training: about 1 if the units are those of training.
    pub deviation: f64,
    /// Distance of its mean from that of training, in deviations of training: about 0.
    pub shift: f64,
}

impl Spread {
    /// The spread behind the first convolution of images; `None` if no batch norm stores statistics
    /// of it.
    ///
    /// # Errors
    ///
    /// Errors of running the network.
    pub fn of(network: &Network, data: &Dataset) -> Result<Option<Self>, QuantizeError> {
        let of_image = |op: &Op, inputs: &[usize]| matches!(op, Op::Conv(_)) && inputs == [0];
        let first = network.nodes.iter().position(|node| of_image(&node.op, &node.inputs));
        let Some((first, statistics)) =
            first.and_then(|first| Some((first, network.nodes[first].statistics.as_ref()?)))
        else {
            return Ok(None);
        };
        let model = FloatModel::part(network, 1..=first)?;
        let batch = data.batch(data.spread(IMAGES).into_iter())?;
        let image = batch.view().permuted_axes([0, 3, 1, 2]);
        let maps = model.continued(&[(0, image)], &[first])?;
        let (mut variance, mut shift, mut trained) = (0.0, 0.0, 0.0);
        for channel in maps.iter().flat_map(|map| map.axis_iter(Axis(1))).enumerate() {
            let (channel, values) = channel;
            let count = values.len() as f64;
            let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
            let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2));
            variance += squares.sum::<f64>() / count;
            shift += (mean - f64::from(statistics.mean[channel])).powi(2);
            trained += f64::from(statistics.deviation[channel]).powi(2);
        }
        let [deviation, shift] = [variance, shift].map(|sum| (sum / trained).sqrt());
        Ok((trained > 0.0).then_some(Self { deviation, shift }))
    }

    /// Whether images are in other units than in training.
    pub fn is_off(self) -> bool {
        !(0.5..=2.0).contains(&self.deviation) || self.shift > 1.0
    }
}

/// The probability with which a bound may be broken by chance.
const DOUBT: f64 = 1e-3;

/// The number of right answers to labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Number of right answers.
    pub right: usize,
    /// Number of all answers.
    pub all: usize,
}

impl Right {
    /// Counts answers, each with its label.
    pub fn of<'a>(answers: impl Iterator<Item = (&'a [f32], Option<usize>)>) -> Self {
        let labelled = answers.filter_map(|(scores, label)| Some((best(scores, 0.0), label?)));
        labelled.fold(Self { right: 0, all: 0 }, |Self { right, all }, (best, label)| Self {
            right: right + usize::from(best == label),
            all: all + 1,
        })
    }

    /// Share of right answers.
    pub fn share(self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }

    /// Whether it is more than `chance`, even as the best of `tries`, by more than chance explains.
    pub fn is_above(self, chance: f64, tries: usize) -> bool {
        at_least(self.right, self.all, chance) < DOUBT / tries as f64
    }

    /// Whether it is surely less than a tenth of the way from chance to all right.
    pub fn is_chance(self, classes: usize) -> bool {
        let chance = 1.0 / classes.max(2) as f64;
        let little = chance + 0.1 * (1.0 - chance);
        self.all > 0 && 1.0 - at_least(self.right + 1, self.all, little) < DOUBT
    }
}

/// The probability of at least `right` right answers of `all`, if each is right with probability
/// `chance`: the upper tail of the binomial distribution.
pub fn at_least(right: usize, all: usize, chance: f64) -> f64 {
    if right == 0 || chance >= 1.0 {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    let odds = (chance / (1.0 - chance)).ln();
    // The logarithm of the probability of exactly this number.
    let mut exactly = all as f64 * (1.0 - chance).ln();
    let mut tail = 0.0;
    for count in 0..=all {
        if count >= right {
            tail += exactly.exp();
        }
        exactly += ((all - count) as f64 / (count + 1) as f64).ln() + odds;
    }
    tail.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, QuantizedOp};

    fn input(scale: f32, zero_point: i32) -> QuantizedNode {
        QuantizedNode {
            summed: false,
            name: String::new(),
            source: String::new(),
            op: QuantizedOp::Input,
            inputs: vec![],
            shape: [8, 8, 3],
            scale,
            zero_point,
            int16: false,
            activation: Activation::None,
        }
    }

    #[test]
    fn int8_inputs_say_what_a_pixel_is() {
        let none = Preprocess::default();
        let half = CONVENTIONS[2].apply(&none);
        for (scale, zero_point, wanted) in [
            (1.0, -128, none),
            (1.0 / 255.0, -128, CONVENTIONS[1].apply(&none)),
            (2.0 / 255.0, -1, half),
            (0.007_843_137, 0, half),
        ] {
            assert_eq!(of_int8(&input(scale, zero_point), &none), Ok(wanted), "{scale}");
            assert!(is_plain(&input(scale, zero_point), &wanted));
        }
        // An input in ImageNet's units needs the user's options, which are then used.
        let imagenet = CONVENTIONS[3].apply(&none);
        let misfit = of_int8(&input(0.018_658_45, -14), &none).unwrap_err();
        assert!(misfit.saturated > 0.9 && misfit.pixels == [0.0, 255.0], "{misfit:?}");
        assert_eq!(of_int8(&input(0.018_658_45, -14), &imagenet), Ok(imagenet));
        assert_eq!(Misfit::of(&input(0.018_658_45, -14), &imagenet), None);
        assert!(!is_plain(&input(0.018_658_45, -14), &imagenet));
        // With means for 0 to 255 instead of 0 to 1, all pixels are the same level.
        let wrong = Preprocess { mean: Some([123.7, 116.3, 103.5]), std: Some([58.4; 3]), ..none };
        assert!(Misfit::of(&input(0.018_658_45, -14), &wrong).unwrap().taken < 0.1);
        let told = of_255(&wrong).unwrap();
        assert!(told.contains("--mean 0.4851,0.4561,0.4059 --std 0.2290,0.2290,0.2290"), "{told}");
        assert!(CONVENTIONS.iter().all(|usual| of_255(&usual.apply(&none)).is_none()));
    }

    #[test]
    fn chance_is_told_from_knowledge() {
        assert!((at_least(1, 2, 0.5) - 0.75).abs() < 1e-12);
        assert!((at_least(3, 3, 0.1) - 1e-3).abs() < 1e-12);
        assert!((at_least(0, 9, 0.3) - 1.0).abs() < 1e-12 && at_least(10, 9, 0.3) == 0.0);
        let right = |right, all| Right { right, all };
        // 11.7 % with ten classes is no better than chance, and a few images are not evidence.
        assert!(right(117, 1000).is_chance(10) && !right(300, 1000).is_chance(10));
        assert!(!right(0, 10).is_chance(10) && !right(9, 10).is_chance(10));
        assert!(!right(2, 1000).is_above(0.001, 1) && right(600, 1000).is_above(0.001, 12));
        assert!(right(500, 1000).is_chance(2) && !right(620, 1000).is_chance(2));
    }
}
