//! Computes the answers of the test images that a model file carries.

use std::path::Path;

use crate::model_file::{HostBackend, ModelError, ModelFile};
use crate::plan::Plan;
use crate::program::Program;
use crate::test_image::TestImage;
use brooklet::ops::stream16;

impl Program {
    /// Sets these images as test images.
    ///
    /// [`build`] computes their answers; until then they are zeros.
    pub fn set_test_images(&mut self, images: Vec<Vec<u8>>) {
        let (logits, output) = (self.logits, self.layers.len() - 1);
        let zeros = |layer: usize| {
            let record = &self.layers[layer].record;
            vec![0; usize::from(record.rows.get()) * record.row_bytes()]
        };
        let after = |pixels| TestImage {
            pixels,
            logits: zeros(logits),
            output: if output == logits { Vec::new() } else { zeros(output) },
        };
        self.test_images = images.into_iter().map(after).collect();
    }
}

/// The model file of a program, checked by the core.
///
/// The answers of its test images are computed again.
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
            let record = &program.layers[layer].record;
            match record.is_int16() {
                _ if record.is_stream16() => {
                    let rows = values.chunks(record.shape().row_bytes());
                    rows.flat_map(|row| stream16::row_of_scores(row.iter().copied())).collect()
                }
                true => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                false => values.iter().map(|&value| value as u8).collect(),
            }
        };
        image.logits = bytes(logits, &answer.logits);
        image.output = if output == logits { Vec::new() } else { bytes(output, &answer.output) };
    }
    ModelFile::new(path, program.write(plan))
}
