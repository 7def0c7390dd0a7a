//! Draws which rows of a network are in memory at one step: the figure of README, for any model.
//!
//! ```text
//!             ┌──── shortcut ────┐
//!   ▒▒▒▒      ▒▒▒▒     ▒▒▒▒      ▒▒▒▒
//!   ▒▒▒▒      ████     ▒▒▒▒      ████   a column is a layer's output, each bar one of its rows
//!   ████  ─▶  ████ ─▶  ████  ─▶  ▓▓▓▓
//!   ▓▓▓▓      ▒▒▒▒     ▒▒▒▒      ▒▒▒▒
//!   image     conv     conv    conv + add
//! ```

use brooklet::Model;
use brooklet_files::text::thousands;
use svg::Document;
use svg::node::element::{Group, Path, Rectangle, Style, Text, Title};

use crate::memory_map::MemoryMap;
use crate::replay::Replay;

/// Width of a column of rows, and of the space to the next.
const COLUMN: [f64; 2] = [62.0, 26.0];
/// Where columns begin and how high they are: the same for all, so that rows at the same place in the
/// image are at the same height.
const ROWS: [f64; 2] = [70.0, 160.0];
const MARGIN: f64 = 16.0;
/// Distance between lines of text.
const LINE: f64 = 16.0;

/// Colours in light and in dark mode.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328;text-anchor:middle}\
     .soft{font-size:11px;fill:#59636e}.left{text-anchor:start}\
     path,line{stroke:#59636e;fill:none;stroke-width:1.5}\
     .free{fill:#eef1f4;stroke:#d1d9e0;stroke-width:.5}.stream{fill:#4c8dd6}.inner{fill:#e0a13a}\
     .now{fill:#d1495b}\
     @media(prefers-color-scheme:dark){text{fill:#f0f6fc}.soft{fill:#9198a1}path,line{stroke:#9198a1}\
     .free{fill:#151b23;stroke:#3d444d}.inner{fill:#d29922}.now{fill:#f0596c}}";

/// What a row is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// It takes no memory: it is not made yet, or was read for the last time, or its place has the
    /// row of a later layer.
    Free,
    /// In memory: of the image, or read as a shortcut by a later layer, or the sum of one.
    Stream,
    /// In memory, between two layers.
    Inner,
    /// Made by this step.
    Now,
}

impl Row {
    /// Each kind, with its class in [`STYLE`] and its meaning.
    const ALL: [(Self, &str, &str); 4] = [
        (Self::Stream, "stream", "image, or residual stream"),
        (Self::Inner, "inner", "inside a block"),
        (Self::Now, "now", "made by this step"),
        (Self::Free, "free", "no memory: not made yet, or used up"),
    ];

    fn class(self) -> &'static str {
        Self::ALL.iter().find(|(row, ..)| *row == self).map_or("", |(_, class, _)| class)
    }
}

/// The rows of a model's layers during one of its steps, as an SVG image. A step that does not exist
/// counts as the last.
///
/// Layers whose output is one row, as those after the mean, are not drawn.
///
/// ```
/// use brooklet_plan::figure;
/// use brooklet_plan::memory_map::MemoryMap;
/// use brooklet_plan::model_file::ModelFile;
///
/// let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
/// let fullest = MemoryMap::new(file.model()).peak();
/// let svg = figure::rows(file.model(), fullest);
/// assert!(svg.starts_with("<svg"));
/// ```
pub fn rows(model: Model<'_>, step: usize) -> String {
    let replay = Replay::new(&model);
    let step = step.min(replay.steps.len().saturating_sub(1));
    let state = rows_at(&model, &replay, step);
    let drawn: Vec<usize> = (0..state.len()).filter(|&layer| state[layer].len() > 1).collect();
    let [width, gap] = COLUMN;
    let left = |column: usize| MARGIN + column as f64 * (width + gap);
    let [top, height] = ROWS;
    let mut drawing = Group::new();
    for (column, &layer) in drawn.iter().enumerate() {
        drawing = drawing.add(bars(&state[layer], left(column)));
        let middle = left(column) + width / 2.0;
        let below = top + height + LINE + 4.0;
        let live = state[layer].iter().filter(|&&row| row != Row::Free).count();
        let label = model.name(layer).rsplit(['.', '/']).next().unwrap_or_default();
        let count = format!("{live} of {}", state[layer].len());
        drawing = drawing.add(text(label, [middle, below], "")).add(text(
            &count,
            [middle, below + LINE],
            "soft",
        ));
        let record = model.layer(layer);
        let source = (layer > 0).then(|| usize::from(record.input.get()));
        let column_of = |layer: usize| drawn.iter().position(|&other| other == layer);
        if let Some(source) = source.and_then(column_of) {
            drawing = drawing.add(arrow([left(source) + width, left(column)], source + 1 < column));
        }
        if let Some(source) = record.shortcut().and_then(column_of) {
            drawing = drawing.add(shortcut([left(source) + width / 2.0, middle]));
        }
    }
    let end = left(drawn.len()) - gap + MARGIN;
    let foot = top + height + 3.5 * LINE;
    drawing = drawing.add(legend(foot));
    let wide = end.max(MARGIN * 2.0 + 4.0 * LEGEND);
    let (image, total) = (wide, foot + 3.0 * LINE);
    Document::new()
        .set("viewBox", (0, 0, image, total))
        .set("width", image)
        .set("height", total)
        .set("role", "img")
        .add(Title::new("Rows stream through residual blocks"))
        .add(Style::new(STYLE))
        .add(drawing)
        .add(text(&caption(model, &replay, step), [MARGIN, foot + 2.0 * LINE], "left"))
        .to_string()
}

/// The rows of each layer at a step.
fn rows_at(model: &Model<'_>, replay: &Replay, step: usize) -> Vec<Vec<Row>> {
    let layers = replay.layers.len();
    let mut steps_done = vec![0; layers];
    for &layer in &replay.steps[..=step] {
        steps_done[usize::from(layer)] += 1;
    }
    let now = usize::from(replay.steps[step]);
    let rows_made = |layer: usize, steps: u16| {
        let of = &replay.layers[layer];
        let made = if steps == of.steps { of.rows } else { steps * u16::from(of.step_rows) };
        usize::from(made.min(of.rows))
    };
    let is_stream = |layer: usize| {
        let reads = model.layers().iter().any(|record| record.shortcut() == Some(layer));
        layer == 0 || reads || model.layer(layer).shortcut().is_some()
    };
    // The layer whose row each item has. Later layers update rows in place.
    let mut holder = vec![None; replay.items.len()];
    for (layer, of) in replay.layers.iter().enumerate() {
        for &item in of.places.iter().take(rows_made(layer, steps_done[layer])) {
            holder[item] = Some(layer);
        }
    }
    let row = |layer: usize, y: usize, item: usize| {
        let [from, to] = replay.items[item].life.map(|step| step as usize);
        if holder[item] != Some(layer) || !(from..to).contains(&step) {
            return Row::Free;
        }
        let made = rows_made(layer, steps_done[layer]);
        if y >= made {
            Row::Free
        } else if layer == now && y >= rows_made(layer, steps_done[layer] - 1) {
            Row::Now
        } else if is_stream(layer) {
            Row::Stream
        } else {
            Row::Inner
        }
    };
    let rows = |(layer, of): (usize, &crate::replay::ReplayLayer)| {
        of.places.iter().enumerate().map(|(y, &item)| row(layer, y, item)).collect()
    };
    replay.layers.iter().enumerate().map(rows).collect()
}

fn bars(rows: &[Row], left: f64) -> Group {
    let [top, height] = ROWS;
    let each = height / rows.len() as f64;
    rows.iter().enumerate().fold(Group::new(), |bars, (y, row)| {
        let bar = Rectangle::new()
            .set("class", row.class())
            .set("x", left)
            .set("y", top + y as f64 * each + 0.5)
            .set("width", COLUMN[0])
            .set("height", each - 1.0);
        bars.add(bar)
    })
}

/// From a layer to one that reads it: below the columns in between if there are any.
fn arrow([from, to]: [f64; 2], detour: bool) -> Path {
    let middle = ROWS[0] + ROWS[1] / 2.0;
    let line = match detour {
        false => format!("M{} {middle}H{}", from + 4.0, to - 4.0),
        true => {
            let under = ROWS[0] + ROWS[1] + 5.0;
            format!("M{} {}V{under}H{}V{middle}H{}", from - 8.0, under - 5.0, to - 13.0, to - 4.0)
        }
    };
    Path::new().set("d", format!("{line}m-5 -4l5 4l-5 4"))
}

/// From a layer to the one that adds it.
fn shortcut([from, to]: [f64; 2]) -> Group {
    let [top, above] = [ROWS[0] - 6.0, ROWS[0] - 26.0];
    let path = format!("M{from} {top}V{above}H{}V{top}m-4 -5l4 5l4 -5", to - 6.0);
    let label = text("shortcut", [(from + to) / 2.0, above - 6.0], "soft");
    Group::new().add(Path::new().set("d", path)).add(label)
}

/// Width of an entry of the legend.
const LEGEND: f64 = 200.0;

fn legend(y: f64) -> Group {
    Row::ALL.iter().enumerate().fold(Group::new(), |legend, (entry, (_, class, meaning))| {
        let x = MARGIN + entry as f64 * LEGEND;
        let bar = Rectangle::new().set("class", *class).set("x", x).set("y", y - 9.0);
        let bar = bar.set("width", 16).set("height", 10);
        legend.add(bar).add(text(meaning, [x + 22.0, y], "soft left"))
    })
}

fn text(said: &str, [x, y]: [f64; 2], class: &str) -> Text {
    Text::new(said).set("x", x).set("y", y).set("class", class)
}

/// What the figure shows, with what it takes.
fn caption(model: Model<'_>, replay: &Replay, step: usize) -> String {
    let taken = MemoryMap::new(model).bytes_at(step);
    let whole: usize =
        model.layers().iter().map(|layer| layer.row_bytes() * usize::from(layer.rows.get())).sum();
    format!(
        "Step {} of {} makes rows of {}. {} bytes are in use; all rows of all layers are {} bytes.",
        step + 1,
        replay.steps.len(),
        model.name(usize::from(replay.steps[step])),
        thousands(taken),
        thousands(whole)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_file::ModelFile;

    #[test]
    fn rows_are_in_memory_as_the_memory_map_counts_them() {
        let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
        let model = file.model();
        let (replay, map) = (Replay::new(&model), MemoryMap::new(model));
        for step in 0..replay.steps.len() {
            let state = rows_at(&model, &replay, step);
            for (layer, rows) in state.iter().enumerate() {
                let now = rows.contains(&Row::Now);
                let made = layer == usize::from(replay.steps[step]);
                // A mean makes its row in its last step.
                let makes =
                    made && (replay.layers[layer].step_rows > 0 || !rows.contains(&Row::Free));
                assert_eq!(now, makes, "{step}, {layer}");
            }
            let held: usize = map.held(step).iter().map(|held| held.rows).sum();
            let drawn = state.iter().flatten().filter(|&&row| row != Row::Free).count();
            assert_eq!(drawn, held, "{step}");
        }
    }
}
