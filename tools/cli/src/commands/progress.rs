//! Progress on the error stream: bars and messages, or nothing with `--quiet`. With `--verbose`, also
//! decisions, and the time of each stage.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use brooklet_files::text;
use indicatif::{ProgressBar, ProgressStyle};

/// How much a command prints about its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Quiet,
    /// Bars and messages.
    Usual,
    /// Bars and messages, decisions and times.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Usual as u8);

/// Sets how much is printed from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

fn is(level: Level) -> bool {
    LEVEL.load(Relaxed) == level as u8
}

/// Prints a line about a decision if the user asked for it (`--verbose`).
pub fn detail(line: impl FnOnce() -> String) {
    if is(Level::Verbose) {
        // If the error stream cannot be written, the line is lost.
        let _ = writeln!(io::stderr(), "{}", text::report(&line()));
    }
}

/// A stage of the work. When it ends, it prints how long it took.
#[derive(Debug)]
pub struct Stage {
    what: String,
    began: Instant,
}

impl Stage {
    /// Begins a stage now.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), began: Instant::now() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        detail(|| format!("{:>8.2} s  {}", self.began.elapsed().as_secs_f64(), self.what));
    }
}

/// A progress bar or a spinner. Each message begins a stage of the work.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Mutex<Option<Stage>>,
}

impl Bar {
    /// Begins another stage.
    pub(crate) fn set_message(&self, what: impl Into<String>) {
        let what = what.into();
        let mut stage = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The previous stage must end before the next one begins.
        stage.take();
        stage.replace(Stage::new(what.clone()));
        self.bar.set_message(what);
    }

    /// Removes the bar from the terminal.
    pub(crate) fn finish_and_clear(self) {
        self.bar.finish_and_clear();
    }
}

impl Deref for Bar {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.bar
    }
}

/// A progress bar on the terminal. If there is no terminal, nothing is shown.
pub(crate) fn progress(length: usize, what: &'static str) -> Bar {
    let style = ProgressStyle::with_template("{msg:12} {bar:32} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar =
        if is(Level::Quiet) { ProgressBar::hidden() } else { ProgressBar::new(length as u64) };
    let bar = Bar { bar: bar.with_style(style), stage: Mutex::default() };
    bar.set_message(what);
    bar
}

/// A spinner on the terminal, for work of unknown length.
pub(crate) fn spinner() -> Bar {
    let bar = match is(Level::Quiet) {
        true => ProgressBar::hidden(),
        false => ProgressBar::new_spinner(),
    };
    if !is(Level::Quiet) {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    Bar { bar, stage: Mutex::default() }
}

/// Prints a line above a spinner, or to the error stream if there is no terminal.
pub(crate) fn say(spinner: &ProgressBar, line: &str) {
    if is(Level::Quiet) {
        return;
    }
    let line = text::report(line);
    if spinner.is_hidden() {
        // If the error stream cannot be written, the line is lost.
        let _ = writeln!(io::stderr(), "{line}");
    } else {
        spinner.println(line);
    }
}
