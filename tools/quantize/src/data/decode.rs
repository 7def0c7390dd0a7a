//! Decodes and resizes images of the usual formats in bounded memory, as a few kilobytes can stand
//! for an image of gigabytes.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use brooklet_plan::Resize;

use crate::error::DataProblem;

/// Maximum number of pixels of an image.
const PIXELS: u64 = 1 << 26;

/// Maximum number of bytes of its pixels.
const BYTES: u64 = 1 << 28;

/// Maximum number of pixels of a resized image, and of the image in between that has the original's
/// width and the resized image's height, which takes 16 bytes per pixel.
const RESIZED_PIXELS: u64 = 1 << 24;

/// Decodes a png, jpeg, bmp, ppm or webp image, if its size is within bounds.
pub(crate) fn decode(bytes: &[u8]) -> Result<DynamicImage, DataProblem> {
    let wrong = |detail: String| DataProblem::Image { detail };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| wrong(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| wrong(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS || decoder.total_bytes() > BYTES {
        let size = [height, width].map(u64::from);
        return Err(DataProblem::Pixels { size, most: PIXELS });
    }
    DynamicImage::from_decoder(decoder).map_err(|error| wrong(error.to_string()))
}

/// Resizes an image, bilinearly and with antialiasing.
///
/// If only the shorter side is given, the longer is rounded down, as torchvision does.
pub(crate) fn resize(image: DynamicImage, to: Resize) -> Result<DynamicImage, DataProblem> {
    let [old_width, old_height] = [image.width().max(1), image.height().max(1)].map(u64::from);
    let (width, height) = match to {
        Resize::To(sides) => {
            let [height, width] = sides.map(|side| u64::from(side.max(1)));
            (width, height)
        }
        Resize::Shorter(short) => {
            let short = u64::from(short.max(1));
            let scaled = |side: u64, other: u64| (short * side / other).max(1);
            match old_width <= old_height {
                true => (short, scaled(old_height, old_width)),
                false => (scaled(old_width, old_height), short),
            }
        }
    };
    if (width, height) == (old_width, old_height) {
        return Ok(image);
    }
    let within = |width: u64, height: u64| width.checked_mul(height) <= Some(RESIZED_PIXELS);
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let sides = sides.filter(|_| within(width, height) && within(old_width, height));
    let (width, height) = sides.ok_or(DataProblem::Resized {
        from: [old_height, old_width],
        to: [height, width],
        most: RESIZED_PIXELS,
    })?;
    Ok(image.resize_exact(width, height, FilterType::Triangle))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A png that has only a header.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = image::GrayImage::new(1, 1);
        image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The checksum of a png's chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
                1 => crc >> 1 ^ 0xedb8_8320,
                _ => crc >> 1,
            })
        })
    }

    #[test]
    fn sizes_are_bounded_before_pixels_are_decoded() {
        assert_eq!(decode(&png(1, 1)).unwrap().width(), 1);
        for (width, height) in [(1 << 26, 2), (20_000, 20_000), (65_535, 65_535)] {
            let refused = decode(&png(width, height)).unwrap_err().to_string();
            assert!(refused.contains("too many"), "{refused}");
        }
        // A png of the allowed size passes the check; only its pixels are missing.
        let refused = decode(&png(8192, 8192)).unwrap_err().to_string();
        assert!(refused.contains("is not an image that is read here"), "{refused}");
    }

    #[test]
    fn resizing_is_bounded_in_its_result_and_in_between() {
        let size = |image: DynamicImage| [image.height(), image.width()];
        let gray = |height, width| DynamicImage::from(image::GrayImage::new(width, height));
        let short = Resize::Shorter;
        assert_eq!(size(resize(gray(30, 45), short(20)).unwrap()), [20, 30]);
        assert_eq!(size(resize(gray(45, 31), short(20)).unwrap()), [29, 20]);
        assert_eq!(size(resize(gray(45, 31), Resize::To([16, 24])).unwrap()), [16, 24]);
        for (height, width, to) in [
            (1, 1_000_000, short(256)),
            (32, 32, short(65_535)),
            (2, 600_000, short(64)),
            (32, 32, Resize::To([4096, 8192])),
            (2, 600_000, Resize::To([64, 64])),
        ] {
            let refused = resize(gray(height, width), to).unwrap_err().to_string();
            assert!(refused.contains("too many pixels"), "{refused}");
        }
    }
}
