//! Which rows are in memory when: the walk over a [`Schedule`] that planning, reports and tests
//! share.

use std::ops::Range;

use brooklet::schedule::{Next, Schedule};
use brooklet::{ARENA_ALIGN, Graph, Model, ops};

/// The contents of an [`Item`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A row: of several tensors in turn, if each updates the one before in place.
    Row(u16),
    /// Scratch memory.
    Scratch,
}

/// Bytes that are in use for some time.
#[derive(Debug, Clone)]
pub struct Item {
    /// The layer that makes it, or the last one that updates it in place.
    pub layer: usize,
    /// Its contents.
    pub content: Content,
    /// Its size, including alignment.
    pub bytes: usize,
    /// The steps during which it is in use: all of these, or those in `moments`.
    pub life: Range<u32>,
    /// The steps that use it, in order, if it is scratch memory that keeps no data.
    pub moments: Vec<u32>,
}

impl Item {
    /// Whether both are in use during some step.
    pub fn meets(&self, other: &Item) -> bool {
        let (a, b) = (&self.life, &other.life);
        let overlap = a.start.max(b.start)..a.end.min(b.end);
        let within = |moments: &[u32]| {
            let first = moments.partition_point(|&step| step < overlap.start);
            moments.get(first).is_some_and(|&step| step < overlap.end)
        };
        match (&self.moments[..], &other.moments[..]) {
            _ if overlap.is_empty() => false,
            ([], []) => true,
            ([], moments) | (moments, []) => within(moments),
            // Steps of different layers differ, and a step uses one scratch memory.
            _ => false,
        }
    }
}

/// Steps, and the contents of memory at each.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Everything that takes memory.
    pub items: Vec<Item>,
    /// For each layer the items of its rows.
    pub rows: Vec<Vec<usize>>,
    /// For each layer the item of its scratch memory.
    pub scratch: Vec<Option<usize>>,
    /// For each layer the number of rows, from the first on, that are known to be dead.
    dead: Vec<usize>,
    /// The layer of each step.
    pub steps: Vec<u16>,
    /// The step at which each segment ends.
    pub segment_ends: Vec<u32>,
}

impl Timeline {
    /// Walks the graph's segments, which may be a part of the network.
    ///
    /// Tensors that are made before them and used in them or later are there from the start.
    pub fn of(graph: &Graph<'_>) -> Self {
        let layers = graph.layers.len();
        let mut timeline = Self {
            items: Vec::new(),
            rows: vec![Vec::new(); layers],
            scratch: vec![None; layers],
            dead: vec![0; layers],
            steps: Vec::new(),
            segment_ends: Vec::new(),
        };
        let first = graph.segment(0).start;
        for layer in 0..first {
            if graph.layer(layer).last_reader.get() as usize >= first {
                for row in 0..graph.layer(layer).rows.get() {
                    timeline.add_row(graph, layer, row);
                }
            }
        }
        let mut schedule = Schedule::new(graph);
        let mut segment = 0;
        loop {
            let next = schedule.next(graph);
            while segment < schedule.segment() {
                timeline.segment_ends.push(timeline.now());
                segment += 1;
            }
            match next {
                Next::Run { layer, .. } => {
                    timeline.scratch(graph, layer);
                    timeline.step(graph, &mut schedule, layer);
                }
                Next::Row { .. } => timeline.step(graph, &mut schedule, 0),
                Next::Done | Next::Stalled => break,
            }
        }
        timeline.segment_ends.push(timeline.now());
        timeline
    }

    fn now(&self) -> u32 {
        self.steps.len() as u32
    }

    fn add(&mut self, layer: usize, content: Content, bytes: usize, life: Range<u32>) -> usize {
        let bytes = bytes.next_multiple_of(ARENA_ALIGN);
        self.items.push(Item { layer, content, bytes, life, moments: Vec::new() });
        self.items.len() - 1
    }

    /// Adds a row that lives to the end, unless it is found to die earlier.
    fn add_row(&mut self, graph: &Graph<'_>, layer: usize, row: u16) {
        let bytes = graph.layer(layer).row_bytes();
        let item = self.add(layer, Content::Row(row), bytes, self.now()..u32::MAX);
        self.rows[layer].push(item);
    }

    /// Adds scratch memory for a step.
    fn scratch(&mut self, graph: &Graph<'_>, layer: usize) {
        let now = self.now();
        let record = graph.layer(layer);
        let bytes = ops::scratch_bytes(record, graph.input_of(record).shape());
        if bytes == 0 {
            return;
        }
        let item = match self.scratch[layer] {
            Some(item) => item,
            None => self.add(layer, Content::Scratch, bytes, now..now + 1),
        };
        self.scratch[layer] = Some(item);
        self.items[item].life.end = now + 1;
        if !ops::scratch_persists(record) {
            self.items[item].moments.push(now);
        }
    }

    fn step(&mut self, graph: &Graph<'_>, schedule: &mut Schedule, layer: usize) {
        let now = self.now();
        let record = graph.layer(layer);
        let first = schedule.made(graph, layer);
        let updated = record.shortcut().filter(|_| ops::can_update(graph, record));
        let needed = updated.map(|shortcut| schedule.needed_from(graph, shortcut, Some(layer), 0));
        schedule.complete(graph, layer);
        for row in first..schedule.made(graph, layer) {
            match updated {
                Some(shortcut) if needed > Some(row) => {
                    let item = self.rows[shortcut][usize::from(row)];
                    self.items[item].layer = layer;
                    self.rows[layer].push(item);
                }
                _ => self.add_row(graph, layer, row),
            }
        }
        self.steps.push(layer as u16);
        // Rows that were read may have been read for the last time, and rows that were made may
        // have no reader.
        let read = (layer > 0).then(|| record.input.get() as usize);
        for tensor in [read, record.shortcut(), Some(layer)].into_iter().flatten() {
            let dead = usize::from(schedule.needed_from(graph, tensor, None, 0));
            let dead = dead.min(self.rows[tensor].len());
            let before = std::mem::replace(&mut self.dead[tensor], dead);
            for &item in self.rows[tensor].get(before..dead).unwrap_or_default() {
                let item = &mut self.items[item];
                if item.layer == tensor && item.life.end == u32::MAX {
                    item.life.end = now + 1;
                }
            }
        }
    }

    /// The offset of each item in a model's arena.
    pub(crate) fn offsets(&self, model: &Model<'_>) -> Vec<usize> {
        let mut offsets = vec![0; self.items.len()];
        for (layer, rows) in self.rows.iter().enumerate() {
            for (y, &item) in rows.iter().enumerate() {
                offsets[item] = model.row(layer, y as u16).start;
            }
            if let Some(item) = self.scratch[layer] {
                offsets[item] = model.layer(layer).scratch_offset.get() as usize;
            }
        }
        offsets
    }

    /// Bytes in use during each step.
    pub fn bytes_taken(&self) -> Vec<usize> {
        let steps = self.steps.len();
        let mut change = vec![0isize; steps + 1];
        for item in &self.items {
            for &step in &item.moments {
                change[step as usize] += item.bytes as isize;
                change[step as usize + 1] -= item.bytes as isize;
            }
            if !item.moments.is_empty() {
                continue;
            }
            change[item.life.start as usize] += item.bytes as isize;
            change[(item.life.end as usize).min(steps)] -= item.bytes as isize;
        }
        let mut taken = 0;
        change[..steps]
            .iter()
            .map(|change| {
                taken += change;
                taken as usize
            })
            .collect()
    }
}
