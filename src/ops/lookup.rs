//! A function of one value, given by a table: PReLU and leaky ReLU, hard-swish, SiLU, sigmoid,
//! tanh, ELU, or a change of scale.
//!
//! ```text
//! output[y, x, c] = table[c][input[y, x, c] + 128]
//! ```
//!
//! If all channels share one table, the output may divide a row otherwise into columns and channels:
//! a row of 30 columns and 8 channels can become one pixel of 240 channels. So a linear layer can
//! read more columns than a kernel has. Its kernel then has one column.
//!
//! All channels share one table, or the record gives the index of each channel's table, as for a
//! PReLU with several slopes (He et al. 2015, "Delving Deep into Rectifiers", section 2.1). For a
//! network from TFLite, the tool that makes the table rounds as TFLite does.

use super::{int8, section};
use crate::error::{Fault, Section};
use crate::format::{LayerRecord, WEIGHTS_ALIGN};
use crate::model::Model;
use crate::proved::proved;
use crate::shape::Shape;

/// Largest number of tables, because a channel's table index is one byte.
pub const MAX_TABLES: usize = 256;

/// A lookup, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'m> {
    /// Shape of the output, and of the input if there are several tables.
    pub shape: Shape,
    /// The tables, each indexed by the input's byte + 128.
    pub tables: &'m [[i8; 256]],
    /// The index of each channel's table; empty if there is only one table.
    pub numbers: &'m [u8],
}

/// The number of tables in a record.
fn tables(layer: &LayerRecord) -> usize {
    usize::try_from(layer.parameter.get()).unwrap_or(0)
}

/// Number of bytes of the table indices.
pub(super) fn number_bytes(layer: &LayerRecord) -> usize {
    if tables(layer) > 1 { usize::from(layer.channels.get()) } else { 0 }
}

/// Number of bytes of the tables.
pub(super) fn table_bytes(layer: &LayerRecord) -> u64 {
    256 * tables(layer) as u64
}

impl<'m> Lookup<'m> {
    /// The lookup of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let bytes = |offset: u32, bytes: usize| proved!(model.bytes(offset, bytes)).unwrap_or(&[]);
        let (tables, _) = int8(bytes(layer.table.get(), table_bytes(layer) as usize)).as_chunks();
        let numbers = match number_bytes(layer) {
            0 => &[],
            count => bytes(layer.weights.get(), count),
        };
        Self { shape: layer.shape(), tables, numbers }
    }

    /// The table of channel `c`.
    #[inline(always)]
    pub fn table(&self, c: usize) -> &'m [i8; 256] {
        let number = self.numbers.get(c).copied().unwrap_or(0);
        proved!(self.tables.get(usize::from(number))).unwrap_or(&[0; 256])
    }

    /// The output for `input` from a table.
    #[inline(always)]
    pub fn output(table: &[i8; 256], input: i8) -> i8 {
        table[usize::from((input as u8) ^ 0x80)]
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let (input, output) = (model.input_of(layer).shape(), layer.shape());
    // With one table for all channels, a row is only a number of bytes.
    let fits = match tables(layer) {
        1 => input.rows == output.rows && input.row_bytes() == output.row_bytes(),
        _ => input == output,
    };
    if !fits {
        return Err(Fault::Shape);
    }
    if !(1..=MAX_TABLES).contains(&tables(layer)) {
        return Err(Fault::OutOfBounds(Section::Table));
    }
    section(model, Section::Table, layer.table, table_bytes(layer) as usize, 1)?;
    let count = number_bytes(layer);
    if count == 0 {
        return if layer.weights.get() == 0 { Ok(()) } else { Err(Fault::Unused) };
    }
    let numbers = section(model, Section::Weights, layer.weights, count, WEIGHTS_ALIGN)?;
    match numbers.iter().all(|&number| usize::from(number) < tables(layer)) {
        true => Ok(()),
        false => Err(Fault::OutOfBounds(Section::Table)),
    }
}
