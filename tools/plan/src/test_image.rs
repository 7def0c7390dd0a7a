//! Test images that a model file carries, for [`brooklet::Session::self_test`].

use brooklet::Model;
use brooklet::format::SelfTestRecord;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

/// A test image and its answer, as stored in a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestImage {
    /// The image as it is pushed: rows × columns × channels bytes.
    pub pixels: Vec<u8>,
    /// The logits: int8, or int16 in little-endian.
    pub logits: Vec<u8>,
    /// The output in the same form, if a layer follows the logits; otherwise empty.
    pub output: Vec<u8>,
}

impl TestImage {
    /// The test images of a model file.
    pub fn read(model: &Model<'_>) -> Vec<Self> {
        let owned = |image: brooklet::TestImage<'_>| Self {
            pixels: image.pixels.to_vec(),
            logits: image.logits.to_vec(),
            output: image.output.to_vec(),
        };
        model.test_images().map(owned).collect()
    }

    /// The record of a model file and the data after it; empty if there are no images.
    pub fn write(images: &[Self]) -> Vec<u8> {
        if images.is_empty() {
            return Vec::new();
        }
        let count = U16::new(images.len() as u16);
        let mut bytes = SelfTestRecord { count, reserved: U16::ZERO }.as_bytes().to_vec();
        for image in images {
            bytes.extend([&image.pixels[..], &image.logits, &image.output].concat());
        }
        bytes
    }
}
