//! `brooklet fit`: on which boards a model runs.

use std::fmt;
use std::path::PathBuf;

use brooklet_firmware::{Registry, Spec};
use serde::Serialize;

use super::{Output, table, thousands};
use crate::model_file::ModelFile;

/// Options of `brooklet fit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: PathBuf,
}

#[derive(Debug, Serialize)]
struct Report {
    model_bytes: usize,
    arena_bytes: usize,
    boards: Vec<Verdict>,
}

/// Bytes that a board has left; negative: that it lacks.
#[derive(Debug, Serialize)]
struct Verdict {
    board: String,
    fits: bool,
    slot_bytes_left: i64,
    arena_bytes_left: i64,
}

impl Verdict {
    fn new(spec: &Spec, model_bytes: usize, arena_bytes: usize) -> Self {
        let slot_bytes_left = i64::from(spec.slot.bytes) - model_bytes as i64;
        let arena_bytes_left = i64::from(spec.arena_bytes) - arena_bytes as i64;
        let fits = slot_bytes_left >= 0 && arena_bytes_left >= 0;
        Self { board: spec.name.clone(), fits, slot_bytes_left, arena_bytes_left }
    }

    fn remedy(&self) -> &'static str {
        match (self.slot_bytes_left < 0, self.arena_bytes_left < 0) {
            (false, false) => "",
            (true, false) => "a network with fewer weights, or a larger slot",
            (false, true) => "smaller pictures or fewer channels, or more RAM",
            (true, true) => "a smaller network",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            table(["board", "fits", "flash left", "RAM left", "what would fit"], &[0, 1, 4]);
        for verdict in &self.boards {
            let left = |bytes: i64| match bytes {
                0.. => thousands(bytes),
                _ => format!("lacks {}", thousands(-bytes)),
            };
            table.add_row([
                verdict.board.clone(),
                if verdict.fits { "yes" } else { "no" }.to_owned(),
                left(verdict.slot_bytes_left),
                left(verdict.arena_bytes_left),
                verdict.remedy().to_owned(),
            ]);
        }
        let (model, arena) = (thousands(self.model_bytes), thousands(self.arena_bytes));
        writeln!(f, "{model} bytes of flash, {arena} bytes of arena\n\n{table}")
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> miette::Result<()> {
    let file = ModelFile::open(&args.model)?;
    let (model_bytes, arena_bytes) = (file.bytes().len(), file.model().arena_bytes());
    let registry = Registry::find()?;
    let verdict = |spec| Verdict::new(spec, model_bytes, arena_bytes);
    let boards = registry.boards().iter().map(verdict).collect();
    output.print(&Report { model_bytes, arena_bytes, boards })
}
