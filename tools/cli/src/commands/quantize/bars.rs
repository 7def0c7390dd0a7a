//! Progress on the terminal.

use std::cell::RefCell;

use crate::commands::{Bar, progress};
use brooklet_quantize::recipe::Progress;

/// A progress bar for each part of the work.
#[derive(Default)]
pub(super) struct Bars {
    bar: RefCell<Option<Bar>>,
}

impl Bars {
    /// Removes the last bar from the terminal.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &'static str, items: usize) {
        self.finish();
        self.bar.replace(Some(progress(items, what)));
    }

    fn advance(&self, items: usize) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.inc(items as u64);
        }
    }
}
