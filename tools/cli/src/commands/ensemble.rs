//! `brooklet ensemble`: makes one model of several.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use crate::failure::{Result, failure};
use crate::remedies::Remedy;
use crate::report::schema::Reported;
use crate::report::thousands;
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::ensemble::ensemble;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::self_test;

/// Options of `brooklet ensemble`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The members' model files.
    #[arg(required = true, num_args = 2..)]
    members: Vec<InputPath>,
    /// The model file to write.
    #[arg(short, long, value_name = "MODEL.brook")]
    output: OutputPath,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file that was written.
    model: PathBuf,
    /// Number of models that it was made of.
    members: usize,
    /// Its length.
    model_bytes: usize,
    /// RAM that its rows and scratch memory take.
    arena_bytes: usize,
    /// Arena of the member that needs the most.
    largest_member_arena_bytes: usize,
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let files = args.members.iter().map(ModelFile::open).collect::<Result<Vec<_>, _>>()?;
    let programs = files.iter().map(|file| Program::read(&file.model())).collect();
    let program = ensemble(programs).map_err(|(member, misfit)| {
        let help = misfit.remedy();
        failure!(help = help.unwrap_or_default(), "{}: {misfit}", args.members[member].display())
    })?;
    // Each member alone can be planned, and few rows stay alive between two members, so this rarely
    // fails.
    let plan = plan(&program, Goal::Size).map_err(|error| {
        failure!(help = "leave out a member", "{}: {error}", args.output.display())
    })?;
    let file = self_test::build(&program, &plan, &args.output)?;
    args.output.write(file.bytes())?;
    let arenas = files.iter().map(|file| file.model().arena_bytes());
    output.print(&Report {
        model: args.output.to_path_buf(),
        members: files.len(),
        model_bytes: file.bytes().len(),
        arena_bytes: file.model().arena_bytes(),
        largest_member_arena_bytes: arenas.max().unwrap_or(0),
    })
}

impl Reported for Report {
    const NAME: &str = "ensemble";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} members, {} bytes, arena {} bytes (the largest member alone: {})",
            self.model.display(),
            self.members,
            thousands(self.model_bytes),
            thousands(self.arena_bytes),
            thousands(self.largest_member_arena_bytes),
        )
    }
}
