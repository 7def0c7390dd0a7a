//! Which boards have room for a model.

use std::fmt;

use brooklet_firmware::{Registry, Spec};
use serde::Serialize;

use super::verdict::Verdict;
use crate::commands::Output;
use crate::failure::Result;
use crate::report::{fitted, table, thousands};
use brooklet_plan::model_file::ModelFile;

#[derive(Debug, Serialize)]
struct Report {
    model_bytes: usize,
    arena_bytes: usize,
    row_bytes: usize,
    boards: Vec<Verdict>,
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
             packed for the kernels of each board:\n\n{}",
            fitted(table, &[4, 5])
        )
    }
}

/// Lists all boards, or says it of one.
pub(super) fn list(file: &ModelFile, one: Option<&Spec>, output: Output) -> Result<()> {
    let model = file.model();
    let boards = match one {
        Some(spec) => vec![Verdict::new(spec, file)?],
        None => {
            let registry = Registry::find()?;
            let boards = registry.boards().iter().map(|spec| Verdict::new(spec, file));
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
