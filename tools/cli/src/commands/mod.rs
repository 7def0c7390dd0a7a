//! The subcommands of `brooklet`, one file each: options, work, report.

pub mod bench;
pub mod boards;
pub mod check;
mod chip;
mod choice;
pub mod compare;
mod device;
pub mod doctor;
pub mod ensemble;
mod espflash;
pub mod eval;
pub mod export;
pub mod fit;
pub mod flash;
mod float;
mod images;
pub mod init;
pub mod inspect;
mod log;
pub mod monitor;
mod network;
pub mod new;
pub mod plan;
pub mod progress;
pub mod push;
pub mod quantize;
pub mod report;
pub mod run;
pub mod schema;
pub mod shell;
pub mod sign;

use self::progress::{Bar, Stage, detail, progress, say, spinner};
use crate::failure::{Result, failure};
use crate::report::schema::{Reported, json};
use std::io::{self, Write};
use std::path::Path;

use brooklet_files::text;
use brooklet_files::{self as files, Limit};
use brooklet_import::error::{ImportError, LayerProblem};

/// How figures are printed.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// As JSON, for programs.
    pub json: bool,
}

impl Output {
    /// Prints a report: as JSON, or for people.
    pub(crate) fn print<T: Reported>(self, report: &T) -> Result<()> {
        let text = if self.json {
            let json = json(report)
                .map_err(|error| failure!("the report cannot be written as JSON: {error}"))?;
            text::json(&json) + "\n"
        } else {
            text::report(&report.to_string())
        };
        write_out(text.as_bytes())
    }
}

/// Writes to the standard output.
fn write_out(text: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // A reader such as `head` closes the pipe when it has seen enough, which is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| {
            failure!(
                help = "check where the output goes, and the space that is left there",
                "the report cannot be written: {error}"
            )
        }),
    }
}

/// Reads a file that the user named.
pub(crate) fn read(path: &Path, limit: Limit) -> Result<Vec<u8>, ImportError> {
    files::read(path, limit).map_err(|problem| LayerProblem::from(problem).in_file(path))
}

/// A number of bytes as users write it: 196608, 192K, 4M.
pub(crate) fn bytes(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.to_ascii_uppercase().strip_suffix(['K', 'M']) {
        Some(digits) if text.ends_with(['k', 'K']) => (digits.to_owned(), 1 << 10),
        Some(digits) => (digits.to_owned(), 1 << 20),
        None => (text.to_owned(), 1),
    };
    let number: Option<u32> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "a number of bytes below 4 GiB is expected, such as 196608 or 192K".into())
}

/// Prints warnings to the error stream, one per line.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        // If the error stream cannot be written, they are lost; reports in JSON have them, too.
        let _ = writeln!(io::stderr(), "warning: {}", text::report(warning));
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("196608"), Ok(196_608));
        assert_eq!(bytes("192K"), Ok(196_608));
        assert_eq!(bytes("4m"), Ok(4 << 20));
        for wrong in ["", "K", "12KB", "-1", "4096M", "1.5M"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
