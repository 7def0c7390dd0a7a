//! `brooklet completions` and `brooklet man`: texts for shells and for `man`.

use clap::Command;
use clap_complete::Shell;

use super::write_out;
use crate::failure::{Result, failure};

/// Options of `brooklet completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Options of `brooklet man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The subcommand. Default: the page of the whole command.
    #[arg(value_name = "COMMAND")]
    subcommand: Option<String>,
}

/// Prints the completions of `command` for a shell.
pub fn completions(args: &Completions, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "brooklet", &mut script);
    write_out(&script)
}

/// Prints the manual page of `command`, or of one of its subcommands.
pub fn man(args: &Man, mut command: Command) -> Result<()> {
    command.build();
    let of = match &args.subcommand {
        None => command,
        Some(name) => command.find_subcommand(name).cloned().ok_or_else(|| {
            failure!(
                help = "`brooklet help` lists the subcommands",
                "brooklet has no subcommand `{name}`"
            )
        })?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(of).render(&mut page);
    rendered.map_err(|error| failure!("the page cannot be made: {error}"))?;
    write_out(&page)
}
