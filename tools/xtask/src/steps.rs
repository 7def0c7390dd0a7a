//! Steps, one after the other, with a summary at the end.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brooklet_firmware::Error;
use miette::Diagnostic;

/// Why a step or a chore failed, in words.
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = format!("error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        if let Some(help) = error.help() {
            text.push_str(&format!("\n  help: {help}"));
        }
        Self(text)
    }
}

/// Steps that were taken.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Carries out a chore and closes with a summary. A step that fails does not keep the
    /// next from running: one run tells all that is wrong.
    pub(crate) fn run(chore: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut steps = Self::default();
        let outcome = chore(&mut steps);
        steps.summary();
        outcome?;
        match steps.done.iter().filter(|(.., passed)| !passed).count() {
            0 => Ok(()),
            failed => Err(Failure(format!("{failed} of the steps failed"))),
        }
    }

    /// Takes one step.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), Failure>) {
        println!("\n── {name}");
        let start = Instant::now();
        let result = work();
        if let Err(failure) = &result {
            println!("{failure}");
        }
        self.done.push((name.to_owned(), start.elapsed(), result.is_ok()));
    }

    fn summary(&self) {
        println!("\n── summary");
        for (name, time, passed) in &self.done {
            let verdict = if *passed { "ok    " } else { "FAILED" };
            println!("{verdict} {:>6.1} s  {name}", time.as_secs_f32());
        }
        let passed = self.done.iter().filter(|(.., passed)| *passed).count();
        println!("{passed} passed, {} failed", self.done.len() - passed);
    }
}

/// Runs a command, shown as it would be typed.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    match command.get_current_dir() {
        Some(folder) => println!("$ (cd {}) {line}", folder.display()),
        None => println!("$ {line}"),
    }
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure(format!("error: `{line}` could not be run: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("error: `{line}` failed: {status}")))
    }
}

/// Prints what takes long or is installed.
pub(crate) fn say(line: &str) {
    println!("   {line}");
}
