//! The kernel that computes a layer, and its work.

use brooklet::Shape;
use brooklet::format::{
    LayerRecord, MAX_STEP_ROWS, Operator, Packing, TILE_ROWS, VECTOR, VECTOR_CHANNELS,
};
use brooklet::ops::Window;
use brooklet::ops::conv::{
    CHUNK_TAPS, PATCH_COLUMNS, Strip, TILE_COLUMNS, TILE_LANES, TILES, TallBlock, TallStrip,
};

/// Work of a kernel for a layer: products, outputs, joined outputs, outputs apart, values, blocks,
/// rows.
pub type Work = [f64; 7];

/// The index of joined outputs.
const JOINED: usize = 2;

/// Kernels, and their names when they multiply unpacked weights. These name four bits; other widths
/// differ by less than one percent.
const UNPACKED: [(&str, &str); 8] = [
    ("ohwi", "ohwi in 4 bits"),
    ("pairs", "pairs in 4 bits"),
    ("eights", "eights in 4 bits"),
    ("eights for few columns", "eights in 4 bits for few columns"),
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

/// Kernels, and their names when they compute the groups of a convolution.
const IN_GROUPS: [(&str, &str); 9] = [
    ("ohwi", "ohwi in groups"),
    ("pairs", "pairs in groups"),
    ("wide pairs", "wide pairs in groups"),
    ("eights", "eights in groups"),
    ("eights for few columns", "eights in groups for few columns"),
    ("vectors", "vectors in groups"),
    ("vectors by three", "vectors in groups by three"),
    ("hwio", "hwio in groups"),
    ("hwio by columns", "hwio in groups by columns"),
];

/// The work for a grouped convolution: that of the convolution of each group, with the number of copied
/// values in place of joined outputs.
fn work_of_groups(layer: &LayerRecord, input: Shape) -> (&'static str, Work) {
    let groups = layer.parameter.get().clamp(1, i32::from(u16::MAX)) as u16;
    let mut part = *layer;
    part.operator = Operator::Conv as u8;
    part.channels.set(layer.channels.get() / groups);
    let of_group = Shape::new(input.rows, input.columns, input.channels / groups);
    let (name, each) = work(&part, of_group);
    let mut all = each.map(|each| each * f64::from(groups));
    let Some((_, name)) = IN_GROUPS.iter().find(|(alone, _)| *alone == name) else {
        return (name, all);
    };
    let rows = usize::from(layer.rows.get()) * usize::from(layer.kernel[0]);
    all[JOINED] = (rows * input.row_bytes() + layer.shape().bytes()) as f64;
    (name, all)
}

/// The work for a depthwise convolution. Some backends sum the products with padding once for a run of
/// columns (*values*), others once for each column (*outputs apart*). *Blocks* are the channels of all
/// runs.
fn work_of_depthwise(layer: &LayerRecord, input: Shape) -> (&'static str, Work) {
    let window = Window::over(input, layer);
    let output = window.output;
    let channels = usize::from(output.channels);
    let taps = window.kernel[0] * window.kernel[1];
    let (mut runs, mut padded_runs, mut padded_columns, mut before) = (0, 0, 0, None);
    for x in 0..usize::from(output.columns) {
        let (on_input, _) = window.columns_on_input(x);
        let padded = usize::from(on_input.len() < window.kernel[1]);
        padded_columns += padded;
        if before.as_ref() != Some(&on_input) {
            runs += 1;
            padded_runs += padded;
        }
        before = Some(on_input);
    }
    let top = usize::from(layer.pads[0]);
    let is_padded = |y: &usize| {
        let first = y * window.stride[0];
        first < top || first + window.kernel[0] > top + usize::from(input.rows)
    };
    let rows = usize::from(output.rows);
    let padded_rows = (0..rows).filter(is_padded).count();
    let padding = |of_row: usize, of_padded_row: usize| {
        ((rows - padded_rows) * of_row + padded_rows * of_padded_row) * channels * taps
    };
    let name = match output.channels == input.channels {
        true => "depthwise",
        false => "depthwise, several outputs",
    };
    let work = [
        output.bytes() * taps,
        output.bytes(),
        0,
        padding(padded_columns, output.columns.into()),
        padding(padded_runs, runs),
        rows * runs * channels,
        rows,
    ];
    (name, work.map(|count| count as f64))
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
            // RV32 multiplies eight columns at once, if a row has more than four.
            let few = columns <= PATCH_COLUMNS;
            let name = if few { "eights for few columns" } else { "eights" };
            (name, patches * taps * channels, patches * taps, patches * chunks * channels)
        }
        Packing::Vectors => {
            let vectors = (kernel_columns * inputs).div_ceil(VECTOR);
            let fours = rows * columns.div_ceil(PATCH_COLUMNS);
            let (name, units) = match vectors % 3 {
                0 => ("vectors by three", kernel_rows * vectors / 3),
                _ => ("vectors", kernel_rows * vectors),
            };
            let products = fours * channels.div_ceil(VECTOR_CHANNELS) * kernel_rows * vectors;
            (name, products, fours * units, fours)
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
    if layer.operator() == Operator::DepthwiseConv {
        return work_of_depthwise(layer, input);
    }
    let output = layer.shape();
    let pixels = usize::from(output.rows) * usize::from(output.columns);
    let under = output.bytes() * usize::from(layer.kernel[0]) * usize::from(layer.kernel[1]);
    let (name, products, values, blocks) = match layer.operator() {
        Operator::Conv => work_of_conv(layer, input),
        Operator::MaxPool => ("max pool", under, 0, 0),
        Operator::WindowAverage => ("window average", under, 0, pixels),
        Operator::AveragePool => ("average pool", input.bytes(), 0, 0),
        Operator::Add => ("add", 0, 0, 0),
        Operator::BatchNorm => ("batch norm", 0, 0, 0),
        Operator::Softmax => ("softmax", 0, 0, 0),
        Operator::Input => ("input", 0, 0, 0),
        Operator::Lookup if layer.parameter.get() == 1 => ("lookup", 0, 0, 0),
        Operator::Lookup => ("lookup, several tables", 0, 0, pixels),
        Operator::Multiply => ("multiply", 0, 0, pixels),
        Operator::Concat => ("concat", 0, 0, pixels),
        Operator::Border => ("border", 0, 0, pixels),
        Operator::GroupedConv | Operator::DepthwiseConv => unreachable!("have functions above"),
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
    if !matches!(layer.operator(), Operator::Conv | Operator::Add) {
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
