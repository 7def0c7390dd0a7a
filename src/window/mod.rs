//! Weights behind a driver, such as that of an SPI flash, read into a window in RAM.
//!
//! The part of the model file before the weights stays in RAM: records, biases, tables and
//! positions of rows. Tools write the weights last. Each step of a convolution runs with the
//! weights of some output channels, then of the next, following the [layout](layout) of the window.

mod check;
mod layout;
pub(crate) mod run;
mod source;

use crate::arena::ARENA_ALIGN;
use crate::error::Error;
use crate::model::Model;
use crate::ops::int8;
#[cfg(feature = "self-test")]
use crate::scrub::{Scrub, Verification};
use crate::weights::{Part, Sealed};

pub use check::resident_bytes;
use layout::{Cut, Layout};
pub use layout::{smallest_window, weight_bytes_read};
pub use source::{Flash, WeightsSource};

/// Weights that are read from a [`WeightsSource`] into a window in RAM, some output channels at a time.
///
/// The model's records, biases and tables are checked in RAM and stay there. The source can change
/// or be hostile, but its bytes do not decide where anything is read or written. If weights change
/// after the check, results are wrong, as with memory-mapped flash, and
/// [`verify_weights`](crate::Session::verify_weights) finds the change. With debug assertions, sums
/// of such weights can overflow, and panic.
///
/// ```no_run
/// use brooklet::kernels::Portable;
/// use brooklet::{Arena, Flash, Session, WeightsWindow};
/// # use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// # struct Spi;
/// # impl ErrorType for Spi { type Error = NorFlashErrorKind; }
/// # impl ReadNorFlash for Spi {
/// #     const READ_SIZE: usize = 1;
/// #     fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
/// #         bytes.copy_from_slice(&MODEL[offset as usize..][..bytes.len()]);
/// #         Ok(())
/// #     }
/// #     fn capacity(&self) -> usize { MODEL.len() }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let spi = Spi;
/// // `spi` is a driver of the flash that holds the model, from its first byte on.
/// let (mut resident, mut window) = (Arena::<8192>::new(), Arena::<4096>::new());
/// let mut weights = WeightsWindow::new(Flash::new(spi, 0), &mut window);
/// let model = weights.parse(&mut resident)?;
/// # const ARENA: usize = brooklet::arena_bytes(MODEL);
/// let mut arena = Arena::<ARENA>::new();
/// let mut session = Session::with_weights(&model, Portable, &mut arena, weights)?;
/// # let image = vec![100; model.input().bytes()];
/// session.run_image(&image)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WeightsWindow<'w, S> {
    source: S,
    window: &'w mut [u8],
    layout: Layout,
    /// The layers of the segment whose kept parts have been read, a bit for each.
    read: u64,
    /// The layer that runs after the current one.
    follows: Option<usize>,
    /// The checksum of the model that this window has checked.
    checked: Option<u32>,
    failed: bool,
    bytes_read: u64,
}

impl<'w, S: WeightsSource> WeightsWindow<'w, S> {
    /// A window on the model file at the start of `source`. The window takes at least
    /// [`smallest_window`] bytes; a larger one usually reads less. If it does not begin at a
    /// multiple of [`ARENA_ALIGN`], the bytes before the first multiple are not used.
    pub fn new(source: S, window: &'w mut [u8]) -> Self {
        let skipped = window.as_ptr().addr().wrapping_neg() % ARENA_ALIGN;
        let window = window.get_mut(skipped..).unwrap_or_default();
        Self {
            source,
            window,
            layout: Layout::none(),
            read: 0,
            follows: None,
            checked: None,
            failed: false,
            bytes_read: 0,
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Number of bytes of weights that were read since the window was made, except those read for
    /// checks.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether this is the window that checked the model.
    pub(crate) fn has_checked(&self, model: &Model<'_>) -> bool {
        self.checked == Some(model.header().crc.get())
    }

    /// Makes the layout of the window for the segment of a layer.
    fn enter(&mut self, model: &Model<'_>, layer: usize) -> Result<(), Error> {
        let graph = model.graph();
        let segment =
            (0..graph.segments.len()).find(|&index| graph.segment(index).contains(&layer));
        self.read = 0;
        self.layout.fill(graph, segment.unwrap_or(0), self.window.len())
    }

    /// The next read of a layer's weights, from part `first` on: the offset in the file, and the
    /// number of bytes.
    fn next_read(&self, model: &Model<'_>, layer: usize, first: u16) -> Option<(u32, usize)> {
        let cut = Cut::of(model.graph(), layer).filter(|_| self.layout.has(layer))?;
        let split = self.layout.split(layer);
        let kept = self.read & self.layout.bit(layer) != 0;
        let index = if kept { first.max(split.kept) } else { first };
        if index >= Layout::parts(&cut, split) {
            return None;
        }
        let part = self.layout.part(&cut, split, index);
        let start = model.layer(layer).weights.get().checked_add(part.bytes.start as u32)?;
        Some((start, part.bytes.len()))
    }

    fn announce_read(&mut self, read: Option<(u32, usize)>) {
        if let Some((offset, bytes)) = read {
            self.source.announce(offset, bytes);
        }
    }

    /// Reads part `index` of a layer's weights unless it is in the window, and calls `run` with it.
    fn part(
        &mut self,
        model: &Model<'_>,
        layer: usize,
        index: u16,
        run: impl FnOnce(Part<'_>),
    ) -> Option<()> {
        let cut = Cut::of(model.graph(), layer)?;
        let split = self.layout.split(layer);
        let part = self.layout.part(&cut, split, index);
        let bit = self.layout.bit(layer);
        let there = part.kept && self.read & bit != 0;
        let at = part.window..part.window.checked_add(part.bytes.len())?;
        if !there {
            let offset = model.layer(layer).weights.get().checked_add(part.bytes.start as u32)?;
            self.source.read(offset, self.window.get_mut(at.clone())?).ok()?;
            self.bytes_read += part.bytes.len() as u64;
            if part.kept && index + 1 == split.kept {
                self.read |= bit;
            }
        }
        // While this part runs, the driver may read the next one.
        let next = self.next_read(model, layer, index + 1);
        let next = match (next, self.follows) {
            (None, Some(follows)) if index + 1 >= Layout::parts(&cut, split) => {
                self.next_read(model, follows, 0)
            }
            _ => next,
        };
        self.announce_read(next);
        let [weights, rows] = self.window.get_disjoint_mut([at, part.rows]).ok()?;
        run(Part {
            channels: part.channels,
            weights: int8(weights),
            rows: crate::ops::int8_mut(rows),
        });
        Some(())
    }
}

impl<S: WeightsSource> Sealed for WeightsWindow<'_, S> {
    const MAPPED: bool = false;

    fn each_part(&mut self, model: &Model<'_>, layer: usize, mut run: impl FnMut(Part<'_>)) {
        if !self.layout.has(layer) && self.enter(model, layer).is_err() {
            self.failed = true;
        }
        let cut = Cut::of(model.graph(), layer);
        let parts = cut.map_or(0, |cut| Layout::parts(&cut, self.layout.split(layer)));
        let mut index = 0;
        while index < parts && !self.failed {
            self.failed = self.part(model, layer, index, &mut run).is_none();
            index += 1;
        }
    }

    fn follows(&mut self, layer: Option<usize>) {
        self.follows = layer;
    }

    fn announce(&mut self, model: &Model<'_>, layer: usize) {
        let read = self.next_read(model, layer, 0);
        self.announce_read(read);
    }

    fn has_failed(&self) -> bool {
        self.failed
    }

    fn recover(&mut self) {
        self.failed = false;
    }

    #[cfg(feature = "self-test")]
    fn verify(&mut self, model: &Model<'_>, scrub: &mut Scrub, budget: usize) -> Verification {
        scrub.advance_by(model.header(), budget, |offset, bytes| {
            self.source.read(offset, bytes).is_ok()
        })
    }
}
