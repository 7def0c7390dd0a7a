//! `brooklet monitor`: prints what firmware writes to its serial port, or its log.

use std::io::{self, Write};

use brooklet_files::{InputPath, text};
use brooklet_firmware::monitor::Lines;
use brooklet_firmware::{Registry, serial};

use super::{log, say, spinner};
use crate::failure::{Result, failure};

/// Options of `brooklet monitor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The board.
    #[arg(long)]
    board: String,
    /// The serial port of the board. Default: the only USB serial port.
    #[arg(long, conflicts_with = "firmware")]
    port: Option<String>,
    /// Starts the board's emulator with this firmware, an ELF file.
    #[arg(long, value_name = "FILE.elf")]
    firmware: Option<InputPath>,
    /// Decodes the log of this firmware, which has the feature `defmt`: in the board's emulator, or
    /// at a debug probe.
    #[arg(long, requires = "firmware")]
    log: bool,
    /// The debug probe, by its USB numbers. Default: the only one.
    #[arg(long, value_name = "VID:PID[:SERIAL]", requires = "log")]
    probe: Option<String>,
    /// Ends after N lines.
    #[arg(long, value_name = "N")]
    lines: Option<usize>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let registry = Registry::find()?;
    let spec = registry.board(&args.board)?;
    let lines = match &args.firmware {
        Some(firmware) if args.log => log::lines(&registry, spec, firmware, args.probe.as_deref())?,
        Some(firmware) => {
            let spinner = spinner();
            let lines = Lines::of_emulator(&registry, spec, firmware, &mut |l| say(&spinner, l))?;
            spinner.finish_and_clear();
            lines
        }
        None => {
            let port = match &args.port {
                Some(port) => port.clone(),
                None => serial::port_of(&spec.name, &serial::ports(), None)?,
            };
            Lines::of_port(spec, &port)?
        }
    };
    let mut out = io::stdout().lock();
    for line in lines.take(args.lines.unwrap_or(usize::MAX)) {
        // The board's text is cleaned, so that it cannot control the terminal.
        match writeln!(out, "{}", text::report(&line)).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written
                .map_err(|error| failure!("what the board says cannot be written: {error}"))?,
        }
    }
    Ok(())
}
