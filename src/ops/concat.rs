//! The channels of two tensors, one after the other, as in DenseNet (Huang et al. 2017, "Densely
//! Connected Convolutional Networks", section 3).
//!
//! ```text
//! output[y, x] = input[y, x], shortcut[y, x]             of I and of O − I channels
//! ```
//!
//! If an operand's scale or zero point differs from the output's, the layer has a table: 256 values
//! for the input and 256 for the shortcut, each indexed by the byte + 128. More than two operands
//! take several layers. TFLite's `CONCATENATION` for int8 is the form without a table.

use super::{Shortcut, int8, section};
use crate::error::{Fault, Section};
use crate::format::LayerRecord;
use crate::model::Model;
use crate::ops::lookup::Lookup;
use crate::proved::proved;
use crate::shape::Shape;

/// Number of bytes of the table.
pub(super) const TABLE_BYTES: usize = 2 * 256;

/// A concatenation, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Concat<'m> {
    /// Shape of the output.
    pub shape: Shape,
    /// Number of channels of the input, which come first in the output.
    pub inputs: usize,
    /// The tables of the input and of the shortcut, if either has to be converted to another scale.
    pub tables: Option<&'m [[i8; 256]]>,
}

impl<'m> Concat<'m> {
    /// The concatenation of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let table = |offset| proved!(model.bytes(offset, TABLE_BYTES)).unwrap_or(&[]);
        Self {
            shape: layer.shape(),
            inputs: usize::from(model.input_of(layer).channels.get()),
            tables: match layer.table.get() {
                0 => None,
                offset => Some(int8(table(offset)).as_chunks().0),
            },
        }
    }

    /// Makes a row.
    pub fn run(&self, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        let Shortcut::Row { row, .. } = *shortcut else { return };
        let channels = usize::from(self.shape.channels).max(1);
        let others = channels.saturating_sub(self.inputs).max(1);
        // Not zipped: zipping two `ChunksExact` computes the number of chunks with a division,
        // which could be by zero.
        let (mut inputs, mut rows) =
            (input.chunks_exact(self.inputs.max(1)), row.chunks_exact(others));
        for pixel in output.chunks_exact_mut(channels) {
            let (Some(input), Some(shortcut)) = (inputs.next(), rows.next()) else { return };
            let Some((first, second)) = pixel.split_at_mut_checked(self.inputs) else { return };
            self.copy(0, input, first);
            self.copy(1, shortcut, second);
        }
    }

    /// Copies the channels of an operand.
    #[inline(always)]
    fn copy(&self, operand: usize, from: &[i8], to: &mut [i8]) {
        match self.tables.and_then(|tables| tables.get(operand)) {
            None => {
                let pairs = to.iter_mut().zip(from);
                pairs.for_each(|(to, &from)| *to = from);
            }
            Some(table) => {
                let pairs = to.iter_mut().zip(from);
                pairs.for_each(|(to, &from)| *to = Lookup::output(table, from));
            }
        }
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let Some(shortcut) = layer.shortcut() else { return Err(Fault::Operands) };
    let (input, operand) = (model.input_of(layer), model.layer(shortcut));
    let size = |shape: Shape| (shape.rows, shape.columns);
    let channels = u32::from(input.channels.get()) + u32::from(operand.channels.get());
    if size(input.shape()) != size(layer.shape())
        || size(operand.shape()) != size(layer.shape())
        || channels != u32::from(layer.channels.get())
        || layer.shortcut_channels_before != input.channels
        || layer.shortcut_stride != 1
    {
        return Err(Fault::Shape);
    }
    if layer.table.get() != 0 {
        section(model, Section::Table, layer.table, TABLE_BYTES, 1)?;
        return Ok(());
    }
    let alike =
        |of: &LayerRecord| of.zero_point == layer.zero_point && of.scale.get() == layer.scale.get();
    if alike(input) && alike(operand) { Ok(()) } else { Err(Fault::Quantization) }
}
