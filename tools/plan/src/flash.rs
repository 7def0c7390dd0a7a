//! The cost of weights in flash: the bytes that a layer reads there, and the cycles that its core
//! waits for them.
//!
//! ```text
//! a step:  the weights are read as often as the kernel begins anew with them: `passes`
//! bytes = steps · (weights + (passes − 1) · missed)
//! ```
//!
//! Other layers run between the steps of a layer, so the first pass of a step finds nothing in the
//! cache. *Missed* is the part that the cache does not keep for a later pass: nothing, if the
//! weights fit beside the code; all of them, if they are more than one and a half times as large as
//! that room. In between, some sets of a two-way cache have to hold three lines; if these are read
//! in turn, such a set keeps none of them.

use board_build::Spec;
use brooklet::Shape;
use brooklet::format::{LayerRecord, Operator, Packing};
use brooklet::kernels::Isa;
use brooklet::ops::Window;
use brooklet::ops::conv::{PATCH_COLUMNS, SPANS, Strip, TILE_COLUMNS, TILES, TallBlock, TallStrip};

/// Bytes of the cache that the code of a kernel and the tables for finishing outputs take.
const CODE_BYTES: f64 = 2048.0;

/// Lines that are read for each line of weights: weights displace code and tables, which are then
/// read again. Fitted to plans of ResNet-8 on RV32, whose reads a simulated cache counted.
const LINES: f64 = 1.5;

/// How a core reads its flash; the default never waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flash {
    /// Cycles that it waits for a line that is not in the cache.
    pub wait: f64,
    /// Size of a line in bytes.
    pub line: f64,
    /// Size of the cache in bytes.
    pub cache: f64,
    /// [Number of columns](Isa::columns) for which kernels load a weight once.
    pub columns: usize,
}

impl Default for Flash {
    fn default() -> Self {
        Self { wait: 0.0, line: 1.0, cache: 0.0, columns: PATCH_COLUMNS }
    }
}

/// How a layer reads its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reads {
    /// Size of a part that is read from start to end, and then again.
    bytes: f64,
    /// Number of times that a part is read in a step.
    passes: f64,
    /// Number of such parts, which are groups of channels, read one after another.
    parts: f64,
}

impl Flash {
    /// The flash of a board.
    pub fn of(spec: &Spec) -> Self {
        let [wait, line, cache] =
            [spec.flash_wait, spec.flash_line, spec.flash_cache].map(f64::from);
        let columns = Isa::of_device(&spec.backend).map_or(PATCH_COLUMNS, |isa| isa.columns);
        Self { wait, line: line.max(1.0), cache, columns }
    }

    /// Cycles that the core waits for a layer's weights for one image.
    pub fn waits(&self, layer: &LayerRecord, input: Shape) -> f64 {
        LINES * self.bytes_read(layer, input) / self.line * self.wait
    }

    /// Bytes of weights that a layer reads from flash, not from the cache, for one image.
    pub fn bytes_read(&self, layer: &LayerRecord, input: Shape) -> f64 {
        if !layer.operator().has_packing() && layer.operator() != Operator::DepthwiseConv {
            return 0.0;
        }
        let steps = usize::from(layer.rows.get()).div_ceil(layer.packing().rows_a_step());
        let Reads { bytes, passes, parts } = reads(layer, input, self.columns);
        // Each part finds as little of itself in the cache as the first one did.
        steps as f64 * parts * (bytes + (passes - 1.0).max(0.0) * self.missed(bytes))
    }

    /// The number of these bytes that the cache has not kept when they are read again.
    fn missed(&self, bytes: f64) -> f64 {
        let room = (self.cache - CODE_BYTES).max(0.0);
        (3.0 * (bytes - room)).clamp(0.0, bytes)
    }
}

/// How a layer reads its weights in a step. `at_once` is the [number of columns](Flash::columns).
fn reads(layer: &LayerRecord, input: Shape, at_once: usize) -> Reads {
    let groups = match layer.operator() {
        Operator::GroupedConv => layer.parameter.get().max(1) as usize,
        _ => 1,
    };
    let window = Window::over(input, layer);
    let [columns, all] = [window.output.columns, window.output.channels].map(usize::from);
    let [rows, across] = window.kernel;
    if layer.operator() == Operator::DepthwiseConv {
        return Reads { bytes: (rows * across * all) as f64, passes: columns as f64, parts: 1.0 };
    }
    let channels = all / groups;
    let packing = layer.packing();
    let kernel = [rows, across * usize::from(input.channels) / groups];
    let bytes = packing.bytes(channels, kernel);
    let spans = columns.div_ceil(TILES * TILE_COLUMNS);
    let (parts, passes) = match packing {
        _ if layer.has_int16() => (1, columns),
        // They are unpacked once per row, or transformed once per step.
        _ if packing.unpacked().is_some() => (1, 1),
        Packing::WinogradInt8 | Packing::WinogradInt8Tall => (1, 1),
        Packing::Winograd => (1, spans.div_ceil(SPANS)),
        Packing::HwioTiles => (1, spans),
        Packing::HwioTall => match TallStrip::of(&window) {
            Some(_) => (1, columns.div_ceil(TallStrip::COLUMNS)),
            // Both rows of tiles read them.
            None => (1, 2 * columns.div_ceil(TallBlock::COLUMNS)),
        },
        Packing::Pairs | Packing::WidePairs | Packing::Eights | Packing::Vectors => {
            (1, columns.div_ceil(at_once))
        }
        Packing::Hwio => {
            let strip = Strip::of(&window);
            match strip.lanes {
                true => (1, columns.div_ceil(Strip::LANES)),
                false => (channels.div_ceil(Strip::LANES), columns.div_ceil(Strip::SUMS)),
            }
        }
        _ => (1, columns),
    };
    let parts = parts.max(1);
    Reads {
        bytes: bytes as f64 / parts as f64,
        passes: passes as f64,
        parts: (parts * groups) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLASH: Flash = Flash { wait: 20.0, line: 8.0, cache: 16_384.0, columns: PATCH_COLUMNS };

    /// A convolution from 16 channels to 16, with 32 rows of 32 columns.
    fn conv(packing: Packing) -> (LayerRecord, Shape) {
        let mut layer = LayerRecord::new();
        layer.operator = Operator::Conv as u8;
        layer.packing = packing as u8;
        (layer.kernel, layer.stride) = ([3, 3], [1, 1]);
        for (field, value) in
            [(&mut layer.rows, 32), (&mut layer.columns, 32), (&mut layer.channels, 16)]
        {
            field.set(value);
        }
        (layer, Shape::new(32, 32, 16))
    }

    #[test]
    fn weights_are_read_as_often_as_the_kernel_begins_anew() {
        let read = |packing: Packing, flash: Flash| {
            let (layer, input) = conv(packing);
            flash.bytes_read(&layer, input)
        };
        let none = Flash { cache: 0.0, ..FLASH };
        // 36 int16 per kernel, two times two spans per row of tiles, and eight such rows.
        assert_eq!(read(Packing::Winograd, none), 8.0 * 2.0 * 18_432.0);
        assert_eq!(read(Packing::WinogradInt8, none), 8.0 * 2_304.0);
        // Four columns at a time.
        assert_eq!(read(Packing::Eights, none), 32.0 * 8.0 * 2_304.0);
        assert_eq!(read(Packing::Eights, Flash { columns: 8, ..none }), 32.0 * 4.0 * 2_304.0);
        // These weights fit into the cache; the next ones do not.
        assert_eq!(read(Packing::Eights, FLASH), 32.0 * 2_304.0);
        // A part of these is missed: three bytes for each byte that does not fit, in the later
        // pass.
        let missed = 3.0 * (18_432.0 - (FLASH.cache - CODE_BYTES));
        assert_eq!(read(Packing::Winograd, FLASH), 8.0 * (18_432.0 + missed));
        let larger = Flash { cache: 32_768.0, ..FLASH };
        assert_eq!(read(Packing::Winograd, larger), 8.0 * 18_432.0);
    }

    #[test]
    fn a_flash_that_never_waits_costs_nothing() {
        let (layer, input) = conv(Packing::Winograd);
        assert_eq!(Flash::default().waits(&layer, input), 0.0);
        let lines = FLASH.bytes_read(&layer, input) / FLASH.line;
        assert_eq!(FLASH.waits(&layer, input), LINES * lines * FLASH.wait);
    }

    #[test]
    fn a_cache_keeps_the_less_the_more_is_too_much() {
        let missed = [14_336.0, 15_360.0, 16_384.0, 21_504.0, 30_000.0].map(|b| FLASH.missed(b));
        assert_eq!(missed, [0.0, 3_072.0, 6_144.0, 21_504.0, 30_000.0]);
    }
}
