//! Chooses the shifts that help a network.

use ndarray::{Array4, ArrayView3, ArrayView4, Axis};

use super::shifts::{Place, Shifts, below, places};
use crate::channels::images::{Images, MARGIN};
use crate::data::Dataset;
use crate::error::QuantizeError;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::{Fused, given};
use crate::memory::Memory;
use crate::network::{Network, Op};
use crate::ranges::{Histogram, Method};
use crate::weights::Affine;

/// The spread of a channel's values.
#[derive(Debug, Clone)]
struct Spread {
    count: f64,
    sum: f64,
    squares: f64,
    least: f64,
    most: f64,
}

impl Spread {
    const NONE: Self =
        Self { count: 0.0, sum: 0.0, squares: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY };

    fn add(&mut self, map: ArrayView3<'_, f32>) {
        for value in map.iter().map(|&value| f64::from(value)) {
            self.count += 1.0;
            self.sum += value;
            self.squares += value * value;
            self.least = self.least.min(value);
            self.most = self.most.max(value);
        }
    }

    /// The mean minus three standard deviations.
    fn three_deviations_down(&self) -> f64 {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        mean - 3.0 * variance.sqrt()
    }
}

/// Shifts of a map's channels, the range of its values with them, and the error of the logits.
struct Trial {
    by: Vec<f64>,
    histogram: Histogram,
    error: f64,
}

impl Trial {
    fn new(by: Vec<f64>) -> Self {
        Self { by, histogram: Histogram::default(), error: 0.0 }
    }

    /// The map minus the shifts.
    fn shifted(&self, map: ArrayView4<'_, f32>, clips: bool) -> Array4<f32> {
        let mut map = map.to_owned();
        for (mut map, &by) in map.axis_iter_mut(Axis(1)).zip(&self.by) {
            let by = by as f32;
            map.mapv_inplace(|value| if clips { (value - by).max(0.0) } else { value - by });
        }
        map
    }

    /// The map as its readers see it once it is rounded.
    fn rounded(&self, map: ArrayView4<'_, f32>, clips: bool) -> Array4<f32> {
        let mut map = self.shifted(map, clips);
        if let Some(affine) = Affine::new(self.histogram.range(Method::Mse), false) {
            map.mapv_inplace(|value| affine.round(value));
        }
        for (mut map, &by) in map.axis_iter_mut(Axis(1)).zip(&self.by) {
            map += by as f32;
        }
        map
    }
}

/// A place and the shifts that are tried there; the first trial shifts nothing.
type Tried = (Place, Vec<Trial>);

/// Measures which shifts help a network.
///
/// Calls `done` for each batch of images, at most [`batches`] times.
///
/// # Errors
///
/// [`QuantizeError`] of the engine or the data.
pub fn choose(
    network: &Network,
    fused: &Fused<'_>,
    data: &Dataset,
    memory: Memory,
    mut done: impl FnMut(),
) -> Result<Shifts, QuantizeError> {
    let mut places: Vec<(Place, Vec<Spread>)> = places(network, fused)
        .into_iter()
        .map(|place| {
            let channels = network.nodes[place.writer].shape[2];
            (place, vec![Spread::NONE; channels])
        })
        .collect();
    if places.is_empty() {
        return Ok(Shifts::default());
    }
    let model = FloatModel::new(network)?;
    let clips =
        |place: &Place| matches!(network.nodes[fused.units[place.unit].output].op, Op::Relu);
    let Images { seen, unseen, batch } = Images::new(network, data, memory);
    for images in seen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        for (place, spreads) in &mut places {
            let channels = maps.of(place.unit);
            for (map, spread) in channels.axis_iter(Axis(1)).zip(spreads) {
                spread.add(map);
            }
        }
        done();
    }
    let mut tried: Vec<Tried> = places
        .into_iter()
        .map(|(place, spreads)| (place, trials(&spreads)))
        .filter(|(_, trials)| trials.len() > 1)
        .collect();
    if tried.is_empty() {
        return Ok(Shifts::default());
    }
    for images in seen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        for (place, trials) in &mut tried {
            for trial in trials {
                let shifted = trial.shifted(maps.of(place.unit), clips(place));
                trial.histogram.add_images(shifted.view());
            }
        }
        done();
    }
    for images in unseen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        let map = |unit| maps.of(unit);
        for (place, trials) in &mut tried {
            for trial in trials {
                let rounded = trial.rounded(map(place.unit), clips(place));
                let given = given(fused, place.unit, rounded.view(), &map);
                let wrong = model.output(&given, network.logits())?;
                trial.error += squared_error(wrong.view(), maps.logits());
            }
        }
        done();
    }
    let mut shifts = Shifts::default();
    for (place, trials) in tried {
        let enough = (1.0 - MARGIN) * trials[0].error;
        let least = trials.into_iter().skip(1).min_by(|a, b| a.error.total_cmp(&b.error));
        if let Some(least) = least.filter(|least| least.error < enough) {
            shifts.push(place, least.by);
        }
    }
    Ok(shifts)
}

/// Upper bound of the number of times that [`choose`] calls `done`.
pub fn batches(network: &Network, data: &Dataset, memory: Memory) -> usize {
    Images::new(network, data, memory).batches()
}

/// The shifts to try on a map whose channels have these spreads.
fn trials(spreads: &[Spread]) -> Vec<Trial> {
    let largest = spreads.iter().fold(0.0, |most: f64, spread| most.max(spread.most));
    let by = |of: fn(&Spread) -> f64| -> Vec<f64> {
        spreads.iter().map(|spread| below(of(spread), largest)).collect()
    };
    let mut trials = vec![Trial::new(vec![0.0; spreads.len()])];
    for by in [by(|spread| spread.least), by(Spread::three_deviations_down)] {
        if trials.iter().all(|trial| trial.by != by) {
            trials.push(Trial::new(by));
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bottleneck;

    #[test]
    fn maps_that_padding_or_an_addition_reads_are_left_alone() {
        let network = bottleneck(30.0);
        let names: Vec<_> = places(&network, &Fused::new(&network).unwrap())
            .iter()
            .map(|place| {
                let readers = place.readers.iter().map(|&node| network.nodes[node].name.clone());
                (network.nodes[place.writer].name.clone(), readers.collect::<Vec<_>>())
            })
            .collect();
        let block = |name: &str| format!("stage1.block1.{name}");
        // The first convolution of the block and its shortcut are not shifted.
        let expected = [
            ("stem".to_owned(), vec![block("conv1"), block("shortcut")]),
            (block("conv2"), vec![block("conv3")]),
            (block("conv3"), vec!["norm".to_owned()]),
            ("norm".to_owned(), vec!["head".to_owned()]),
        ];
        assert_eq!(names, expected);
    }
}
