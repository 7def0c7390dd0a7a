//! The report that `brooklet quantize` prints at its end.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::fit::Verdict;
use crate::report::contents::Contents;
use crate::report::schema::Reported;
use crate::report::{percent, thousands};
use brooklet::format::Packing;
use brooklet_plan::program::Program;
use brooklet_quantize::evaluate::Score;
use brooklet_quantize::precision::int16;

/// What int16 gains, and what it costs.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Int16 {
    /// The layers whose outputs are int16.
    pub(super) layers: Vec<Int16Layer>,
    /// SQNR on the calibration data with all layers in int8, if it was measured.
    pub(super) int8_sqnr_db: Option<f64>,
    /// Size of the arena with all layers in int8.
    pub(super) int8_arena_bytes: Option<usize>,
    /// Predicted instructions per image on the board: with all layers in int8, and as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<[u64; 2]>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Int16Layer {
    /// Its name.
    pub(super) name: String,
    /// The SQNR of the logits that this layer gains on top of those before it, if that was
    /// measured.
    pub(super) gain_db: Option<f64>,
}

impl Int16 {
    /// The report on a program in which `gains` were found, or for which layers were named.
    pub(super) fn new(program: &Program, gains: &[(String, f64)]) -> Self {
        let gain = |name: &str| gains.iter().find(|(gained, _)| gained == name).map(|gain| gain.1);
        let int16 = program.layers.iter().filter(|layer| layer.record.is_int16());
        let layers =
            int16.map(|layer| Int16Layer { name: layer.name.clone(), gain_db: gain(&layer.name) });
        Self {
            layers: layers.collect(),
            int8_sqnr_db: None,
            int8_arena_bytes: None,
            instructions: None,
        }
    }
}

impl fmt::Display for Int16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layers.is_empty() {
            let margin = int16::MARGIN_DB;
            return writeln!(f, "int16: no layer gains {margin} dB, all stay int8");
        }
        let layer = |layer: &Int16Layer| match layer.gain_db {
            Some(db) => format!("{} (+{db:.2} dB)", layer.name),
            None => layer.name.clone(),
        };
        let layers = self.layers.iter().map(layer).collect::<Vec<_>>().join(", ");
        write!(f, "int16: {layers}")?;
        let mut before = Vec::new();
        before.extend(self.int8_sqnr_db.map(|db| format!("{db:.2} dB")));
        before.extend(
            self.int8_arena_bytes.map(|bytes| format!("an arena of {} bytes", thousands(bytes))),
        );
        if let Some([int8, now]) = self.instructions {
            before.push(format!("{} instructions, now {}", thousands(int8), thousands(now)));
        }
        match before.is_empty() {
            true => writeln!(f),
            false => writeln!(f, "; with all layers in int8: {}", before.join(", ")),
        }
    }
}

/// The width of the residual stream, and what the other width would give.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Stream {
    /// Number of bits of the stream.
    pub(super) bits: u32,
    /// What the other width would give.
    pub(super) other: Option<OtherStream>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OtherStream {
    /// Number of bits.
    pub(super) bits: u32,
    /// SQNR on the calibration data, if it was measured.
    pub(super) sqnr_db: Option<f64>,
    /// Size of the arena.
    pub(super) arena_bytes: usize,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream: {} bits", self.bits)?;
        if let Some(other) = &self.other {
            write!(f, "; with {} bits: ", other.bits)?;
            if let Some(db) = other.sqnr_db {
                write!(f, "{db:.2} dB, ")?;
            }
            write!(f, "an arena of {} bytes", thousands(other.arena_bytes))?;
        }
        writeln!(f)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Report {
    /// The file that was written.
    pub(super) model: PathBuf,
    #[serde(flatten)]
    pub(super) contents: Contents,
    /// Score on the calibration data.
    pub(super) evidence: Option<Score>,
    /// Layers whose outputs are int16, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) int16: Option<Int16>,
    /// The residual stream, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<Stream>,
    /// Whether it fits the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    /// Signs that something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

impl Reported for Report {
    const NAME: &str = "quantize";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} bytes, {} MACs, arena {} bytes",
            self.model.display(),
            thousands(self.contents.model_bytes),
            thousands(self.contents.macs),
            thousands(self.contents.arena_bytes),
        )?;
        if let Some(evidence) = &self.evidence {
            let mut parts = vec![format!("on {} calibration images", evidence.images)];
            parts.extend(evidence.top1.map(|share| format!("top-1 {}", percent(share))));
            parts.extend(
                evidence.agreement.map(|share| format!("agreement with float {}", percent(share))),
            );
            parts.extend(evidence.sqnr_db.map(|db| format!("SQNR {db:.2} dB")));
            writeln!(f, "{}", parts.join(", "))?;
        }
        for bits in Packing::WIDTHS.into_iter().filter(|&bits| bits < 8) {
            let narrow =
                self.contents.layers.iter().filter(|layer| layer.weight_bits == Some(bits));
            let narrow: Vec<_> = narrow.map(|layer| layer.name.as_str()).collect();
            if narrow.is_empty() {
                continue;
            }
            writeln!(f, "weights in {bits} bits: {}", narrow.join(", "))?;
        }
        if let Some(stream) = &self.stream {
            write!(f, "{stream}")?;
        }
        if let Some(int16) = &self.int16 {
            write!(f, "{int16}")?;
        }
        if let (Some(time), Some(hz)) = (self.contents.time, self.contents.clock_hz) {
            writeln!(f, "time: {}", time.at(hz))?;
        }
        if let Some(verdict) = &self.verdict {
            write!(f, "{verdict}")?;
        }
        Ok(())
    }
}
