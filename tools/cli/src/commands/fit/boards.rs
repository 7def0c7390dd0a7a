//! Which boards have room for a model.

use std::fmt;

use brooklet_firmware::{Registry, Spec};
use schemars::JsonSchema;
use serde::Serialize;

use super::verdict::Verdict;
use crate::commands::Output;
use crate::failure::Result;
use crate::report::count::Time;
use crate::report::schema::Reported;
use crate::report::{fitted, table, thousands};
use brooklet_plan::model_file::ModelFile;

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Report {
    /// Size of the model file.
    model_bytes: usize,
    /// RAM for the model's rows and scratch memory, with the file's own packings.
    arena_bytes: usize,
    /// Size of a row of the image.
    row_bytes: usize,
    /// All boards, sorted by name, or the board that the user named.
    boards: Vec<OnBoard>,
}

/// Whether the model fits a board, and how fast it is there.
#[derive(Debug, Serialize, JsonSchema)]
struct OnBoard {
    #[serde(flatten)]
    verdict: Verdict,
    /// The predicted time of an image, with the model packed for the board's kernels.
    #[serde(flatten)]
    time: Option<Time>,
    /// Clock of the board's core.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_hz: Option<u32>,
}

impl OnBoard {
    fn new(spec: &Spec, file: &ModelFile) -> Result<Self> {
        let (verdict, time) = Verdict::with_time(spec, file)?;
        Ok(Self { verdict, time, clock_hz: time.map(|_| spec.clock_hz) })
    }
}

impl Reported for Report {
    const NAME: &str = "fit-boards";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "board",
            "fits",
            "flash left",
            "RAM left",
            "row left",
            "ms",
            "images/s",
            "what would fit",
        ];
        let mut table = table(header, &[0, 1, 7]);
        for OnBoard { verdict, time, .. } in &self.boards {
            let time = time.filter(|_| verdict.fits);
            let each = time.map(|time| format!("{:.1}", 1e3 / time.milliseconds));
            let left = |bytes: i64| match bytes {
                0.. => thousands(bytes),
                _ => format!("lacks {}", thousands(-bytes)),
            };
            table.add_row([
                verdict.board.clone(),
                if verdict.fits { "yes" } else { "no" }.to_owned(),
                left(verdict.slot_bytes_left),
                left(verdict.arena_bytes_left),
                left(verdict.row_bytes_left),
                time.map_or(String::new(), |time| time.to_string()),
                each.unwrap_or_default(),
                verdict.remedy().to_owned(),
            ]);
        }
        let (model, arena) = (thousands(self.model_bytes), thousands(self.arena_bytes));
        let row = thousands(self.row_bytes);
        writeln!(
            f,
            "model file {model} bytes, arena {arena} bytes as it is packed, image rows {row} bytes\n\
             packed for the kernels of each board:\n\n{}",
            fitted(table, &[4, 6, 7])
        )
    }
}

/// Lists all boards, or reports on one.
pub(super) fn list(file: &ModelFile, one: Option<&Spec>, output: Output) -> Result<()> {
    let model = file.model();
    let boards = match one {
        Some(spec) => vec![OnBoard::new(spec, file)?],
        None => {
            let registry = Registry::find()?;
            let boards = registry.boards().iter().map(|spec| OnBoard::new(spec, file));
            boards.collect::<Result<_>>()?
        }
    };
    output.print(&Report {
        model_bytes: file.bytes().len(),
        arena_bytes: model.arena_bytes(),
        row_bytes: model.input().row_bytes(),
        boards,
    })
}
