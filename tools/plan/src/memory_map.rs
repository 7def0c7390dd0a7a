//! Draws what is where in the arena, and when: for the terminal, and as an image.
//!
//! ```text
//!           time: a step of a layer after the other, segment by segment
//!         ┌────────────────────────────▶
//!   arena │ ▒▒▒▒▒▒▒            an item is a row, or scratch memory: as wide as it lives,
//!         │     ███████        as high as it is large
//!         ▼
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use brooklet::Model;
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Style, Text, Title};

use crate::timeline::{Content, Item, Timeline};

/// Number of columns and lines of the map on the terminal.
const GRID: [usize; 2] = [72, 16];

/// Width and height of the image, without its margins.
const IMAGE: [f64; 2] = [1200.0, 480.0];
const MARGIN: f64 = 60.0;
/// Colours in light and in dark mode.
const STYLE: &str = "text{font:12px sans-serif;fill:#222}.end{text-anchor:end}\
     .middle{text-anchor:middle}line{stroke:#222;stroke-width:.5}svg{background:#fff}\
     @media(prefers-color-scheme:dark){\
     text{fill:#ddd}line{stroke:#ddd}svg{background:#111}}";

/// The arena of a model over time.
///
/// ```
/// use brooklet_plan::memory_map::MemoryMap;
/// use brooklet_plan::model_file::ModelFile;
///
/// let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
/// let map = MemoryMap::new(file.model());
/// // Whose rows are in the arena at the step that takes the most memory?
/// let peak = map.peak();
/// for held in map.held(peak) {
///     println!("{}: {} rows, {} bytes", file.model().name(held.layer), held.rows, held.bytes);
/// }
/// assert!(map.bytes_at(peak) <= file.model().arena_bytes());
/// assert!(map.svg().starts_with("<svg"));
/// ```
#[derive(Debug)]
pub struct MemoryMap<'m> {
    model: Model<'m>,
    timeline: Timeline,
    /// The offset of each item.
    offsets: Vec<usize>,
    /// Bytes in use during each step.
    taken: Vec<usize>,
}

/// The memory of one layer in the arena at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The layer.
    ///
    /// For rows that are updated in place, it is the last one that updates them.
    pub layer: usize,
    /// Number of rows of its output.
    pub rows: usize,
    /// Bytes of these and of scratch memory, including alignment.
    pub bytes: usize,
}

impl<'m> MemoryMap<'m> {
    /// The map of a model.
    pub fn new(model: Model<'m>) -> Self {
        let timeline = Timeline::of(model.graph());
        let offsets = timeline.offsets(&model);
        let taken = timeline.bytes_taken();
        Self { model, timeline, offsets, taken }
    }

    /// The first step at which the most bytes are in use.
    pub fn peak(&self) -> usize {
        self.fullest(0..self.taken.len())
    }

    /// The first of these steps at which the most bytes are in use.
    fn fullest(&self, steps: Range<usize>) -> usize {
        let fuller = |a: usize, b: usize| if self.taken[b] > self.taken[a] { b } else { a };
        steps.clone().fold(steps.start, fuller)
    }

    /// Bytes in use at a step.
    pub fn bytes_at(&self, step: usize) -> usize {
        self.taken[step]
    }

    /// The layer that runs in a step.
    pub fn layer_at(&self, step: usize) -> usize {
        usize::from(self.timeline.steps[step])
    }

    /// The steps of each segment.
    pub fn segments(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.timeline.segment_ends.iter().map(|&end| end as usize);
        let starts = [0].into_iter().chain(ends.clone());
        starts.zip(ends).map(|(start, end)| start..end)
    }

    fn live(&self, step: usize) -> impl Iterator<Item = (&Item, usize)> {
        let items = self.timeline.items.iter().zip(self.offsets.iter().copied());
        items.filter(move |(item, _)| item.life.contains(&(step as u32)))
    }

    /// The contents of the arena at a step, layer by layer: rows, and scratch memory that the step
    /// uses or that keeps data.
    pub fn held(&self, step: usize) -> Vec<Held> {
        let mut held: BTreeMap<usize, Held> = BTreeMap::new();
        let used = |item: &Item| {
            item.moments.is_empty() || item.moments.binary_search(&(step as u32)).is_ok()
        };
        for (item, _) in self.live(step).filter(|(item, _)| used(item)) {
            let layer = item.layer;
            let held = held.entry(layer).or_insert(Held { layer, rows: 0, bytes: 0 });
            held.rows += usize::from(item.content != Content::Scratch);
            held.bytes += item.bytes;
        }
        held.into_values().collect()
    }

    /// The letter of a layer in the terminal's map; letters repeat after the alphabet.
    pub fn letter(layer: usize) -> char {
        char::from(b'a' + (layer % 26) as u8)
    }

    /// The map in letters, one per layer: time runs to the right, and the arena downwards from its
    /// start.
    ///
    /// A column that stands for several steps shows the fullest of them.
    pub fn text(&self) -> String {
        let steps = self.taken.len();
        let [columns, lines] = [GRID[0].min(steps), GRID[1]];
        let arena = self.model.arena_bytes();
        let mut grid = vec![vec!['·'; columns]; lines];
        let starts: Vec<usize> = self.segments().map(|steps| steps.start).collect();
        let mut header = String::new();
        for column in 0..columns {
            let span = column * steps / columns..(column + 1) * steps / columns;
            header.push(if starts.iter().any(|start| span.contains(start)) { '|' } else { ' ' });
            let live: Vec<_> = self.live(self.fullest(span)).collect();
            for (line, cells) in grid.iter_mut().enumerate() {
                let band = line * arena / lines..(line + 1) * arena / lines;
                let inside = |(item, offset): &&(&Item, usize)| {
                    (offset + item.bytes).min(band.end).saturating_sub(band.start.max(*offset))
                };
                if let Some(most) = live.iter().max_by_key(inside).filter(|most| inside(most) > 0) {
                    cells[column] = Self::letter(most.0.layer);
                }
            }
        }
        let width = arena.to_string().len();
        let mut text = format!("{:width$} {}\n", "", header.trim_end());
        for (line, cells) in grid.iter().enumerate() {
            let cells: String = cells.iter().collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:width$} {cells}", line * arena / lines);
        }
        text
    }

    /// The colour of a layer in the image, in CSS. Neighbouring layers get very different colours, by
    /// the golden angle.
    pub fn colour(layer: usize) -> String {
        format!("hsl({} 60% 55%)", layer * 137 % 360)
    }

    /// The map as an image, in which each item has a tooltip.
    pub fn svg(&self) -> String {
        let [width, height] = IMAGE;
        let arena = self.model.arena_bytes();
        let x = |step: usize| MARGIN + width * step as f64 / self.taken.len().max(1) as f64;
        let y = |offset: usize| MARGIN + height * offset as f64 / arena.max(1) as f64;
        let text = |x: f64, y: f64, class: &str, words: String| {
            Text::new(words).set("x", x).set("y", y).set("class", class)
        };
        let mut document = Document::new()
            .set("viewBox", (0, 0, width + 2.0 * MARGIN, height + 2.0 * MARGIN))
            .set("role", "img")
            .add(Title::new("The arena over time"))
            .add(Style::new(STYLE))
            .add(self.rectangles(x, y));
        for (index, steps) in self.segments().enumerate() {
            let line = Line::new()
                .set("x1", x(steps.start))
                .set("x2", x(steps.start))
                .set("y1", MARGIN - 12.0)
                .set("y2", MARGIN + height);
            document = document.add(line);
            // The numbers of narrow segments would overlap.
            if x(steps.end) - x(steps.start) > 24.0 {
                let number = text(x(steps.start) + 3.0, MARGIN - 3.0, "", format!("{index}"));
                document = document.add(number);
            }
        }
        for quarter in 0..=4 {
            let offset = quarter * arena / 4;
            let label = text(MARGIN - 6.0, y(offset) + 4.0, "end", offset.to_string());
            let step = quarter * self.taken.len() / 4;
            let tick = text(x(step), MARGIN + height + 42.0, "middle", step.to_string());
            document = document.add(label).add(tick);
        }
        let peak = self.peak();
        let words = format!(
            "step {peak}: {} of {arena} bytes, in layer {}",
            self.taken[peak],
            self.model.name(self.layer_at(peak))
        );
        let line = Line::new()
            .set("x1", x(peak))
            .set("x2", x(peak))
            .set("y1", MARGIN)
            .set("y2", MARGIN + height + 12.0)
            .set("stroke-dasharray", "4 2");
        let anchor = if x(peak) > MARGIN + width / 2.0 { "end" } else { "" };
        document
            .add(line)
            .add(text(x(peak), MARGIN + height + 26.0, anchor, words))
            .add(text(6.0, MARGIN - 22.0, "", "bytes ↓".to_owned()))
            .add(text(MARGIN + 24.0, MARGIN - 22.0, "", "segments →".to_owned()))
            .add(text(6.0, MARGIN + height + 42.0, "", "steps →".to_owned()))
            .to_string()
    }

    /// A rectangle for each row and each scratch memory.
    fn rectangles(&self, x: impl Fn(usize) -> f64, y: impl Fn(usize) -> f64) -> Group {
        let mut items = Group::new();
        for (item, &offset) in self.timeline.items.iter().zip(&self.offsets) {
            let life = item.life.start as usize..(item.life.end as usize).min(self.taken.len());
            let name = self.model.name(item.layer);
            let what = match item.content {
                Content::Row(row) => format!("{name}, row {row}"),
                Content::Scratch => format!("{name}, scratch memory"),
            };
            let title = format!(
                "{what}: bytes {offset} to {}, steps {} to {}",
                offset + item.bytes,
                life.start,
                life.end
            );
            let rectangle = Rectangle::new()
                .set("x", x(life.start))
                .set("y", y(offset))
                .set("width", x(life.end) - x(life.start))
                .set("height", y(offset + item.bytes) - y(offset))
                .set("fill", Self::colour(item.layer))
                .add(Title::new(title));
            items = items.add(rectangle);
        }
        items
    }
}
