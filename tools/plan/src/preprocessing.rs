//! How an image becomes the rows that a network takes.

use brooklet::format::PreprocessingRecord;
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{F32, U16};

/// The size that an image is resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resize {
    /// The shorter side has this number of pixels; the aspect ratio is kept.
    Shorter(u32),
    /// Height and width, whatever the aspect ratio was.
    To([u32; 2]),
}

impl Resize {
    /// The numbers of pixels.
    pub fn sides(&self) -> &[u32] {
        match self {
            Self::Shorter(side) => std::slice::from_ref(side),
            Self::To(sides) => sides,
        }
    }
}

/// From an image to the network's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Size after resizing (bilinear with antialiasing), in pixels.
    pub resize: Option<Resize>,
    /// Height and width to which the centre is cropped after that.
    pub crop: Option<[u32; 2]>,
    /// Mean of pixel / 255 for each channel; 0 by default if there is a `std`.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of pixel / 255 for each channel; 1 by default if there is a `mean`.
    pub std: Option<[f32; 3]>,
}

impl Preprocess {
    /// The number that the float network takes for a pixel of this channel: (pixel / 255 − mean) /
    /// std, or the pixel itself if there is neither mean nor std.
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
    let [resize_rows, resize_columns] = match preprocess.resize {
        Some(Resize::To(size)) => size,
        Some(Resize::Shorter(side)) => [side, 0],
        None => [0, 0],
    };
    PreprocessingRecord {
        resize: U16::new(resize_rows as u16),
        crop_rows: U16::new(rows as u16),
        crop_columns: U16::new(columns as u16),
        settings: U16::new(2 * resize_columns as u16 + u16::from(normalized)),
        mean: preprocess.mean.unwrap_or([0.0; 3]).map(F32::new),
        std: preprocess.std.unwrap_or([1.0; 3]).map(F32::new),
    }
}

/// The preprocessing of a record.
pub fn from_record(record: &PreprocessingRecord) -> Preprocess {
    let normalized = record.is_normalized();
    let some = |n: u16| (n != 0).then_some(u32::from(n));
    let resize = |rows: u32| match some(record.resize_columns()) {
        Some(columns) => Resize::To([rows, columns]),
        None => Resize::Shorter(rows),
    };
    Preprocess {
        resize: some(record.resize.get()).map(resize),
        crop: some(record.crop_rows.get())
            .zip(some(record.crop_columns.get()))
            .map(<[u32; 2]>::from),
        mean: normalized.then(|| record.mean.map(|m| m.get())),
        std: normalized.then(|| record.std.map(|s| s.get())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_said() {
        let most = u32::from(PreprocessingRecord::MAX_RESIZE);
        let resizes = [Resize::Shorter(256), Resize::To([96, 128]), Resize::To([most, most])];
        for resize in resizes.into_iter().map(Some).chain([None]) {
            for mean in [None, Some([0.5; 3])] {
                let std = mean.map(|_| [0.25; 3]);
                let preprocess = Preprocess { resize, crop: Some([64, 65]), mean, std };
                assert_eq!(from_record(&to_record(&preprocess)), preprocess);
                let json = serde_json::to_string(&preprocess).unwrap();
                assert_eq!(
                    serde_json::from_str::<Preprocess>(&json).unwrap(),
                    preprocess,
                    "{json}"
                );
            }
        }
    }
}
