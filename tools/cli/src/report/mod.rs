//! Tables and drawings that commands print.

pub(crate) mod comparison;
pub(crate) mod contents;
pub(crate) mod count;
pub(crate) mod page;
pub(crate) mod schema;

use std::io::stdout;

pub(crate) use brooklet_files::text::thousands;
use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use terminal_size::{Width, terminal_size_of};

/// A table in which all columns are numbers, except those listed in `text`.
pub(crate) fn table<const N: usize>(header: [&str; N], text: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        if !text.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Width of the terminal that the report goes to, if it goes to one.
fn terminal_columns() -> Option<usize> {
    terminal_size_of(stdout()).map(|(Width(columns), _)| usize::from(columns))
}

/// A table as text, without its empty columns.
///
/// On a terminal it also drops columns until the rest fits, in the order of `least`, and names them
/// below the table.
pub(crate) fn fitted(table: Table, least: &[usize]) -> String {
    fitted_to(table, least, terminal_columns())
}

fn fitted_to(mut table: Table, least: &[usize], columns: Option<usize>) -> String {
    let is_empty = |table: &Table, index: usize| {
        table
            .row_iter()
            .all(|row| row.cell_iter().nth(index).is_none_or(|cell| cell.content().is_empty()))
    };
    let count = table.column_iter().count();
    let empty: Vec<usize> = (0..count).filter(|&index| is_empty(&table, index)).collect();
    let hide = |table: &mut Table, index: usize| {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    };
    for &index in &empty {
        hide(&mut table, index);
    }
    let Some(columns) = columns else { return table.to_string() };
    let widest = |table: &Table| table.lines().map(|line| line.trim_end().chars().count()).max();
    let mut hidden = Vec::new();
    for &index in least.iter().filter(|index| !empty.contains(index)) {
        if widest(&table).is_none_or(|widest| widest <= columns) {
            break;
        }
        hide(&mut table, index);
        hidden.push(index);
    }
    // Dropping a wide column may leave room for others: they come back, the most important first.
    for index in hidden.clone().into_iter().rev() {
        if let Some(column) = table.column_mut(index) {
            column.remove_constraint();
        }
        match widest(&table).is_some_and(|widest| widest > columns) {
            true => hide(&mut table, index),
            false => hidden.retain(|&other| other != index),
        }
    }
    let head = |index: &usize| table.header().and_then(|header| header.cell_iter().nth(*index));
    let hidden: Vec<String> = hidden.iter().filter_map(head).map(|cell| cell.content()).collect();
    match hidden.is_empty() {
        true => table.to_string(),
        false => format!(
            "{table}\n\n(a terminal of {columns} columns has no room for: {}; --json has them)",
            hidden.join(", ")
        ),
    }
}

/// 0.9173 as 91.73 %.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::{fitted_to, table, thousands};

    #[test]
    fn a_table_has_the_columns_that_a_terminal_has_room_for() {
        let made = || {
            let mut table = table(["name", "empty", "number", "note"], &[0, 3]);
            table.add_row(["stage1.block1.conv1", "", "12,345", "some words"]);
            table.add_row(["fc", "", "7", "more words than others"]);
            table
        };
        let all = fitted_to(made(), &[3, 2], None);
        assert!(all.contains("more words") && !all.contains("empty"), "{all}");
        assert_eq!(fitted_to(made(), &[3, 2], Some(80)), all);
        // Without the note there is room for the number again.
        let back = fitted_to(made(), &[2, 3], Some(34));
        assert!(back.contains("12,345") && back.contains("no room for: note;"), "{back}");
        let widest = |text: &str| text.lines().take(3).map(|line| line.trim_end().len()).max();
        for (columns, named) in [(34, "note;"), (24, "note, number;")] {
            let narrow = fitted_to(made(), &[3, 2], Some(columns));
            assert!(widest(&narrow) <= Some(columns), "{narrow}");
            assert!(narrow.contains(&format!("no room for: {named}")), "{narrow}");
            assert!(
                narrow.contains("stage1.block1.conv1") && !narrow.contains("words"),
                "{narrow}"
            );
        }
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(12_501_632), "12,501,632");
    }
}
