//! `brooklet schema`: the schemas of reports as JSON.

use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;
use schemars::Schema;

use super::{
    bench, boards, check, doctor, ensemble, eval, export, fit, flash, init, new, plan, push,
    quantize, report, run, sign, write_out,
};
use crate::failure::Result;
use crate::report::comparison::Comparison;
use crate::report::contents::Contents;
use crate::report::schema::{self, Reported};

/// Options of `brooklet schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the report, which is the command's name, or `flash-dry-run` or `fit-boards`. Without a
    /// name, all reports are listed.
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    report: Option<String>,
}

/// A report: its name, the name with the version, and its schema.
struct Known {
    name: &'static str,
    id: fn() -> String,
    schema: fn() -> Schema,
}

const fn known<T: Reported>() -> Known {
    Known { name: T::NAME, id: schema::id::<T>, schema: schema::of::<T> }
}

/// All reports, by name.
const REPORTS: [Known; 22] = [
    known::<bench::Report>(),
    known::<boards::Report>(),
    known::<check::Report>(),
    known::<Comparison>(),
    known::<doctor::Report>(),
    known::<ensemble::Report>(),
    known::<eval::Report>(),
    known::<export::Report>(),
    known::<fit::points::Report>(),
    known::<fit::boards::Report>(),
    known::<flash::Report>(),
    known::<flash::Written>(),
    known::<init::Report>(),
    known::<Contents>(),
    known::<sign::KeyReport>(),
    known::<new::Report>(),
    known::<plan::Report>(),
    known::<push::Report>(),
    known::<quantize::report::Report>(),
    known::<report::Report>(),
    known::<run::Report>(),
    known::<sign::SignReport>(),
];

/// The names of all reports.
pub fn names() -> impl Iterator<Item = &'static str> {
    REPORTS.iter().map(|known| known.name)
}

/// The schema of the report with that name, as JSON. `None` if there is no such report.
pub fn schema_of(name: &str) -> Option<String> {
    let known = REPORTS.iter().find(|known| known.name == name)?;
    serde_json::to_string_pretty(&(known.schema)()).ok()
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let text = match &args.report {
        Some(name) => schema_of(name).unwrap_or_default() + "\n",
        None => REPORTS.iter().fold(String::new(), |mut text, known| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", (known.id)());
            text
        }),
    };
    write_out(text.as_bytes())
}
