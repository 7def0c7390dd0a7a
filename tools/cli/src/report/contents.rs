//! What is in a model file.

use std::collections::BTreeSet;
use std::fmt;

use brooklet::{ARENA_ALIGN, Model, ops};
use brooklet_firmware::Spec;
use brooklet_plan::cost::Coefficients;
use brooklet_plan::model_file::session_bytes;
use brooklet_plan::records::kind;
use brooklet_plan::test_image::TestImage;
use schemars::JsonSchema;
use serde::Serialize;

use super::count::Time;
use super::schema::Reported;
use super::{fitted, table, thousands};

/// What is in a model file. Sizes are in bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Contents {
    /// Size of the whole file.
    pub(crate) model_bytes: usize,
    /// Size of rows and scratch memory.
    pub(crate) arena_bytes: usize,
    /// Size of the session on this host, without the arena.
    pub(crate) session_bytes: usize,
    /// Multiply-accumulates per image.
    pub(crate) macs: u64,
    /// Instructions per image on the given board, as the planner predicts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
    /// Predicted time at the board's clock; a lower bound if the core's timings are not known.
    #[serde(flatten)]
    pub(crate) time: Option<Time>,
    /// Clock of the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_hz: Option<u32>,
    /// The board, if the prediction is for the file as `flash` packs it for this board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) packed_for: Option<String>,
    /// Size of the weights of all layers.
    pub(crate) weight_bytes: usize,
    /// Rows, columns, channels of the image.
    pub(crate) input: [u16; 3],
    /// Number of classes.
    pub(crate) classes: usize,
    /// Rows and columns of the answer, if it is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) map: Option<[u16; 2]>,
    /// Number of test images that the file carries.
    pub(crate) test_images: usize,
    /// Size of the test images in the file.
    pub(crate) test_image_bytes: usize,
    /// The layers, the input first.
    pub(crate) layers: Vec<LayerContents>,
}

/// A layer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LayerContents {
    /// Its name.
    pub(crate) name: String,
    /// Kind of the layer.
    pub(crate) kind: &'static str,
    /// The segment in which it runs.
    pub(crate) segment: usize,
    /// Rows, columns, channels of the output.
    pub(crate) shape: [u16; 3],
    /// Scale of the output.
    pub(crate) scale: f32,
    /// Zero point of the output.
    pub(crate) zero_point: i8,
    /// Bits of each number of the output: 8 or 16.
    pub(crate) activation_bits: u32,
    /// Multiply-accumulates per image.
    pub(crate) macs: u64,
    /// Instructions per image on the given board, as the planner predicts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
    /// Bytes of weights.
    pub(crate) weight_bytes: usize,
    /// Bits of a weight.
    pub(crate) weight_bits: Option<u32>,
    /// Order of the weights.
    pub(crate) packing: Option<&'static str>,
    /// Number of different places of the output's rows. The rows share these places as a ring.
    pub(crate) ring_rows: usize,
    /// The places: offsets in the arena.
    pub(crate) arena_offsets: Vec<usize>,
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
    /// Whether the output overwrites the shortcut.
    pub(crate) in_place: bool,
    /// Bytes of scratch memory.
    pub(crate) scratch_bytes: usize,
}

/// The different places of a layer's rows, the lowest first.
fn offsets(model: &Model<'_>, layer: usize) -> Vec<usize> {
    let rows = 0..model.layer(layer).rows.get();
    rows.map(|y| model.row(layer, y).start).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Number of ranges of the arena that a line has room for.
const SHOWN: usize = 3;

/// Ranges of the arena, in which neighbouring rows are joined: `0..512, 1024..2048`.
fn ranges(offsets: &[usize], row_bytes: usize) -> String {
    let apart = |a: &usize, b: &usize| *b == *a + row_bytes.next_multiple_of(ARENA_ALIGN);
    let range = |run: &[usize]| format!("{}..{}", run[0], run[run.len() - 1] + row_bytes);
    let mut ranges: Vec<String> = offsets.chunk_by(apart).map(range).collect();
    if ranges.len() > SHOWN + 1 {
        let more = format!("and {} more", ranges.len() - SHOWN);
        ranges.splice(SHOWN.., [more]);
    }
    ranges.join(" ")
}

impl Contents {
    /// The report on a model.
    pub(crate) fn new(model: &Model<'_>) -> Self {
        let graph = model.graph();
        let segments = 0..graph.segments.len();
        let layers: Vec<LayerContents> = segments
            .flat_map(|segment| graph.segment(segment).map(move |index| (segment, index)))
            .map(|(segment, index)| {
                let record = model.layer(index);
                let shape = record.shape();
                let arena_offsets = offsets(model, index);
                LayerContents {
                    name: model.name(index).to_owned(),
                    kind: kind(record),
                    segment,
                    shape: [shape.rows, shape.columns, shape.channels],
                    scale: record.scale.get(),
                    zero_point: record.zero_point,
                    macs: graph.macs(index),
                    instructions: None,
                    weight_bytes: graph.weight_bytes(index),
                    weight_bits: match record.operator() {
                        operator if operator.has_packing() => Some(record.packing().bits()),
                        operator if operator.has_channels() => Some(8),
                        _ => None,
                    },
                    packing: record.operator().has_packing().then(|| record.packing().name()),
                    ring_rows: arena_offsets.len(),
                    arena_offsets,
                    row_bytes: record.row_bytes(),
                    activation_bits: if record.is_int16() || record.is_stream16() { 16 } else { 8 },
                    in_place: record.shortcut().is_some_and(|shortcut| {
                        model.row(shortcut, 0).start == model.row(index, 0).start
                    }),
                    scratch_bytes: ops::scratch_bytes(record, model.input_of(record).shape()),
                }
            })
            .collect();
        let (input, answer) = (model.input(), model.layer(model.logits()).shape());
        Self {
            model_bytes: model.file().len(),
            arena_bytes: model.arena_bytes(),
            session_bytes: session_bytes(),
            macs: layers.iter().map(|layer| layer.macs).sum(),
            instructions: None,
            time: None,
            clock_hz: None,
            packed_for: None,
            weight_bytes: layers.iter().map(|layer| layer.weight_bytes).sum(),
            input: [input.rows, input.columns, input.channels],
            classes: model.classes(),
            map: model.ends_in_map().then_some([answer.rows, answer.columns]),
            test_images: model.test_images().len(),
            test_image_bytes: TestImage::write(&TestImage::read(model)).len(),
            layers,
        }
    }

    /// Adds the instructions on a board whose core has these costs, and the time that they take.
    pub(crate) fn on(mut self, model: &Model<'_>, spec: &Spec, costs: &Coefficients) -> Self {
        for (layer, record) in self.layers.iter_mut().zip(model.layers()) {
            let instructions = costs.instructions(record, model.input_of(record).shape());
            layer.instructions = instructions.map(|count| count as u64);
        }
        self.instructions = costs.total(model.layers());
        self.time = Time::of(spec, costs, model.layers());
        self.clock_hz = self.time.map(|_| spec.clock_hz);
        self
    }
}

/// Columns of the table in the order in which a narrow terminal drops them: segment, zero point,
/// scale, scratch memory, places, packing, bits, rows, kind.
const LEAST: [usize; 9] = [10, 4, 3, 13, 12, 9, 8, 11, 1];

impl Reported for Contents {
    const NAME: &str = "inspect";
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(
            [
                "layer",
                "kind",
                "output",
                "scale",
                "zero",
                "MACs",
                "instructions",
                "weights",
                "bits",
                "packing",
                "seg",
                "rows",
                "arena",
                "scratch",
            ],
            &[0, 1, 2, 9, 12],
        );
        for layer in &self.layers {
            let [rows, columns, channels] = layer.shape;
            let int16 = if layer.activation_bits == 16 { " int16" } else { "" };
            let mut place = ranges(&layer.arena_offsets, layer.row_bytes);
            if layer.in_place {
                place += " in place";
            }
            table.add_row([
                layer.name.clone(),
                layer.kind.to_owned(),
                format!("{rows}x{columns}x{channels}{int16}"),
                format!("{:.6}", layer.scale),
                layer.zero_point.to_string(),
                thousands(layer.macs),
                layer.instructions.map_or(String::new(), thousands),
                thousands(layer.weight_bytes),
                layer.weight_bits.map_or(String::new(), |bits| bits.to_string()),
                layer.packing.unwrap_or("").to_owned(),
                layer.segment.to_string(),
                layer.ring_rows.to_string(),
                place,
                layer.scratch_bytes.to_string(),
            ]);
        }
        let [rows, columns, channels] = self.input;
        writeln!(f, "{}\n", fitted(table, &LEAST))?;
        let cells = self.map.map(|[rows, columns]| format!("{rows}x{columns} cells of "));
        let (cells, classes) = (cells.unwrap_or_default(), self.classes);
        writeln!(f, "input         {rows}x{columns}x{channels}, {cells}{classes} classes")?;
        writeln!(f, "MACs          {}", thousands(self.macs))?;
        if let Some(instructions) = self.instructions {
            let packed = self.packed_for.as_ref().map(|board| {
                format!(" for the file packed for {board}, as `flash` and `bench` do")
            });
            let packed = packed.unwrap_or_default();
            writeln!(f, "instructions  {}, predicted{packed}", thousands(instructions))?;
        }
        if let (Some(time), Some(hz)) = (self.time, self.clock_hz) {
            writeln!(f, "time          {}", time.at(hz))?;
        }
        writeln!(
            f,
            "model file    {} bytes, {} of them weights",
            thousands(self.model_bytes),
            thousands(self.weight_bytes)
        )?;
        if self.test_images > 0 {
            let bytes = thousands(self.test_image_bytes);
            writeln!(f, "self-test     {} images, {bytes} bytes", self.test_images)?;
        }
        writeln!(f, "arena         {} bytes", thousands(self.arena_bytes))?;
        writeln!(f, "session       {} bytes on this host", thousands(self.session_bytes))
    }
}
