//! What a float network answers.

use std::path::Path;

use ndarray::{Array2, Axis, concatenate};

use super::progress;
use crate::failure::{Result, failed};
use brooklet_import::network::Network;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::error::EngineError;
use brooklet_quantize::forward::{BATCH, FloatModel};

/// The float logits of the first `count` images.
pub(super) fn float_logits(
    file: &Path,
    network: &Network,
    data: &Dataset,
    count: usize,
) -> Result<Array2<f32>> {
    let at = |error: EngineError| failed(file, error.into());
    let model = FloatModel::new(network).map_err(at)?;
    let bar = progress(count, "in float");
    let mut parts = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let batch = data.batch(start..count.min(start + BATCH))?;
        parts.push(model.run(batch.view()).map_err(at)?);
        bar.inc(batch.len_of(Axis(0)) as u64);
    }
    bar.finish_and_clear();
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &views)?)
}
