//! Test images that a model file carries, for [`brooklet::Session::self_test`].

use std::path::Path;

use brooklet::Model;
use brooklet::format::SelfTestRecord;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use crate::model_file::{HostBackend, ModelError, ModelFile};
use crate::plan::Plan;
use crate::program::Program;

/// A test image and its answer, as they lie in a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestImage {
    /// The image as it is pushed: rows × columns × channels bytes.
    pub pixels: Vec<u8>,
    /// The logits: int8, or int16 in little-endian.
    pub logits: Vec<u8>,
    /// Likewise the output, where a layer follows the logits; else empty.
    pub output: Vec<u8>,
}

impl TestImage {
    /// Those of a model file.
    pub fn read(model: &Model<'_>) -> Vec<Self> {
        let owned = |image: brooklet::TestImage<'_>| Self {
            pixels: image.pixels.to_vec(),
            logits: image.logits.to_vec(),
            output: image.output.to_vec(),
        };
        model.test_images().map(owned).collect()
    }

    /// The record of a model file and what follows it; nothing if there are no images.
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

impl Program {
    /// Takes these images as its test images. [`build`] computes their answers; until then, they
    /// are zeros.
    pub fn set_test_images(&mut self, images: Vec<Vec<u8>>) {
        let (logits, output) = (self.logits, self.layers.len() - 1);
        let zeros = |layer: usize| vec![0; self.layers[layer].record.row_bytes()];
        let after = |pixels| TestImage {
            pixels,
            logits: zeros(logits),
            output: if output == logits { Vec::new() } else { zeros(output) },
        };
        self.test_images = images.into_iter().map(after).collect();
    }
}

/// The model file of a program, checked by the core, with the answers of its test images computed
/// anew.
///
/// # Errors
///
/// [`ModelError`] if the core refuses it.
pub fn build(program: &Program, plan: &Plan, path: &Path) -> Result<ModelFile, ModelError> {
    let file = ModelFile::new(path, program.write(plan))?;
    if program.test_images.is_empty() {
        return Ok(file);
    }
    let mut program = program.clone();
    let (logits, output) = (program.logits, program.layers.len() - 1);
    let mut simulator = file.simulator(HostBackend::Auto)?;
    for image in &mut program.test_images {
        let answer = simulator.run(&image.pixels);
        let bytes = |layer: usize, values: &[i16]| -> Vec<u8> {
            match program.layers[layer].record.is_int16() {
                true => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                false => values.iter().map(|&value| value as u8).collect(),
            }
        };
        image.logits = bytes(logits, &answer.logits);
        image.output = if output == logits { Vec::new() } else { bytes(output, &answer.output) };
    }
    ModelFile::new(path, program.write(plan))
}
