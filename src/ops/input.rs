//! The image: unsigned bytes become int8.
//!
//! ```text
//! output[y, x, c] = pixel[y, x, c] − 128                    without a table: no error at all
//! output[y, x, c] = table[c][pixel[y, x, c]]                with one
//! ```
//!
//! A network that takes normalized pixels needs no table: mean and standard deviation are folded
//! into its first convolution, which then has a padding value for each channel.

use zerocopy::{FromBytes, IntoBytes};

use super::{int8, section};
use crate::error::{Fault, Section};
use crate::format::LayerRecord;
use crate::model::Model;

/// The table from pixels to int8, if there is one: 256 entries for each channel.
pub(crate) fn table<'m>(model: &Model<'m>, layer: &LayerRecord) -> Option<&'m [i8]> {
    match layer.table.get() {
        0 => None,
        offset => model.bytes(offset, 256 * usize::from(layer.channels.get())).map(int8),
    }
}

/// Writes a row of pixels as int8; both rows have columns × channels values.
pub(crate) fn convert(pixels: &[u8], channels: usize, table: Option<&[i8]>, output: &mut [i8]) {
    let Some(table) = table else {
        if let Ok(words) = <[u32]>::mut_from_bytes(output.as_mut_bytes())
            && let Ok(pixel_words) = <[u32]>::ref_from_bytes(pixels)
        {
            // Aligned words: not every core loads others at once.
            for (out, &pixels) in words.iter_mut().zip(pixel_words) {
                *out = pixels ^ 0x8080_8080;
            }
            return;
        }
        let (words, rest) = output.as_chunks_mut::<4>();
        let (pixel_words, pixels) = pixels.as_chunks::<4>();
        for (out, &pixels) in words.iter_mut().zip(pixel_words) {
            let word = u32::from_ne_bytes(pixels) ^ 0x8080_8080;
            *out = word.to_ne_bytes().map(|byte| byte as i8);
        }
        for (out, &pixel) in rest.iter_mut().zip(pixels) {
            *out = (pixel ^ 0x80) as i8;
        }
        return;
    };
    let (tables, _) = table.as_chunks::<256>();
    let channels = channels.max(1);
    for (out, pixels) in output.chunks_exact_mut(channels).zip(pixels.chunks_exact(channels)) {
        for ((out, &pixel), table) in out.iter_mut().zip(pixels).zip(tables) {
            *out = table[usize::from(pixel)];
        }
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    if layer.table.get() != 0 {
        let bytes = 256 * usize::from(layer.channels.get());
        section(model, Section::PixelTable, layer.table, bytes, 1)?;
    }
    Ok(())
}
