//! How an image becomes the rows that a network takes.

use brooklet::format::PreprocessingRecord;
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{F32, U16};

/// From an image to the network's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Length of the shorter side after resizing (bilinear with antialiasing), in pixels.
    pub resize: Option<u32>,
    /// Height and width of the part that is cut from the centre after that.
    pub crop: Option<[u32; 2]>,
    /// For each channel, of pixel / 255; default 0 if there is a `std`.
    pub mean: Option<[f32; 3]>,
    /// For each channel, of pixel / 255; default 1 if there is a `mean`.
    pub std: Option<[f32; 3]>,
}

impl Preprocess {
    /// What the float network takes for a pixel of this channel: (pixel / 255 − mean) / std, or
    /// the pixel itself if there is neither mean nor std.
    pub fn normalize(&self, pixel: u8, channel: usize) -> f32 {
        if self.mean.is_none() && self.std.is_none() {
            return f32::from(pixel);
        }
        let mean = self.mean.map_or(0.0, |mean| mean[channel.min(2)]);
        let std = self.std.map_or(1.0, |std| std[channel.min(2)]);
        (f32::from(pixel) / 255.0 - mean) / std
    }
}

/// The record of a preprocessing.
pub fn to_record(preprocess: &Preprocess) -> PreprocessingRecord {
    let normalized = preprocess.mean.is_some() || preprocess.std.is_some();
    let [rows, columns] = preprocess.crop.unwrap_or([0, 0]);
    PreprocessingRecord {
        resize: U16::new(preprocess.resize.unwrap_or(0) as u16),
        crop_rows: U16::new(rows as u16),
        crop_columns: U16::new(columns as u16),
        normalized: U16::new(normalized.into()),
        mean: preprocess.mean.unwrap_or([0.0; 3]).map(F32::new),
        std: preprocess.std.unwrap_or([1.0; 3]).map(F32::new),
    }
}

pub(crate) fn from_record(record: &PreprocessingRecord) -> Preprocess {
    let normalized = record.normalized.get() != 0;
    let some = |n: u16| (n != 0).then_some(u32::from(n));
    Preprocess {
        resize: some(record.resize.get()),
        crop: some(record.crop_rows.get())
            .zip(some(record.crop_columns.get()))
            .map(<[u32; 2]>::from),
        mean: normalized.then(|| record.mean.map(|m| m.get())),
        std: normalized.then(|| record.std.map(|s| s.get())),
    }
}
