//! `brooklet fit`: on which boards a model runs.

use std::fmt;
use std::path::PathBuf;

use brooklet::Model;
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
    row_bytes: usize,
    boards: Vec<Verdict>,
}

/// Bytes that a board has left; negative: that it lacks.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    board: String,
    fits: bool,
    slot_bytes_left: i64,
    arena_bytes_left: i64,
    /// Of the longest row of a picture that the board takes.
    row_bytes_left: i64,
    /// Whether the model has int16, which the board's firmware does not run.
    lacks_int16: bool,
}

impl Verdict {
    pub(super) fn new(spec: &Spec, model: &Model<'_>) -> Self {
        let left = |has: u32, needed: usize| i64::from(has) - needed as i64;
        let slot_bytes_left = left(spec.slot.bytes, model.file().len());
        let arena_bytes_left = left(spec.arena_bytes, model.arena_bytes());
        let row_bytes_left = left(spec.row_bytes, model.input().row_bytes());
        let lacks_int16 = !spec.int16 && model.layers().iter().any(|layer| layer.is_wide());
        let fits = slot_bytes_left.min(arena_bytes_left).min(row_bytes_left) >= 0 && !lacks_int16;
        let board = spec.name.clone();
        Self { board, fits, slot_bytes_left, arena_bytes_left, row_bytes_left, lacks_int16 }
    }

    fn remedy(&self) -> &'static str {
        let lacks = [self.slot_bytes_left, self.arena_bytes_left, self.row_bytes_left];
        match lacks.map(|left| left < 0) {
            [false, false, false] if self.lacks_int16 => {
                "a model without --int16, or firmware with `int16` in its board.toml and Cargo.toml"
            }
            [false, false, false] => "",
            [true, false, false] => "a network with fewer weights, or a larger slot",
            [false, true, _] => "smaller pictures or fewer channels, or more RAM",
            [false, false, true] => "narrower pictures, or a larger `row_bytes` in its board.toml",
            [true, ..] => "a smaller network",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = [
            (self.slot_bytes_left, "flash"),
            (self.arena_bytes_left, "RAM"),
            (self.row_bytes_left, "a row"),
        ];
        // What is lacking is what counts; where nothing is, a row's room is of no interest.
        let mut told: Vec<_> = left.iter().filter(|(bytes, _)| *bytes < 0).collect();
        if self.fits {
            told.extend(&left[..2]);
        }
        let tell = |(bytes, what): &&(i64, &str)| {
            format!("{} bytes of {what}", thousands(bytes.unsigned_abs()))
        };
        let told = told.iter().map(tell).collect::<Vec<_>>().join(", ");
        if self.fits {
            writeln!(f, "fits {}, with {told} to spare", self.board)
        } else {
            let int16 = if self.lacks_int16 { "int16" } else { "" };
            let told = [&told[..], int16].into_iter().filter(|lack| !lack.is_empty());
            let told = told.collect::<Vec<_>>().join(", ");
            let (board, remedy) = (&self.board, self.remedy());
            writeln!(f, "does not fit {board}: lacks {told}; what would fit: {remedy}")
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["board", "fits", "flash left", "RAM left", "row left", "what would fit"];
        let mut table = table(header, &[0, 1, 5]);
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
                left(verdict.row_bytes_left),
                verdict.remedy().to_owned(),
            ]);
        }
        let (model, arena) = (thousands(self.model_bytes), thousands(self.arena_bytes));
        let row = thousands(self.row_bytes);
        writeln!(f, "{model} bytes of flash, {arena} bytes of arena, rows of {row}\n\n{table}")
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> miette::Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let registry = Registry::find()?;
    let boards = registry.boards().iter().map(|spec| Verdict::new(spec, &model)).collect();
    output.print(&Report {
        model_bytes: file.bytes().len(),
        arena_bytes: model.arena_bytes(),
        row_bytes: model.input().row_bytes(),
        boards,
    })
}
