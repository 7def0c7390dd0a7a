//! The messages: what can be asked, and what can be answered.

use serde::{Deserialize, Serialize};

use crate::LAYERS_PER_PAGE;

/// What a host asks of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? Answered with [`Response::Identity`].
    Identify,
    /// Is there a model in the slot, and can it run here? The board reads the slot again.
    /// Answered with [`Response::Loaded`], with [`Fault::Model`], or with
    /// [`Fault::ModelChanged`].
    Check,
    /// One row of an image. Row 0 begins a new image; the others follow in order.
    /// Answered with [`Response::Accepted`] as soon as the row is queued.
    Row {
        /// Counted from the top of the image.
        y: u16,
        /// RGB bytes, left to right.
        #[serde(borrow)]
        pixels: &'a [u8],
    },
    /// The logits, from byte `first` on. Answered with [`Response::Values`] when the
    /// network has run to its end.
    Logits {
        /// The first byte wanted; a page holds [`crate::VALUES_PER_PAGE`].
        first: u32,
    },
    /// Likewise, the network's outputs: after softmax where it has one, else the logits
    /// again.
    Output {
        /// The first byte wanted.
        first: u32,
    },
    /// What the last image cost, from layer `first` on. Answered with
    /// [`Response::Profile`].
    Profile {
        /// The first layer wanted; a page holds [`crate::LAYERS_PER_PAGE`].
        first: u16,
    },
    /// Forget the image that is under way. Answered with [`Response::Ready`].
    Reset,
    /// Run the kernels' test suite. Answered with [`Response::Suite`], by firmware that has it.
    Suite,
    /// Run the test images that the model carries. Answered with [`Response::SelfTest`]. Drops
    /// the image that is under way.
    SelfTest,
    /// What went wrong on the line? Answered with [`Response::Line`].
    Line,
    /// Which model runs? Answered with [`Response::Slots`], by firmware that takes models.
    Slots,
    /// Begin an update: a model file of this length follows. What the other slot held is gone.
    /// Answered with [`Response::Ready`].
    Update {
        /// Bytes of the model file.
        bytes: u32,
    },
    /// A part of the model file. Parts come in order; each but the last is as long as a multiple of
    /// [`SlotsState::unit`]. Answered with [`Response::Ready`].
    Part {
        /// Where it begins in the model file.
        offset: u32,
        /// The part.
        bytes: &'a [u8],
    },
    /// The end of an update. Answered with [`Response::Slots`], of which `running` is the new model;
    /// then the board starts with it.
    Install {
        /// The model's version.
        counter: u32,
        /// The signature over it and the model file, 64 bytes.
        signature: &'a [u8],
    },
}

/// What a board says of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsState {
    /// Counter of the model that runs, if one does.
    pub running: Option<u32>,
    /// Bytes that a part is a multiple of.
    pub unit: u32,
}

/// What a board's counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Instructions.
    Instructions,
    /// Cycles of the core's clock.
    Cycles,
    /// Microseconds.
    Microseconds,
}

/// What went wrong on the line since start-up. A frame that lost bytes is answered with
/// [`Fault::Garbled`]; this tells why.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineErrors {
    /// Times that bytes came before the chip's were taken, and were lost.
    pub overruns: u32,
    /// Bytes that had no proper end or the wrong parity, and breaks.
    pub framing: u32,
    /// Bytes that found no room in the board's memory.
    pub no_room: u32,
}

impl LineErrors {
    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl core::fmt::Display for LineErrors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { overruns, framing, no_room } = self;
        write!(f, "{overruns} overruns, {framing} bytes badly framed, {no_room} without room")
    }
}

/// What a board answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response<'a> {
    /// To [`Request::Identify`].
    #[serde(borrow)]
    Identity(Identity<'a>),
    /// To [`Request::Check`].
    Loaded(Loaded),
    /// To [`Request::Row`].
    Accepted(Accepted),
    /// To [`Request::Logits`] and [`Request::Output`].
    Values(ValuesPage<'a>),
    /// To [`Request::Profile`].
    Profile(ProfilePage),
    /// To [`Request::Reset`].
    Ready,
    /// To [`Request::SelfTest`].
    SelfTest {
        /// Number of test images that the model carries.
        images: u16,
        /// The first, counted from 0, that gave other bytes than those stored with it.
        differs: Option<u16>,
    },
    /// To [`Request::Suite`].
    Suite {
        /// Cases that were run.
        cases: u32,
        /// Cases that differ from the reference.
        failures: u32,
        /// The first of these, if there is one: [`SuiteFailure::to_bytes`]. Firmware without the suite
        /// has no code for its fields so.
        first: &'a [u8],
    },
    /// To [`Request::Line`].
    Line(LineErrors),
    /// To [`Request::Slots`] and [`Request::Install`].
    Slots(SlotsState),
    /// To any request that could not be carried out.
    Failed(Fault<'a>),
}

/// A case of the kernels' test suite that differs from the reference, as the suite has it.
///
/// ```text
/// 0      4      6       8          12         16
/// │ case │ row  │ index │ expected │ computed │   little-endian
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuiteFailure {
    /// Its number.
    pub case: u32,
    /// The row, of those that a step makes.
    pub row: u16,
    /// The first number of the row that differs.
    pub index: u16,
    /// What the reference has there.
    pub expected: i32,
    /// What the board has.
    pub computed: i32,
}

impl SuiteFailure {
    /// As a message has it.
    pub fn to_bytes(&self) -> [u8; 16] {
        let words = [
            self.case,
            u32::from(self.row) | u32::from(self.index) << 16,
            self.expected as u32,
            self.computed as u32,
        ];
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From what a message has; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 16] = bytes.try_into().ok()?;
        let (words, _) = bytes.as_chunks();
        let [case, place, expected, computed] =
            core::array::from_fn(|i| words.get(i).map_or(0, |&word| u32::from_le_bytes(word)));
        let (row, index) = (place as u16, (place >> 16) as u16);
        Some(Self { case, row, index, expected: expected as i32, computed: computed as i32 })
    }
}

/// A board introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity<'a> {
    /// The protocol it speaks: [`crate::VERSION`]. Always the first field.
    pub protocol: u16,
    /// The board's name, as `brooklet boards` lists it.
    pub board: &'a str,
    /// Its processor core.
    pub core: &'a str,
    /// The kernels that its firmware has.
    pub backend: &'a str,
    /// The firmware's version.
    pub firmware: &'a str,
    /// Bytes of the flash slot that a model may fill.
    pub slot_bytes: u32,
    /// Bytes of RAM that the firmware sets aside for a model's arena.
    pub arena_bytes: u32,
    /// The longest row of an image that it takes.
    pub row_bytes: u32,
    /// What its counts are of.
    pub unit: Unit,
}

/// The model in the slot passed its check, and runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Length of the model file.
    pub model_bytes: u32,
    /// The checksum in the model file's header, verified by the board.
    pub crc: u32,
    /// Bytes of arena that it needs.
    pub arena_bytes: u32,
    /// Bytes of a session, beside the arena.
    pub session_bytes: u32,
    /// Rows of its input image.
    pub rows: u16,
    /// Pixels of a row.
    pub columns: u16,
    /// Bytes of a pixel.
    pub channels: u16,
    /// Number of its layers.
    pub layers: u16,
    /// What its check took at start-up, in the board's [`Unit`].
    pub check_count: u64,
}

/// A row was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Rows of this image that the board has taken so far.
    pub rows: u16,
}

/// A part of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesPage<'a> {
    /// Number of bytes in all: one a class, or two where the model's values are int16.
    pub count: u32,
    /// The first one on this page.
    pub first: u32,
    /// Values as they are in memory, little-endian.
    pub values: &'a [u8],
}

/// Counts of consecutive layers.
pub type Counts = heapless::Vec<u64, LAYERS_PER_PAGE>;

/// What the last image cost, in the board's [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePage {
    /// From the first row pushed to the logits ready. Only calls of the session are counted:
    /// the serial link and its waits are not.
    pub total: u64,
    /// The deepest that the stack has been since start-up, in bytes.
    pub stack_bytes: u32,
    /// Number of layers in all.
    pub layers: u16,
    /// The first layer on this page.
    pub first: u16,
    /// Of each layer, from `first` on; none beyond the last layer that the board has room to
    /// count. Their sum is below `total`, which also has such layers and the
    /// copying of the input rows.
    pub counts: Counts,
}

/// Why a request could not be carried out.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault<'a> {
    /// The frame holds no message: its stuffing, checksum or contents are wrong.
    Garbled,
    /// The frame is longer than the board's longest request ([`crate::request_bytes`]).
    FrameTooLong,
    /// The slot holds no model that can run here.
    Model {
        /// Why not, in words.
        reason: &'a str,
    },
    /// The model in the slot is no longer the one that was loaded at start-up: the board gives no
    /// results until it is restarted.
    ModelChanged,
    /// The rows of the model's images are longer than the board takes.
    RowTooLong {
        /// Bytes of a row.
        bytes: u32,
        /// Bytes of the longest row that the board takes: [`Identity::row_bytes`].
        limit: u32,
    },
    /// A row arrived out of its order.
    RowOutOfOrder {
        /// The row that the board waits for.
        expected: u16,
    },
    /// A row has another length than the model's input.
    RowBytes {
        /// Bytes of a row.
        expected: u32,
    },
    /// Results were asked for before all rows had come.
    RowsMissing {
        /// Rows that came.
        seen: u16,
        /// Rows of an image.
        of: u16,
    },
    /// An update does not go on.
    Update {
        /// Why not, in words.
        reason: &'a str,
    },
    /// The firmware takes no models.
    NoUpdates,
    /// The board's firmware met a state that it holds to be impossible.
    Internal {
        /// Which.
        reason: &'a str,
    },
}

impl core::fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Garbled => f.write_str("the board received a damaged frame"),
            Self::FrameTooLong => f.write_str("the board received a frame that is too long"),
            Self::Model { reason } => write!(f, "no model that can run here: {reason}"),
            Self::ModelChanged => f.write_str("the model in flash changed since start-up"),
            Self::RowTooLong { bytes, limit } => {
                write!(
                    f,
                    "its rows of {bytes} bytes are longer than the {limit} that the board takes"
                )
            }
            Self::RowOutOfOrder { expected } => {
                write!(f, "a row came out of order: row {expected} was expected")
            }
            Self::RowBytes { expected } => {
                write!(f, "a row has another length than the model's {expected} bytes")
            }
            Self::RowsMissing { seen, of } => {
                write!(f, "only {seen} of the image's {of} rows have come")
            }
            Self::Update { reason } => write!(f, "the update was refused: {reason}"),
            Self::NoUpdates => f.write_str("the firmware takes no models over its link"),
            Self::Internal { reason } => write!(f, "the firmware failed: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_as_it_was_written() {
        let failure =
            SuiteFailure { case: 70_000, row: 3, index: 600, expected: -128, computed: 127 };
        assert_eq!(SuiteFailure::from_bytes(&failure.to_bytes()), Some(failure));
        assert_eq!(SuiteFailure::from_bytes(&[]), None);
    }
}
