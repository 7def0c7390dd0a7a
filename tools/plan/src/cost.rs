//! Predicts how many instructions a layer takes, by a linear model of its kernel's work that is
//! fitted to counts of all boards in QEMU.
//!
//! ```text
//! instructions = products · a + outputs · b + joined outputs · c + outputs apart · d
//!              + values · e + blocks · f + rows · g
//! ```
//!
//! *Products* are the multiplications that the kernel computes, with the padding of its blocks;
//! *joined outputs* those to which a shortcut is added; *outputs apart* those that are finished one
//! by one, because the output ends inside their block, or because their shortcut has other columns
//! or channels; *values* those that the kernel first brings into another form; *blocks* the runs of
//! output columns that it computes at once. No coefficient is negative. For layers that read or
//! write int16, values are the kernel rows under outputs. For weights in fewer bits than a byte,
//! the number of unpacked weights takes the place of rows. The coefficients of each backend and
//! kernel are in `costs.json`: all cores that run a backend take the same instructions. The test
//! `costs` compares them with the boards, and fits them again.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use board_build::Spec;
use brooklet::Shape;
use brooklet::format::{LayerRecord, MAX_STEP_ROWS, Operator, Packing, TILE_ROWS, VECTOR};
use brooklet::ops::Window;
use brooklet::ops::conv::{
    CHUNK_TAPS, PATCH_COLUMNS, Strip, TILE_COLUMNS, TILE_LANES, TILES, TallBlock, TallStrip,
};
use serde::{Deserialize, Serialize};

use crate::flash::Flash;

/// Work of a kernel for a layer: products, outputs, joined outputs, outputs apart, values, blocks,
/// rows.
pub type Work = [f64; 7];

/// The coefficients of a backend's kernels, by their names: instructions for each kind of work.
///
/// With them the time that instructions take on a core.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coefficients {
    /// Coefficients by the kernels' names.
    pub kernels: BTreeMap<String, Work>,
    /// The core that runs them.
    ///
    /// The default takes one cycle per instruction, and its flash never waits.
    #[serde(skip)]
    pub core: Core,
}

/// The time that instructions take on a core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Core {
    /// Average number of cycles per instruction of the kernels.
    pub cycles: f64,
    /// Its flash.
    pub flash: Flash,
}

impl Default for Core {
    fn default() -> Self {
        Self { cycles: 1.0, flash: Flash::default() }
    }
}

/// Cycles per instruction of the kernels, by the beginning of the core's name, as `bench --cycles`
/// estimates them for ResNet-8's fastest plan. For RV32 as measured on the RTL of Hazard3, 1.03 to
/// 1.04.
const CYCLES: [(&str, f64); 8] = [
    ("Cortex-M0", 1.3),
    ("Cortex-M33", 1.45),
    ("Cortex-M3", 1.7),
    ("Cortex-M4", 1.45),
    ("Cortex-M7", 0.8),
    ("Cortex-M55", 1.6),
    ("Cortex-M85", 1.6),
    ("RV32", 1.04),
];

impl Core {
    /// The core of a board; one cycle per instruction if its timings are not known.
    pub fn of(spec: &Spec) -> Self {
        Self { cycles: Self::known(spec).unwrap_or(1.0), flash: Flash::of(spec) }
    }

    /// Cycles per instruction of a board's core, if they are known.
    pub fn known(spec: &Spec) -> Option<f64> {
        let known = CYCLES.iter().find(|(core, _)| spec.core.starts_with(core));
        known.map(|(_, cycles)| *cycles)
    }
}

/// The coefficients by the backend's name.
pub type Costs = BTreeMap<String, Coefficients>;

static COSTS: LazyLock<Costs> = LazyLock::new(|| {
    serde_json::from_str(include_str!("costs.json")).expect("the test `costs` wrote it")
});

/// The coefficients of all backends.
pub fn all() -> &'static Costs {
    &COSTS
}

/// The coefficients of the board's kernels, if the costs of its backend are known.
///
/// ```
/// use board_build::Spec;
/// use brooklet_plan::cost;
/// use brooklet_plan::model_file::ModelFile;
/// use brooklet_plan::packing::Kernels;
/// use brooklet_plan::program::Program;
///
/// let board = Spec::read("../../boards/qemu-mps2-an386/board.toml".as_ref()).unwrap();
/// let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
/// let program = Kernels::of(&board).unwrap().packed(Program::read(&file.model()));
/// let layers = program.layers.iter().map(|layer| &layer.record);
/// let instructions = cost::of(&board).unwrap().total(layers).unwrap();
/// assert!((100_000..1_000_000).contains(&instructions), "{instructions}");
/// ```
pub fn of(spec: &Spec) -> Option<Coefficients> {
    let mut core = COSTS.get(&spec.backend)?.clone();
    core.core = Core::of(spec);
    if !spec.makes_several_rows() {
        let several = ["winograd", "hwio tiles", "hwio tall"];
        core.kernels.retain(|name, _| !several.iter().any(|several| name.starts_with(several)));
    }
    Some(core)
}

/// Coefficients to choose packings by: those of the board's backend, or of any backend that runs
/// `packing`.
pub fn similar(spec: &Spec, packing: Packing) -> Coefficients {
    let runs = |core: &&Coefficients| core.kernels.contains_key(packing.name());
    let any = || COSTS.values().find(runs).cloned();
    let similar = of(spec).filter(|core| runs(&core)).or_else(any).unwrap_or_default();
    Coefficients { core: Core::of(spec), ..similar }
}

impl Coefficients {
    /// Whether it has the kernel for this layer.
    pub fn runs(&self, layer: &LayerRecord, input: Shape) -> bool {
        self.kernels.contains_key(work(layer, input).0)
    }

    /// Instructions of a network for one image, from its layers' records; `None` if no kernel of
    /// the core runs one of its layers.
    pub fn total<'l>(&self, layers: impl IntoIterator<Item = &'l LayerRecord>) -> Option<u64> {
        let layers: Vec<&LayerRecord> = layers.into_iter().collect();
        let input = |layer: &LayerRecord| layers[usize::from(layer.input.get())].shape();
        let each = layers.iter().map(|layer| self.instructions(layer, input(layer)));
        each.sum::<Option<f64>>().map(|sum| sum as u64)
    }

    /// Estimated cycles of a network for one image, from its layers' records; `None` if no kernel
    /// of the core runs one of its layers.
    pub fn total_cycles<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l LayerRecord>,
    ) -> Option<f64> {
        let layers: Vec<&LayerRecord> = layers.into_iter().collect();
        let input = |layer: &LayerRecord| layers[usize::from(layer.input.get())].shape();
        layers.iter().map(|layer| self.cycles(layer, input(layer))).sum()
    }

    /// Estimated cycles of a layer for one image: those of its instructions, and those in which the
    /// core waits for flash.
    pub fn cycles(&self, layer: &LayerRecord, input: Shape) -> Option<f64> {
        let Core { cycles, flash } = self.core;
        Some(self.instructions(layer, input)? * cycles + flash.waits(layer, input))
    }

    /// Instructions of a layer for one image, if the core has a kernel for it.
    pub fn instructions(&self, layer: &LayerRecord, input: Shape) -> Option<f64> {
        let (kernel, work) = work(layer, input);
        let each = self.kernels.get(kernel)?;
        Some(each.iter().zip(work).map(|(each, work)| each * work).sum())
    }
}

/// Kernels, and their names when they multiply unpacked weights. These name four bits; other widths
/// differ by less than one percent.
const UNPACKED: [(&str, &str); 7] = [
    ("ohwi", "ohwi in 4 bits"),
    ("pairs", "pairs in 4 bits"),
    ("eights", "eights in 4 bits"),
    ("vectors", "vectors in 4 bits"),
    ("vectors by three", "vectors in 4 bits by three"),
    ("hwio", "hwio in 4 bits"),
    ("hwio by columns", "hwio in 4 bits by columns"),
];

/// The work for a layer whose weights have fewer bits than a byte: the work of all its groups of
/// channels, with the number of unpacked weights in place of rows.
fn work_unpacked(layer: &LayerRecord, input: Shape, unpacked: Packing) -> (&'static str, Work) {
    let [kernel_rows, kernel_columns] = layer.kernel.map(usize::from);
    let kernel = [kernel_rows, kernel_columns * usize::from(input.channels)];
    let channels = usize::from(layer.channels.get());
    let group = layer.packing().group(kernel).min(channels);
    let rows = f64::from(layer.rows.get());
    let part = |channels: usize| {
        let mut part = *layer;
        part.packing = unpacked as u8;
        part.channels.set(channels as u16);
        let (name, [products, outputs, joined, apart, values, blocks, _]) = work(&part, input);
        let unpacked = unpacked.bytes(channels, kernel) as f64;
        (name, [products, outputs, joined, apart, values, blocks, rows * unpacked])
    };
    let (name, each) = part(group);
    let mut all = each.map(|each| each * (channels / group) as f64);
    let rest = channels % group;
    if rest > 0 {
        for (all, rest) in all.iter_mut().zip(part(rest).1) {
            *all += rest;
        }
    }
    let names = UNPACKED.iter().find(|(in_bytes, _)| *in_bytes == name);
    (names.map_or(name, |(_, name)| name), all)
}

/// The work for a grouped convolution: that of the convolution of each group.
fn work_of_groups(layer: &LayerRecord, input: Shape) -> (&'static str, Work) {
    let groups = layer.parameter.get().clamp(1, i32::from(u16::MAX)) as u16;
    let mut part = *layer;
    part.operator = Operator::Conv as u8;
    part.channels.set(layer.channels.get() / groups);
    let input = Shape::new(input.rows, input.columns, input.channels / groups);
    let (name, each) = work(&part, input);
    (name, each.map(|each| each * f64::from(groups)))
}

/// The work for a layer that reads or writes int16, where values are kernel rows under outputs.
fn work_in_int16(layer: &LayerRecord, input: Shape) -> (&'static str, Work) {
    let outputs = layer.shape().bytes();
    let [kernel_rows, kernel_columns] = layer.kernel.map(usize::from);
    let under = outputs * kernel_rows * kernel_columns;
    let joined = if layer.shortcut().is_some() { outputs } else { 0 };
    let (name, work) = match layer.operator() {
        Operator::Conv => {
            let products = under * usize::from(input.channels);
            ("int16", [products, outputs, joined, 0, outputs * kernel_rows, 0, 0])
        }
        Operator::MaxPool => ("int16, max pool", [under, outputs, 0, 0, 0, 0, 0]),
        Operator::AveragePool => ("int16, average pool", [input.bytes(), outputs, 0, 0, 0, 0, 0]),
        // It is the same softmax, except for what it reads.
        Operator::Softmax => ("softmax", [0, outputs, 0, 0, 0, 0, usize::from(layer.rows.get())]),
        _ => ("int16, others", [0, outputs, joined, 0, 0, 0, 0]),
    };
    (name, work.map(|count| count as f64))
}

/// The kernel for a convolution in bytes, and its products, values and blocks.
fn work_of_conv(layer: &LayerRecord, input: Shape) -> (&'static str, usize, usize, usize) {
    let output = layer.shape();
    let [rows, columns, channels] = [output.rows, output.columns, output.channels].map(usize::from);
    let [kernel_rows, kernel_columns] = layer.kernel.map(usize::from);
    let inputs = usize::from(input.channels);
    match layer.packing() {
        Packing::HwioTiles => {
            let inputs = inputs.next_multiple_of(2);
            let spans = rows.div_ceil(TILE_ROWS) * columns.div_ceil(TILES * TILE_COLUMNS);
            let groups = spans * channels.div_ceil(TILE_LANES);
            ("hwio tiles", groups * inputs, spans * inputs.div_ceil(TILE_LANES), groups)
        }
        Packing::HwioTall => {
            let Some(strip) = TallStrip::of(&Window::over(input, layer)) else {
                let groups = rows.div_ceil(TILE_ROWS) * channels.div_ceil(TallStrip::COLUMNS);
                let (blocks, pairs) =
                    (columns.div_ceil(TallBlock::COLUMNS), (3 * inputs).div_ceil(2));
                let weights = groups * blocks * pairs;
                return (
                    "hwio tall by channels",
                    groups * columns * pairs,
                    weights,
                    groups * columns,
                );
            };
            let steps = rows.div_ceil(MAX_STEP_ROWS);
            let strips = steps * columns.div_ceil(TallStrip::COLUMNS);
            // Vectors that 128 bits take.
            let lanes = steps * (2 * columns).div_ceil(TallStrip::COLUMNS);
            let pairs = strip.vectors * strip.times;
            ("hwio tall", lanes * pairs * channels, strips * strip.vectors, strips * channels)
        }
        packing @ (Packing::Winograd | Packing::WinogradInt8 | Packing::WinogradInt8Tall) => {
            let inputs = inputs.next_multiple_of(4);
            let spans = rows.div_ceil(TILE_ROWS) * columns.div_ceil(TILES * TILE_COLUMNS);
            let groups = channels.div_ceil(4);
            let (products, values) = (groups * spans * inputs, spans * inputs);
            if packing.is_winograd_int8() {
                let steps = rows.div_ceil(packing.rows_a_step());
                ("winograd int8", products, values, steps * groups * inputs)
            } else {
                ("winograd", products, values, spans * groups)
            }
        }
        Packing::Hwio => {
            let window = Window::over(input, layer);
            let strip = Strip::of(&window);
            let pairs = kernel_rows * (kernel_columns * inputs).div_ceil(2);
            // Which of columns and channels have lanes, and which have sums in registers.
            let (lanes, sums) = match strip.lanes {
                true => (columns, channels),
                false => (channels, columns),
            };
            let groups = rows * lanes.div_ceil(Strip::LANES);
            let blocks = groups * sums.div_ceil(Strip::SUMS);
            let name = if strip.lanes { "hwio by columns" } else { "hwio" };
            (name, groups * sums * pairs, blocks * pairs, blocks)
        }
        packing @ (Packing::Pairs | Packing::WidePairs) => {
            let taps = kernel_rows * (kernel_columns * inputs).next_multiple_of(4);
            let patches = rows * columns.div_ceil(PATCH_COLUMNS);
            let pairs = channels.div_ceil(2);
            let name = if packing == Packing::Pairs { "pairs" } else { "wide pairs" };
            (name, patches * pairs * taps, patches * taps, patches)
        }
        Packing::Eights => {
            let taps = kernel_rows * (kernel_columns * inputs).next_multiple_of(2);
            let patches = rows * columns.div_ceil(PATCH_COLUMNS);
            let chunks = taps.div_ceil(CHUNK_TAPS);
            ("eights", patches * taps * channels, patches * taps, patches * chunks * channels)
        }
        Packing::Vectors => {
            let vectors = kernel_rows * (kernel_columns * inputs).div_ceil(VECTOR);
            let fours = rows * columns.div_ceil(PATCH_COLUMNS);
            let three = kernel_columns == 3 && layer.stride[1] == 1 && inputs % VECTOR == 0;
            let name = if three { "vectors by three" } else { "vectors" };
            (name, fours * channels.div_ceil(2) * vectors, fours * vectors, fours)
        }
        // Weights in fewer bits than a byte are handled above.
        _ => {
            let taps = kernel_rows * kernel_columns * inputs;
            let values = rows * columns * kernel_rows;
            let products = values * kernel_columns * inputs * channels;
            ("ohwi", products, values * channels, channels * taps)
        }
    }
}

/// The kernel that computes a layer, and its work for one image.
pub fn work(layer: &LayerRecord, input: Shape) -> (&'static str, Work) {
    if let (Operator::Conv, Some(unpacked)) = (layer.operator(), layer.packing().unpacked()) {
        return work_unpacked(layer, input, unpacked);
    }
    if layer.has_int16() {
        return work_in_int16(layer, input);
    }
    if layer.operator() == Operator::GroupedConv {
        return work_of_groups(layer, input);
    }
    let output = layer.shape();
    let [kernel_rows, kernel_columns] = layer.kernel.map(usize::from);
    let (name, products, values, blocks) = match layer.operator() {
        Operator::Conv => work_of_conv(layer, input),
        Operator::MaxPool => ("max pool", output.bytes() * kernel_rows * kernel_columns, 0, 0),
        Operator::AveragePool => ("average pool", input.bytes(), 0, 0),
        Operator::Add => ("add", 0, 0, 0),
        Operator::BatchNorm => ("batch norm", 0, 0, 0),
        Operator::Softmax => ("softmax", 0, 0, 0),
        Operator::Input => ("input", 0, 0, 0),
        Operator::DepthwiseConv => {
            ("depthwise", output.bytes() * kernel_rows * kernel_columns, 0, 0)
        }
        Operator::WindowAverage => {
            ("window average", output.bytes() * kernel_rows * kernel_columns, 0, 0)
        }
        Operator::Lookup => ("lookup", 0, 0, 0),
        Operator::Multiply => ("multiply", 0, 0, 0),
        Operator::Concat => ("concat", 0, 0, 0),
        Operator::Border => ("border", 0, 0, 0),
        Operator::GroupedConv => unreachable!("is the work of its groups"),
    };
    let outputs = output.bytes();
    let joined = if layer.shortcut().is_some() { outputs } else { 0 };
    let rows = usize::from(output.rows);
    let work = [products, outputs, joined, apart(layer), values, blocks, rows];
    (name, work.map(|count| count as f64))
}

/// Number of outputs of a layer that its kernel finishes one by one.
fn apart(layer: &LayerRecord) -> usize {
    let output = layer.shape();
    let [rows, columns, channels] = [output.rows, output.columns, output.channels].map(usize::from);
    let joins = layer.shortcut().is_some();
    if layer.operator() != Operator::Conv {
        return 0;
    }
    if joins && (layer.shortcut_stride > 1 || layer.shortcut_channels_before.get() > 0) {
        return output.bytes();
    }
    // The columns of a row in its last span, if a tile in that is not whole.
    let in_span = match columns.is_multiple_of(TILE_COLUMNS) {
        true => 0,
        false => columns % (TILES * TILE_COLUMNS),
    };
    let last_rows = rows % TILE_ROWS;
    let pixels = match layer.packing() {
        Packing::Pairs | Packing::WidePairs => rows * (columns % PATCH_COLUMNS),
        Packing::Winograd | Packing::WinogradInt8 | Packing::WinogradInt8Tall if joins => {
            (rows - last_rows) * in_span + last_rows * columns
        }
        _ => 0,
    };
    pixels * channels
}
