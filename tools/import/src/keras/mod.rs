//! Keras networks: `.keras` archives, and HDF5 files (`.h5`) with structure and weights.
//!
//! Both hold the network's [configuration](config) as JSON: its layers, and which layers each one
//! reads. The [graph] is walked, with a function of [`layers`] for each call of a layer; [weights]
//! are read from HDF5. Nothing is executed: a layer from custom code is refused.

mod config;
mod graph;
mod layers;
mod weights;

use std::io::{Cursor, Read};

use serde_json::Value;

use self::graph::Walk;
use self::weights::{File, Store};
use crate::error::{LayerProblem, Problem, unsupported};
use crate::network::Network;

/// Maximum size of an unpacked entry of an archive, as a multiple of the file's size.
const MOST_UNPACKED: u64 = 64;

/// How to export the network in another format.
pub(crate) const EXPORT: &str = "export it with Python: `model = keras.saving.load_model(FILE)`, \
     `model.export(\"model.onnx\", format=\"onnx\")`, and import model.onnx; or convert it to TFLite";

/// The error for a broken file.
fn corrupt(detail: impl Into<String>) -> Problem {
    Problem::Corrupt { format: "Keras", detail: detail.into() }
}

/// Reads the network of a `.keras` archive.
pub(crate) fn read_archive(bytes: &[u8]) -> Result<Network, LayerProblem> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| corrupt(format!("as an archive: {error}")))?;
    let most = (bytes.len() as u64).saturating_mul(MOST_UNPACKED);
    let mut entry = |name: &str| {
        let entry = archive.by_name(name);
        let entry = entry.map_err(|_| corrupt(format!("there is no {name} in it")))?;
        let mut unpacked = Vec::new();
        let read = entry.take(most).read_to_end(&mut unpacked);
        read.map_err(|error| corrupt(format!("{name}: {error}")))?;
        Ok::<_, Problem>(unpacked)
    };
    let config = json(&entry("config.json")?)?;
    let weights = Store::new(File::open(entry("model.weights.h5")?)?, weights::Kind::Archive);
    // Keras 2 wrote such archives from its version 2.12 on.
    let keras_2 = match entry("metadata.json") {
        Ok(metadata) => is_keras_2(json(&metadata)?["keras_version"].as_str()),
        Err(_) => false,
    };
    network(&config, weights, bytes.len(), keras_2)
}

/// Reads the network of an HDF5 file.
pub(crate) fn read_hdf5(bytes: &[u8]) -> Result<Network, LayerProblem> {
    let file = File::open(bytes.to_vec())?;
    let Some(config) = file.attribute("model_config")? else {
        return Err(unsupported(
            "holds weights without the network's structure",
            "save the whole network: `model.save(\"model.keras\")`, not `model.save_weights`",
        )
        .into());
    };
    let config = json(config.as_bytes())?;
    let version = file.attribute("keras_version")?;
    let keras_2 = is_keras_2(version.as_deref());
    network(&config, Store::new(file, weights::Kind::Legacy), bytes.len(), keras_2)
}

fn is_keras_2(version: Option<&str>) -> bool {
    version.is_some_and(|version| version.starts_with(['1', '2']))
}

fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(format!("its structure: {error}")))
}

fn network(
    config: &Value,
    weights: Store,
    bytes: usize,
    keras_2: bool,
) -> Result<Network, LayerProblem> {
    let mut walk = Walk::new(weights, bytes, keras_2);
    let ends = walk.model(config)?;
    let network = walk.network.ok_or_else(|| corrupt("it has no input"))?;
    network.canonical(&ends)
}
