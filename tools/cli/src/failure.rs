//! Failures of commands, as they are shown to the user.
//!
//! Libraries report what is wrong, each with an error type of its own. [`Remedy`] adds what the
//! user can do about it, which is often an option of a command.

use std::error::Error;
use std::fmt;
use std::path::Path;

use brooklet_quantize::error::QuantizeError;
use miette::Diagnostic;

use crate::remedies::Remedy;

/// What is wrong, and what to do about it.
pub struct Failure(miette::Report);

/// The result of a command, or of a part of it.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure described in words; it takes the arguments of `miette!`.
macro_rules! failure {
    ($($words:tt)*) => {
        $crate::failure::Failure::from(miette::miette!($($words)*))
    };
}

pub(crate) use failure;

impl From<miette::Report> for Failure {
    fn from(report: miette::Report) -> Self {
        Self(report)
    }
}

impl<E: Remedy + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Told(error).into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An error of a library, with its remedy.
#[derive(Debug)]
struct Told<E>(E);

impl<E: Error> fmt::Display for Told<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<E: Error> Error for Told<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl<E: Remedy> Diagnostic for Told<E> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.remedy().map(|remedy| Box::new(remedy) as _)
    }
}

/// The failure of a network that could not be run or quantized.
pub(crate) fn failed(network: &Path, error: QuantizeError) -> Failure {
    match error {
        QuantizeError::Data(error) => error.into(),
        QuantizeError::Unrepresentable(error) => error.in_file(network).into(),
        QuantizeError::Engine(_) | QuantizeError::Overflows { .. } => {
            let remedy = error.remedy().unwrap_or_default();
            failure!(help = remedy, "{}: {error}", network.display())
        }
    }
}
