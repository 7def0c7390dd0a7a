//! The scores of one cell of a network's output, or of an output that is a vector.

use core::cmp::Reverse;

use heapless::Vec;
use micromath::F32Ext;

use zerocopy::IntoBytes;

use crate::format::LayerRecord;
use crate::ops::int8;
#[cfg(feature = "stream16")]
use crate::ops::stream16;
use crate::proved::proved;
use crate::quant::Quantization;

/// The scores of an output that is a vector, or of one cell of a [map](crate::Map): one score for
/// each class, in int8 or int16, and their quantization.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    values: Values<'a>,
    quantization: Quantization,
    shown: Shown,
}

/// What is shown for a score.
#[derive(Debug, Clone, Copy)]
enum Shown {
    /// Its share in a softmax of all scores.
    Softmax,
    /// Its sigmoid.
    Sigmoid,
    /// The score itself: it is a probability, or does not stand for a class.
    Itself,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Int8(&'a [i8]),
    #[cfg(feature = "int16")]
    Int16(&'a [i16]),
    /// The row of [a 16-bit stream](stream16).
    #[cfg(feature = "stream16")]
    Stream16 {
        row: &'a [i8],
        /// The first score.
        first: usize,
        /// Number of scores.
        count: usize,
    },
}

/// A class and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Candidate {
    /// The class's index.
    pub class: u16,
    /// Its score, int8 or int16.
    pub score: i16,
    /// Its probability in 0…1, for display. If the network has one score that is not the argument
    /// of a sigmoid, there is no probability: this is the score as a real number.
    pub probability: f32,
}

impl<'a> Logits<'a> {
    /// The logits of a layer, from its row.
    pub(crate) fn new(row: &'a [u8], layer: &LayerRecord) -> Self {
        let values = match (layer.is_int16(), layer.is_stream16()) {
            #[cfg(feature = "int16")]
            (true, _) => {
                Values::Int16(proved!(zerocopy::FromBytes::ref_from_bytes(row)).unwrap_or_default())
            }
            #[cfg(feature = "stream16")]
            (_, true) => Values::Stream16 { row: int8(row), first: 0, count: row.len() / 2 },
            _ => Values::Int8(int8(row)),
        };
        let shown = match layer.channels.get() {
            _ if layer.has_probabilities() => Shown::Itself,
            _ if layer.has_sigmoid() => Shown::Sigmoid,
            1 => Shown::Itself,
            _ => Shown::Softmax,
        };
        Self { values, quantization: layer.quantization(), shown }
    }

    /// The logits of one cell, from the row in which it is.
    pub(crate) fn of_cell(row: &'a [u8], layer: &LayerRecord, column: u16) -> Self {
        let count = usize::from(layer.channels.get());
        let first = usize::from(column) * count;
        let cell = first..first + count;
        let whole = Self::new(row, layer);
        let values = match whole.values {
            Values::Int8(values) => Values::Int8(proved!(values.get(cell)).unwrap_or_default()),
            #[cfg(feature = "int16")]
            Values::Int16(values) => Values::Int16(proved!(values.get(cell)).unwrap_or_default()),
            #[cfg(feature = "stream16")]
            Values::Stream16 { row, .. } => Values::Stream16 { row, first, count },
        };
        Self { values, ..whole }
    }

    /// The int8 scores; empty if the scores have 16 bits.
    pub fn as_slice(&self) -> &'a [i8] {
        match self.values {
            Values::Int8(values) => values,
            #[cfg(feature = "int16")]
            Values::Int16(_) => &[],
            #[cfg(feature = "stream16")]
            Values::Stream16 { .. } => &[],
        }
    }

    /// The scores as they lie in memory: one or two bytes for each.
    ///
    /// A 16-bit stream has the upper bytes of all scores first, and then the lower bytes; if it is a
    /// map, these are the bytes of the cell's whole row.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self.values {
            Values::Int8(values) => values.as_bytes(),
            #[cfg(feature = "int16")]
            Values::Int16(values) => values.as_bytes(),
            #[cfg(feature = "stream16")]
            Values::Stream16 { row, .. } => row.as_bytes(),
        }
    }

    /// The scores, int8 or int16.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # let image = vec![100; model.input().bytes()];
    /// let logits = session.run_image(&image)?;
    /// let real = logits.quantization();
    /// for score in logits.scores() {
    ///     println!("{score}, which stands for {}", real.dequantize(score));
    /// }
    /// # assert_eq!(logits.scores().count(), 6);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    pub fn scores(&self) -> impl Iterator<Item = i16> + Clone + use<'a> {
        let narrow = self.as_slice().iter().map(|&score| i16::from(score));
        #[cfg(feature = "int16")]
        let narrow = narrow.chain(match self.values {
            Values::Int16(values) => values.iter().copied(),
            _ => [].iter().copied(),
        });
        #[cfg(feature = "stream16")]
        let narrow = narrow.chain({
            let (row, first, count): (&[i8], _, _) = match self.values {
                Values::Stream16 { row, first, count } => (row, first, count),
                _ => (&[], 0, 0),
            };
            stream16::scores(row).skip(first).take(count)
        });
        narrow
    }

    /// Number of scores.
    #[expect(clippy::len_without_is_empty, reason = "there is a class at least")]
    pub fn len(&self) -> usize {
        self.scores().count()
    }

    /// Scale and zero point of the scores.
    pub fn quantization(&self) -> Quantization {
        self.quantization
    }

    /// The `K` best classes, best first; of equal scores the one with the smaller class index comes
    /// first.
    ///
    /// If the scores are not probabilities, these are computed as a softmax, or as the sigmoid in
    /// which the network ends. They are floats from micromath's approximate exponential (about
    /// three digits), good enough for display. The order comes from the integers.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # let image = vec![100; model.input().bytes()];
    /// let best = session.run_image(&image)?.top_k::<2>();
    /// assert_eq!(best[0].class, 2);
    /// assert!(best[0].score > best[1].score && best[0].probability > best[1].probability);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    pub fn top_k<const K: usize>(&self) -> Vec<Candidate, K> {
        let mut best: Vec<(i16, u16), K> = Vec::new();
        let better = |a: (i16, u16), b: (i16, u16)| (a.0, Reverse(a.1)) > (b.0, Reverse(b.1));
        for (class, score) in self.scores().enumerate() {
            // A worse candidate moves down one place; the last one drops out of a full list.
            let mut new = (score, class as u16);
            for old in &mut best {
                if better(new, *old) {
                    core::mem::swap(old, &mut new);
                }
            }
            let _ = best.push(new);
        }
        let max = best.first().map_or(0, |&(score, _)| score);
        let exponential = |score: i16| {
            F32Ext::exp((i32::from(score) - i32::from(max)) as f32 * self.quantization.scale)
        };
        let sum: f32 = self.scores().map(exponential).sum();
        let mut top = Vec::new();
        for &(score, class) in &best {
            let real = self.quantization.dequantize(score);
            let probability = match self.shown {
                Shown::Itself => real,
                Shown::Sigmoid => 1.0 / (1.0 + F32Ext::exp(-real)),
                Shown::Softmax => exponential(score) / sum,
            };
            // `top` gets the same number of entries as `best`, so there is room for them.
            let _ = top.push(Candidate { class, score, probability });
        }
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::flags;

    #[test]
    fn best_first_and_ties_to_the_lowest() {
        let mut layer = LayerRecord::new();
        layer.scale.set(0.1);
        let logits = Logits::new(&[3, 9, 0xfc, 9, 5], &layer);
        let classes: Vec<u16, 4> = logits.top_k::<4>().iter().map(|c| c.class).collect();
        assert_eq!(classes, [1, 3, 4, 0]);
        assert_eq!(logits.top_k::<0>().len(), 0);
        assert_eq!(logits.top_k::<9>().len(), 5);
        let sum: f32 = logits.top_k::<5>().iter().map(|c| c.probability).sum();
        assert!((sum - 1.0).abs() < 0.01, "{sum}");
        let (scale, probabilities) = (1.0 / 256.0, flags::PROBABILITIES);
        (layer.zero_point, layer.flags) = (-128, probabilities);
        layer.scale.set(scale);
        let best = Logits::new(&[0x80, 64], &layer).top_k::<1>();
        assert_eq!(best[0].probability, 0.75);
    }

    #[test]
    fn one_score_is_no_certainty() {
        let mut layer = LayerRecord::new();
        layer.scale.set(0.25);
        layer.channels.set(1);
        let shown = |score: u8, layer: &LayerRecord| {
            Logits::new(&[score], layer).top_k::<1>()[0].probability
        };
        assert_eq!(shown(6, &layer), 1.5);
        layer.flags = flags::SIGMOID;
        for (score, wanted) in [(0, 0.5), (4, 0.731), (127, 1.0), (0x80, 0.0)] {
            assert!((shown(score, &layer) - wanted).abs() < 0.01, "{score}");
        }
    }
}
