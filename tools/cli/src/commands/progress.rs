//! What is said of how the work goes, on the error stream: bars and news, or nothing (`--quiet`); with
//! `--verbose` what was decided, and how long each stage took.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use brooklet_files::text;
use indicatif::{ProgressBar, ProgressStyle};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Quiet,
    /// Bars, and news.
    Usual,
    /// Decisions and times, too.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Usual as u8);

/// From now on as much is said.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

fn is(level: Level) -> bool {
    LEVEL.load(Relaxed) == level as u8
}

/// A line on what was decided, where somebody wants to know.
pub fn detail(line: impl FnOnce() -> String) {
    if is(Level::Verbose) {
        // Where nobody listens, news are lost.
        let _ = writeln!(io::stderr(), "{}", text::report(&line()));
    }
}

/// A stage of the work, which says how long it took when it is over.
#[derive(Debug)]
pub struct Stage {
    what: String,
    began: Instant,
}

impl Stage {
    /// Begins now.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), began: Instant::now() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        detail(|| format!("{:>8.2} s  {}", self.began.elapsed().as_secs_f64(), self.what));
    }
}

/// A progress bar or a spinner: a stage of the work, or, with other messages, several.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Mutex<Option<Stage>>,
}

impl Bar {
    /// Another stage begins.
    pub(crate) fn set_message(&self, what: impl Into<String>) {
        let what = what.into();
        let mut stage = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The one before ends first.
        stage.take();
        stage.replace(Stage::new(what.clone()));
        self.bar.set_message(what);
    }

    /// Takes it off the terminal.
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

/// A progress bar on the terminal; nothing where there is none.
pub(crate) fn progress(length: usize, what: &'static str) -> Bar {
    let style = ProgressStyle::with_template("{msg:12} {bar:32} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar =
        if is(Level::Quiet) { ProgressBar::hidden() } else { ProgressBar::new(length as u64) };
    let bar = Bar { bar: bar.with_style(style), stage: Mutex::default() };
    bar.set_message(what);
    bar
}

/// A spinner on the terminal, for work of unknown length. Lines are shown beside it, or
/// printed to the error stream where there is no terminal.
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

/// A line of news beside a spinner.
pub(crate) fn say(spinner: &ProgressBar, line: &str) {
    if is(Level::Quiet) {
        return;
    }
    let line = text::report(line);
    if spinner.is_hidden() {
        // Where nobody listens, news are lost.
        let _ = writeln!(io::stderr(), "{line}");
    } else {
        spinner.println(line);
    }
}
