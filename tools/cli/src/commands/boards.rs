//! `brooklet boards`: which boards there are.

use std::fmt;

use brooklet_firmware::{Registry, Spec};
use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use crate::failure::Result;
use crate::report::schema::Reported;
use crate::report::{fitted, table, thousands};

/// A board.
#[derive(Debug, Serialize, JsonSchema)]
struct Board {
    /// Name of the board, as `--board` takes it.
    name: String,
    /// Description in one line, for people.
    description: String,
    /// The processor core.
    core: String,
    /// Clock of the core.
    clock_hz: u32,
    /// Size of the flash.
    flash_bytes: u32,
    /// Size of the main RAM.
    ram_bytes: u32,
    /// Room for a model file.
    slot_bytes: u32,
    /// Room for a model's arena.
    arena_bytes: u32,
    /// Room for a row of an image.
    row_bytes: u32,
    /// The kernels that its firmware has.
    backend: String,
}

impl From<&Spec> for Board {
    fn from(spec: &Spec) -> Self {
        Self {
            name: spec.name.clone(),
            description: spec.description.clone(),
            core: spec.core.clone(),
            clock_hz: spec.clock_hz,
            flash_bytes: spec.espflash.as_ref().map_or(spec.flash.bytes, |chip| chip.flash_bytes),
            ram_bytes: spec.ram.bytes,
            slot_bytes: spec.slot.bytes,
            arena_bytes: spec.arena_bytes,
            row_bytes: spec.row_bytes,
            backend: spec.backend.clone(),
        }
    }
}

/// All boards.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The boards, sorted by name.
    boards: Vec<Board>,
}

impl Reported for Report {
    const NAME: &str = "boards";
}

/// Runs the command.
pub fn run(output: Output) -> Result<()> {
    let boards = Registry::find()?.boards().iter().map(Board::from).collect();
    output.print(&Report { boards })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(
            ["board", "core", "MHz", "flash", "RAM", "model slot", "arena", "row", "backend", ""],
            &[0, 1, 8, 9],
        );
        for board in &self.boards {
            table.add_row([
                board.name.clone(),
                board.core.clone(),
                (board.clock_hz / 1_000_000).to_string(),
                thousands(board.flash_bytes),
                thousands(board.ram_bytes),
                thousands(board.slot_bytes),
                thousands(board.arena_bytes),
                thousands(board.row_bytes),
                board.backend.clone(),
                board.description.clone(),
            ]);
        }
        writeln!(f, "{}", fitted(table, &[7, 9, 3, 8, 4]))
    }
}
