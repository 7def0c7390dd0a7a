//! The answer of a network that ends in a map.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::probabilities;
use crate::report::{percent, table};
use brooklet_plan::model_file::{Answer, ModelFile};
use brooklet_quantize::evaluate::ranked;

/// Number of cells that are printed for people.
const SHOWN: usize = 20;

/// Number of cells of a map of scores that are no probabilities.
const HIGHEST: usize = 10;

/// The cells of a map.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MapReport {
    /// Number of rows.
    rows: usize,
    /// Number of columns.
    columns: usize,
    /// The classes, each with the number of cells in which it is the best; empty for a network with
    /// one score.
    classes: Vec<Share>,
    /// The cells in which a class other than the first one, the background, is the best, the most
    /// probable first. For a network with one score, those whose probability is a half at least; if
    /// it is no probability, the ten highest.
    cells: Vec<Cell>,
}

/// A class, and the number of its cells.
#[derive(Debug, Serialize, JsonSchema)]
struct Share {
    /// Its name.
    name: String,
    /// Number of cells in which it is the best.
    cells: usize,
}

/// A cell.
#[derive(Debug, Serialize, JsonSchema)]
struct Cell {
    /// Its row, from 0.
    row: usize,
    /// Its column, from 0.
    column: usize,
    /// The number of its best class.
    class: usize,
    /// The name of that class.
    name: String,
    /// The dequantized score of that class.
    score: f32,
    /// Its probability, if the scores have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

impl MapReport {
    /// The cells of an answer; `None` if the network does not end in a map.
    pub(super) fn new(file: &ModelFile, answer: &Answer) -> Option<Self> {
        let [rows, columns, classes] = file.map()?;
        let quantization = file.model().logits_quantization();
        let one_score = file.one_score();
        let likely = file.model().layer(file.model().logits()).has_probabilities();
        let cell = |(index, logits): (usize, &[i16])| {
            let class = ranked(logits)[0];
            let probability = match one_score {
                Some(false) if !likely => None,
                _ => Some(probabilities(file, logits)[class]),
            };
            Cell {
                row: index / columns,
                column: index % columns,
                class,
                name: file.label(class),
                score: quantization.dequantize(logits[class]),
                probability,
            }
        };
        let mut cells: Vec<Cell> = answer.logits.chunks(classes).enumerate().map(cell).collect();
        let mut shares: Vec<Share> =
            (0..classes).map(|class| Share { name: file.label(class), cells: 0 }).collect();
        cells.iter().for_each(|cell| shares[cell.class].cells += 1);
        // The sort is stable: equal cells stay in the order of rows and columns.
        let rank = |cell: &Cell| cell.probability.unwrap_or(cell.score.into());
        cells.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        match one_score {
            None => cells.retain(|cell| cell.class > 0),
            Some(sigmoid) if sigmoid || likely => {
                cells.retain(|cell| cell.probability >= Some(0.5));
            }
            Some(_) => cells.truncate(HIGHEST),
        }
        if one_score.is_some() {
            shares.clear();
        }
        Some(Self { rows, columns, classes: shares, cells })
    }
}

impl fmt::Display for MapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.classes.iter().filter(|share| share.cells > 0);
        let shares: Vec<String> =
            shares.map(|Share { name, cells }| format!("{name} in {cells}")).collect();
        let shares =
            if shares.is_empty() { String::new() } else { ": ".to_owned() + &shares.join(", ") };
        writeln!(f, "  {}x{} cells{shares}", self.rows, self.columns)?;
        if self.cells.is_empty() {
            return Ok(());
        }
        let mut table = table(["", "row", "column", "class", "probability", "score"], &[0, 3]);
        for cell in self.cells.iter().take(SHOWN) {
            table.add_row([
                String::new(),
                cell.row.to_string(),
                cell.column.to_string(),
                cell.name.clone(),
                cell.probability.map_or(String::new(), percent),
                format!("{:.4}", cell.score),
            ]);
        }
        writeln!(f, "{table}")?;
        match self.cells.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            Some(more) => writeln!(f, "  and {more} more cells; --json lists all"),
            None => Ok(()),
        }
    }
}
