//! What quantization costs, layer by layer and image by image.

use std::fmt;

use brooklet_quantize::advice::Advice;
use brooklet_quantize::compare::LayerLoss;
use brooklet_quantize::evaluate::Score;
use schemars::JsonSchema;
use serde::Serialize;

use super::schema::Reported;
use super::{fitted, percent, table};

/// How a model differs from its float network.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Comparison {
    /// Share of right answers of the float network.
    pub(crate) float_top1: Option<f64>,
    /// Score of the model.
    #[serde(flatten)]
    pub(crate) score: Score,
    /// Images that float network and model classify differently; none of a network that ends in a
    /// map.
    pub(crate) parted: Vec<Parted>,
    /// Number of images on which the layers were compared.
    pub(crate) layers_on: usize,
    /// The layers, the input first.
    pub(crate) layers: Vec<LayerLoss>,
    /// Advice on the worst layer.
    pub(crate) advice: Advice,
}

/// An image on which float network and model have different answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Parted {
    /// Its index in the data.
    pub(crate) index: usize,
    /// The image.
    pub(crate) image: String,
    /// The image's class, if known.
    pub(crate) label: Option<String>,
    /// The float network's answer.
    pub(crate) float: String,
    /// The model's answer.
    pub(crate) model: String,
}

impl Reported for Comparison {
    const NAME: &str = "compare";
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["layer", "kind", "SQNR dB", "cosine", "clipped", "alone dB", "share", "weights'"];
        let mut table = table(head, &[0, 1]);
        let decibels = |db: Option<f64>| db.map_or(String::new(), |db| format!("{db:.1}"));
        for layer in self.layers.iter().skip(1) {
            table.add_row([
                layer.name.clone(),
                layer.shown_kind(),
                decibels(layer.sqnr_db),
                layer.cosine.map_or(String::new(), |cosine| format!("{cosine:.5}")),
                format!("{:.3} %", 100.0 * layer.saturation),
                decibels(layer.alone_db),
                format!("{:.1} %", 100.0 * layer.share),
                format!("{:.0} %", 100.0 * layer.weights_part),
            ]);
        }
        writeln!(f, "{}\n", fitted(table, &[3, 4, 7, 1, 2]))?;
        writeln!(f, "images      {} (layers: {})", self.score.images, self.layers_on)?;
        let shares = [
            ("float top-1", self.float_top1),
            ("model top-1", self.score.top1),
            ("agreement", self.score.agreement),
        ];
        for (name, share) in shares {
            if let Some(share) = share {
                writeln!(f, "{name:13} {}", percent(share))?;
            }
        }
        if let Some(db) = self.score.sqnr_db {
            writeln!(f, "logits' SQNR  {db:.2} dB")?;
        }
        const SHOWN: usize = 10;
        for Parted { image, label, float, model, .. } in self.parted.iter().take(SHOWN) {
            let label = label.as_ref().map_or(String::new(), |label| format!(", it is {label}"));
            writeln!(f, "{image}: float says {float}, the model {model}{label}")?;
        }
        if self.parted.len() > SHOWN {
            writeln!(f, "and {} more images; --json lists all", self.parted.len() - SHOWN)?;
        }
        writeln!(f, "\n{}", self.advice.text)
    }
}
