//! Maximum over a window. Values outside of the input are ignored.
//!
//! ```text
//! output[y, x, c] = clamp(max of input[y·s + ky − top, x·s + kx − left, c] on the input)
//! ```

use super::Window;
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::Clamp;

/// A max-pool, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    /// How it walks over the input; input and output have the same number of channels.
    pub window: Window,
    /// Range of the output.
    pub clamp: Clamp,
}

impl MaxPool {
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        Self { window: Window::of(model, layer), clamp: layer.clamp() }
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let input = model.input_of(layer);
    if input.channels != layer.channels {
        return Err(Fault::Shape);
    }
    if input.zero_point != layer.zero_point || input.scale.get() != layer.scale.get() {
        return Err(Fault::Quantization);
    }
    super::check_window(model, layer)
}
