//! Convolutions on two cores.
//!
//! ```text
//! weights   │ channels of this core │ channels of the other │
//!                      ▼                        ▼               at the same time
//! room      │ a b  a b  a b  …      │ c d  c d  c d  …      │
//!                      ▼                        ▼
//! output    │ a b c d   a b c d   a b c d   …               │   on this core
//! ```
//!
//! The output channels are divided between the cores, not the columns of a row: late layers have
//! many channels and few columns, and fully connected layers have a single column. Each core reads
//! half of the weights, which matters if flash is slow. The channels of a column are adjacent in a
//! row, so each core makes rows of its own, and one core combines them. The two cores never write
//! to the same memory.

use core::cell::Cell;
use core::fmt;
use core::ops::Range;

use super::shared::channels::{conv_of, put, take};
use super::{Backend, Isa};
use crate::arena::ARENA_ALIGN;
use crate::feature::Feature;
use crate::format::{LayerRecord, Operator};
use crate::model::Model;
use crate::ops::conv::Conv;
use crate::ops::grouped_conv::GroupedConv;
use crate::ops::{MAX_STEP_ROWS, Outputs, Rows, Shortcut, Shortcuts, int8_mut};

/// Runs something on the other core of a chip.
pub trait OtherCore {
    /// Runs `there` on the other core and `here` on this one, once each, and returns when both are
    /// done.
    fn both(&self, there: &mut (dyn FnMut() + Send), here: &mut dyn FnMut());
}

/// The other core, and memory for the rows that both make.
///
/// [`room_bytes`](Self::room_bytes) says how much memory a model takes. Convolutions for which the
/// memory is too small run on one core.
pub struct Cores<'r, O> {
    other: O,
    room: Cell<&'r mut [u8]>,
}

impl<'r, O: OtherCore> Cores<'r, O> {
    /// Uses the core `other` and the memory `room`. If `room` does not begin at a multiple of
    /// [`ARENA_ALIGN`], the bytes before the first multiple are not used.
    pub fn new(other: O, room: &'r mut [u8]) -> Self {
        let skipped = room.as_ptr().addr().wrapping_neg() % ARENA_ALIGN;
        Self { other, room: Cell::new(room.get_mut(skipped..).unwrap_or_default()) }
    }
}

impl Cores<'_, ()> {
    /// Largest number of bytes that a convolution of the model takes, so that all convolutions that
    /// can be divided are.
    pub fn room_bytes(model: &Model<'_>) -> usize {
        let of = |layer: &LayerRecord| {
            let rows = layer.packing().rows_a_step().min(layer.rows.get().into());
            match layer.operator() {
                _ if layer.has_int16() => 0,
                Operator::Conv => room_for(&Conv::new(model, layer), rows),
                Operator::GroupedConv if Feature::GroupedConv.is_on() => {
                    room_for(&GroupedConv::new(model, layer).group(0), rows)
                }
                _ => 0,
            }
        };
        model.layers().iter().map(of).max().unwrap_or(0)
    }
}

impl<O> fmt::Debug for Cores<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cores")
    }
}

/// A backend that divides its convolutions between two cores: the same bytes, in less time.
///
/// ```
/// use brooklet::kernels::{Cores, OtherCore, Portable, Split};
/// use brooklet::{Arena, Model, Session};
///
/// /// On a chip this wakes the second core; here it starts a thread.
/// struct Thread;
///
/// impl OtherCore for Thread {
///     fn both(&self, there: &mut (dyn FnMut() + Send), here: &mut dyn FnMut()) {
///         std::thread::scope(|scope| {
///             scope.spawn(there);
///             here();
///         });
///     }
/// }
///
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::parse(MODEL)?;
/// let mut room = Arena::<4096>::new();
/// assert!(Cores::room_bytes(&model) <= 4096);
/// let cores = Cores::new(Thread, &mut room);
/// # const ARENA: usize = brooklet::arena_bytes(MODEL);
/// let mut arena = Arena::<ARENA>::new();
/// let mut session = Session::new(&model, Split::new(Portable, &cores), &mut arena)?;
/// # let image = vec![100; model.input().bytes()];
/// session.run_image(&image)?;
/// # Ok(())
/// # }
/// ```
pub struct Split<'c, 'r, B, O> {
    backend: B,
    cores: &'c Cores<'r, O>,
}

impl<'c, 'r, B, O> Split<'c, 'r, B, O> {
    /// The backend `backend` on these cores.
    pub fn new(backend: B, cores: &'c Cores<'r, O>) -> Self {
        Self { backend, cores }
    }
}

impl<B: Clone, O> Clone for Split<'_, '_, B, O> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), cores: self.cores }
    }
}

impl<B: Copy, O> Copy for Split<'_, '_, B, O> {}

impl<B: fmt::Debug, O> fmt::Debug for Split<'_, '_, B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Split").field(&self.backend).finish()
    }
}

impl<B: Backend + Sync, O: OtherCore> Backend for Split<'_, '_, B, O> {
    const ISA: &'static Isa = B::ISA;
    const SEVERAL_ROWS: bool = B::SEVERAL_ROWS;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        let backend = &self.backend;
        let run = |conv: &Conv<'_>, scratch: &mut [u8], made: &mut Outputs<'_>| {
            let [made, ..] = made;
            backend.conv(conv, rows, &Shortcut::InPlace, scratch, made);
        };
        let shortcuts = core::slice::from_ref(shortcut);
        let outputs = &mut [&mut *output];
        if self.cores.share(conv, shortcuts, scratch, outputs, run).is_none() {
            backend.conv(conv, rows, shortcut, scratch, output);
        }
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        let backend = &self.backend;
        let run = |conv: &Conv<'_>, scratch: &mut [u8], made: &mut Outputs<'_>| {
            let in_place = [Shortcut::InPlace; MAX_STEP_ROWS];
            backend.conv_rows(conv, rows, &in_place, scratch, made);
        };
        if self.cores.share(conv, shortcuts, scratch, outputs, run).is_none() {
            backend.conv_rows(conv, rows, shortcuts, scratch, outputs);
        }
    }

    super::direct::others_of!(backend);
}

impl<O: OtherCore> Cores<'_, O> {
    /// Runs each half of a convolution on a core of its own; `None` if it has no halves, or if
    /// there is too little room for them.
    fn share(
        &self,
        whole: &Conv<'_>,
        shortcuts: &[Shortcut<'_>],
        scratch: &mut [u8],
        outputs: &mut [&mut [i8]],
        run: impl Fn(&Conv<'_>, &mut [u8], &mut Outputs<'_>) + Sync,
    ) -> Option<()> {
        let middle = middle(whole)?;
        // Convolutions do not nest, so the room is free.
        let room = self.room.take();
        let halves = halves(whole, middle, shortcuts, scratch, outputs, room);
        let shared = halves.map(|[mut here, mut there]| {
            let on_the_other = &mut || run(&there.conv, &mut *there.scratch, &mut there.made);
            let on_this = &mut || run(&here.conv, &mut *here.scratch, &mut here.made);
            self.other.both(on_the_other, on_this);
            for half in [here, there] {
                for (made, output) in half.made.iter().zip(outputs.iter_mut()) {
                    put(whole, &half.channels, made, output);
                }
            }
        });
        self.room.set(room);
        shared
    }
}

/// The first output channel of the second half; channels that are interleaved in the packing are
/// not separated.
fn middle(conv: &Conv<'_>) -> Option<usize> {
    let channels = usize::from(conv.window.output.channels);
    let together = conv.packing.together(conv.kernel_taps());
    let groups = channels.div_ceil(together.max(1));
    // The other core gets the larger half, because this one combines the rows.
    if groups > 1 { Some(groups / 2 * together) } else { None }
}

/// Number of bytes of room for a convolution whose steps make `rows` rows.
fn room_for(conv: &Conv<'_>, rows: usize) -> usize {
    middle(conv).map_or(0, |middle| {
        let channels = middle..usize::from(conv.window.output.channels);
        let there = conv_of(conv, &channels, conv.packing, &[]);
        there.scratch_bytes() + rows * conv.output_bytes()
    })
}

/// What one core runs.
struct Half<'h> {
    conv: Conv<'h>,
    channels: Range<usize>,
    scratch: &'h mut [u8],
    made: Outputs<'h>,
}

/// Both halves: this core's uses the layer's own scratch memory, the other core's uses `room`.
fn halves<'h>(
    whole: &Conv<'h>,
    middle: usize,
    shortcuts: &[Shortcut<'_>],
    scratch: &'h mut [u8],
    outputs: &[&mut [i8]],
    room: &'h mut [u8],
) -> Option<[Half<'h>; 2]> {
    let bytes = whole.packing.bytes(middle, whole.kernel_taps());
    let (weights, others) = whole.weights.split_at_checked(bytes)?;
    let parts = [0..middle, middle..usize::from(whole.window.output.channels)];
    let [here, there] = parts.clone();
    let here = conv_of(whole, &here, whole.packing, weights);
    let there = conv_of(whole, &there, whole.packing, others);
    let scratch = scratch.get_mut(..here.scratch_bytes())?;
    let (other_scratch, rest) = room.split_at_mut_checked(there.scratch_bytes())?;
    let mut rest = int8_mut(rest);
    let mut made: [Outputs<'_>; 2] = Default::default();
    for ((channels, conv), made) in parts.iter().zip([&here, &there]).zip(&mut made) {
        let rows = made.iter_mut().zip(outputs).zip(shortcuts);
        for ((made, output), shortcut) in rows.filter(|((_, output), _)| !output.is_empty()) {
            let (row, others) = rest.split_at_mut_checked(conv.output_bytes())?;
            take(whole, channels, shortcut, output, row);
            (*made, rest) = (row, others);
        }
    }
    let [first, second] = parts;
    let [made, others] = made;
    Some([
        Half { conv: here, channels: first, scratch, made },
        Half { conv: there, channels: second, scratch: other_scratch, made: others },
    ])
}
