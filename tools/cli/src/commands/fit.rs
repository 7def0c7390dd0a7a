//! `brooklet fit`: on which boards a model runs.
//!
//! `Verdict::new` is the one answer to that, of `plan`, `quantize` and `flash` too: of the model
//! as the board's firmware runs it, which is what the firmware itself checks.

use std::fmt;
use std::path::Path;

use brooklet::Model;
use brooklet_firmware::{Registry, Spec};
use serde::Serialize;

use super::{Output, bytes, chip};
use crate::failure::{Failure, Result, failure};
use crate::report::{table, thousands};
use brooklet_files::InputPath;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;

/// Options of `brooklet fit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// Not on the boards, but on a chip without one, by its core, such as cortex-m4 or rv32imac; with
    /// --ram and --flash.
    #[arg(long)]
    chip: Option<String>,
    /// RAM that the arena may have, such as 192K.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "chip")]
    ram: Option<u32>,
    /// Flash that the model file may have, such as 256K.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "chip")]
    flash: Option<u32>,
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
    pub(super) fits: bool,
    slot_bytes_left: i64,
    /// Of what board.toml gives to the arena, packed for the board: the application's buffers,
    /// session and stack have theirs.
    arena_bytes_left: i64,
    /// Of the longest row of an image that the board takes.
    row_bytes_left: i64,
    /// Whether the model has int16, which the board's firmware does not run.
    lacks_int16: bool,
}

impl Verdict {
    /// Of a model on a board, packed as `flash` does.
    pub(super) fn new(spec: &Spec, file: &ModelFile) -> Result<Self> {
        let packed = packed_for(spec, file)?;
        Ok(Self::of_packed(spec, &packed.as_ref().unwrap_or(file).model()))
    }

    /// Of a model that is packed for the board.
    pub(super) fn of_packed(spec: &Spec, model: &Model<'_>) -> Self {
        let left = |has: u32, needed: usize| i64::from(has) - needed as i64;
        let slot_bytes_left = left(spec.slot.bytes, model.file().len());
        let arena_bytes_left = left(spec.arena_bytes, model.arena_bytes());
        let row_bytes_left = left(spec.row_bytes, model.input().row_bytes());
        let lacks_int16 = !spec.int16 && model.layers().iter().any(|layer| layer.has_int16());
        let fits = slot_bytes_left.min(arena_bytes_left).min(row_bytes_left) >= 0 && !lacks_int16;
        let board = spec.name.clone();
        Self { board, fits, slot_bytes_left, arena_bytes_left, row_bytes_left, lacks_int16 }
    }

    /// The error for a model that does not fit, `but` was made, if that is to be said.
    pub(super) fn refused(&self, model: &Path, but: &str) -> Failure {
        let (model, board, lacks) = (model.display(), &self.board, self.lacks());
        failure!(help = self.remedy(), "{model}: {but}does not fit {board}: it lacks {lacks}")
    }

    /// What is lacking: `720 bytes of RAM`.
    fn lacks(&self) -> String {
        let left = [
            (self.slot_bytes_left, "flash"),
            (self.arena_bytes_left, "RAM"),
            (self.row_bytes_left, "a row"),
        ];
        let lacks = left.iter().filter(|(bytes, _)| *bytes < 0);
        let lacks = lacks.map(|(bytes, what)| bytes_of(*bytes, what));
        lacks.chain(self.lacks_int16.then(|| "int16".to_owned())).collect::<Vec<_>>().join(", ")
    }

    fn remedy(&self) -> &'static str {
        let lacks = [self.slot_bytes_left, self.arena_bytes_left, self.row_bytes_left];
        match lacks.map(|left| left < 0) {
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
            // A row's room is of no interest.
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
        writeln!(
            f,
            "{model} bytes of flash, {arena} bytes of arena as it is packed, rows of {row}; \
             packed for the kernels of each board:\n\n{table}"
        )
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let boards = match &args.chip {
        Some(chip) => vec![Verdict::new(&chip::board(chip, args.ram, args.flash)?, &file)?],
        None => {
            let registry = Registry::find()?;
            let boards = registry.boards().iter().map(|spec| Verdict::new(spec, &file));
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
