//! Shows errors on a terminal.

use std::error::Error;
use std::fmt;

use brooklet_files::text;
use miette::{Diagnostic, MietteHandler, MietteHandlerOpts, ReportHandler};

/// Maximum length of an error message, in characters.
const MESSAGE: usize = 1000;

/// Shows errors as miette does, but without control characters, and cut off if they are too long.
pub struct Handler(MietteHandler);

impl Handler {
    /// A handler with these options.
    pub fn new(options: MietteHandlerOpts) -> Self {
        Self(options.build())
    }
}

impl ReportHandler for Handler {
    fn debug(&self, error: &dyn Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let help = error.help().map(|help| cut(&help.to_string()));
        let plain = Plain { help, ..Plain::new(&error.to_string(), error.source()) };
        self.0.debug(&plain, f)
    }
}

/// A message of bounded length, whose lines are kept.
fn cut(message: &str) -> String {
    let mut message = text::report(message);
    if let Some((end, _)) = message.char_indices().nth(MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// An error reduced to text.
#[derive(Debug)]
struct Plain {
    message: String,
    help: Option<String>,
    source: Option<Box<Plain>>,
}

impl Plain {
    fn new(message: &str, source: Option<&(dyn Error + 'static)>) -> Self {
        let source =
            source.map(|source| Box::new(Plain::new(&source.to_string(), source.source())));
        Self { message: cut(message), help: None, source }
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Plain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Diagnostic for Plain {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
}
