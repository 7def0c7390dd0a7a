//! The steps in which an image runs through a model, for a page or a figure.

use brooklet::Model;
use serde::Serialize;

use crate::timeline::{Content, Timeline};

/// Steps, and the contents of the arena at each.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The layer of each step; 0 is the image, whose rows are steps, too.
    pub steps: Vec<u16>,
    /// The layers.
    pub layers: Vec<ReplayLayer>,
    /// Everything that takes memory.
    pub items: Vec<ReplayItem>,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct ReplayLayer {
    /// Its name.
    pub name: String,
    /// Number of rows of its output.
    pub rows: u16,
    /// Number of its steps.
    pub steps: u16,
    /// Number of rows that a step makes; 0 if the last step makes all.
    pub step_rows: u8,
    /// The item of each row.
    pub places: Vec<usize>,
}

/// A row, or scratch memory.
#[derive(Debug, Serialize)]
pub struct ReplayItem {
    /// The layer that makes it, or the last one that updates it in place.
    pub layer: usize,
    /// Whether it is scratch memory.
    pub scratch: bool,
    /// Its place in the arena.
    pub offset: usize,
    /// Its size, including alignment.
    pub bytes: usize,
    /// The first step during which it is in use, and the one after the last.
    pub life: [u32; 2],
    /// The steps that use it, if it is scratch memory that keeps no data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<u32>,
}

impl Replay {
    /// The replay of a model, which does not depend on the image.
    pub fn new(model: &Model<'_>) -> Self {
        let timeline = Timeline::of(model.graph());
        let offsets = timeline.offsets(model);
        let layers = timeline.rows.into_iter().enumerate().map(|(layer, places)| {
            let record = model.layer(layer);
            ReplayLayer {
                name: model.name(layer).to_owned(),
                rows: record.rows.get(),
                steps: record.steps.get(),
                step_rows: record.step_rows,
                places,
            }
        });
        let layers = layers.collect();
        let items = timeline.items.into_iter().zip(offsets).map(|(item, offset)| ReplayItem {
            layer: item.layer,
            scratch: item.content == Content::Scratch,
            offset,
            bytes: item.bytes,
            life: [item.life.start, item.life.end],
            moments: item.moments,
        });
        Self { steps: timeline.steps, layers, items: items.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_map::MemoryMap;
    use crate::model_file::ModelFile;

    #[test]
    fn what_a_step_keeps_is_what_the_memory_map_counts() {
        let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
        let model = file.model();
        let (replay, map) = (Replay::new(&model), MemoryMap::new(model));
        assert!(!replay.steps.is_empty());
        for step in 0..replay.steps.len() {
            let live = replay.items.iter().filter(|item| {
                let within = (item.life[0]..item.life[1]).contains(&(step as u32));
                within && (item.moments.is_empty() || item.moments.contains(&(step as u32)))
            });
            assert_eq!(live.map(|item| item.bytes).sum::<usize>(), map.bytes_at(step), "{step}");
            assert_eq!(usize::from(replay.steps[step]), map.layer_at(step));
        }
        assert!(
            replay.items.iter().all(|item| item.offset + item.bytes <= model.arena_bytes() + 15)
        );
    }
}
