//! Whether a model fits a board.

use std::fmt;
use std::path::Path;

use brooklet::Model;
use brooklet_firmware::Spec;
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::{Failure, Result, failure};
use crate::report::count::Time;
use crate::report::thousands;
use brooklet_plan::cost;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;

/// Number of bytes that a board has left. A negative number of bytes is lacking.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Verdict {
    /// Name of the board.
    pub(super) board: String,
    /// Whether the model fits.
    pub(in crate::commands) fits: bool,
    /// Bytes left of the flash for the model file.
    pub(super) slot_bytes_left: i64,
    /// Bytes left of the RAM that board.toml gives to the arena, if the model is packed for the board.
    ///
    /// The application's buffers, the session and the stack have RAM of their own.
    pub(super) arena_bytes_left: i64,
    /// Bytes left of the room for an image row.
    pub(super) row_bytes_left: i64,
    /// If the weights are behind a driver: bytes left of the window, or of the RAM for the part of the
    /// file before the weights, whichever is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_bytes_left: Option<i64>,
    /// Whether the model needs int16, which the board's firmware does not run.
    lacks_int16: bool,
}

impl Verdict {
    /// The verdict on a model, packed for the board as `flash` does.
    pub(in crate::commands) fn new(spec: &Spec, file: &ModelFile) -> Result<Self> {
        let packed = packed_for(spec, file)?;
        Ok(Self::of_packed(spec, &packed.as_ref().unwrap_or(file).model()))
    }

    /// The same verdict, with the predicted time of an image.
    pub(super) fn with_time(spec: &Spec, file: &ModelFile) -> Result<(Self, Option<Time>)> {
        let packed = packed_for(spec, file)?;
        let model = packed.as_ref().unwrap_or(file).model();
        let time = cost::of(spec).and_then(|costs| Time::of(spec, &costs, model.layers()));
        Ok((Self::of_packed(spec, &model), time))
    }

    /// The verdict for a model that is packed for the board.
    pub(in crate::commands) fn of_packed(spec: &Spec, model: &Model<'_>) -> Self {
        let left = |has: u32, needed: usize| i64::from(has) - needed as i64;
        let slot_bytes_left = left(spec.slot.bytes, model.file().len());
        let arena_bytes_left = left(spec.arena_bytes, model.arena_bytes());
        let row_bytes_left = left(spec.row_bytes, model.input().row_bytes());
        let window_bytes_left = spec.weights_window.map(|window| {
            let resident = left(window.resident_bytes, brooklet::resident_bytes(model.file()));
            resident.min(left(window.bytes, brooklet::smallest_window(model.graph())))
        });
        let lacks_int16 = !spec.int16 && model.layers().iter().any(|layer| layer.has_int16());
        let all =
            [slot_bytes_left, arena_bytes_left, row_bytes_left, window_bytes_left.unwrap_or(0)];
        let fits = all.iter().all(|&left| left >= 0) && !lacks_int16;
        Self {
            board: spec.name.clone(),
            fits,
            slot_bytes_left,
            arena_bytes_left,
            row_bytes_left,
            window_bytes_left,
            lacks_int16,
        }
    }

    /// The error for a model that does not fit; `but` may say that it was written all the same.
    pub(in crate::commands) fn refused(&self, model: &Path, but: &str) -> Failure {
        let (model, board, lacks) = (model.display(), &self.board, self.lacks());
        failure!(help = self.remedy(), "{model}: {but}does not fit {board}: it lacks {lacks}")
    }

    /// What is lacking: `720 bytes of RAM`.
    pub(super) fn lacks(&self) -> String {
        let left = [
            (self.slot_bytes_left, "flash"),
            (self.arena_bytes_left, "RAM"),
            (self.row_bytes_left, "a row"),
            (self.window_bytes_left.unwrap_or(0), "RAM for its weights"),
        ];
        let lacks = left.iter().filter(|(bytes, _)| *bytes < 0);
        let lacks = lacks.map(|(bytes, what)| bytes_of(*bytes, what));
        lacks.chain(self.lacks_int16.then(|| "int16".to_owned())).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn remedy(&self) -> &'static str {
        let lacks = [self.slot_bytes_left, self.arena_bytes_left, self.row_bytes_left];
        match lacks.map(|left| left < 0) {
            [false, false, false] if self.window_bytes_left.is_some_and(|left| left < 0) => {
                "fewer labels and layers, or a larger `weights_window` in its board.toml"
            }
            [false, false, false] if self.lacks_int16 => {
                "a model without --int16, or firmware with `int16` in its board.toml and Cargo.toml"
            }
            [false, false, false] => "",
            [true, false, false] => "a network with fewer weights, or a larger slot",
            [false, true, _] => "smaller images or fewer channels, or more RAM",
            [false, false, true] => "narrower images, or a larger `row_bytes` in its board.toml",
            [true, ..] => "a smaller network",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let board = &self.board;
        if self.fits {
            // The bytes left of the room for a row do not interest the user.
            let [flash, ram] = [(self.slot_bytes_left, "flash"), (self.arena_bytes_left, "RAM")]
                .map(|(bytes, what)| bytes_of(bytes, what));
            writeln!(f, "fits {board}, with {flash}, {ram} to spare")
        } else {
            let (lacks, remedy) = (self.lacks(), self.remedy());
            writeln!(f, "does not fit {board}: lacks {lacks}; what would fit: {remedy}")
        }
    }
}

fn bytes_of(bytes: i64, what: &str) -> String {
    format!("{} bytes of {what}", thousands(bytes.unsigned_abs()))
}
