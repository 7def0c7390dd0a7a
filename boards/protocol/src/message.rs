//! The messages: requests and answers.

use serde::{Deserialize, Serialize};

use crate::LAYERS_PER_PAGE;

/// A request of the host to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Asks who is there. Answered with [`Response::Identity`].
    Identify,
    /// Asks whether there is a model in the slot, and whether it can run here. The board reads the
    /// slot again. Answered with [`Response::Loaded`], with [`Fault::Model`], or with
    /// [`Fault::ModelChanged`].
    Check,
    /// One row of an image. Row 0 begins a new image; the others follow in order.
    /// Answered with [`Response::Accepted`] as soon as the row is queued.
    Row {
        /// Index of the row, counted from the top of the image.
        y: u16,
        /// RGB bytes, left to right.
        #[serde(borrow)]
        pixels: &'a [u8],
    },
    /// Asks for the logits, row by row, from byte `first` on. Answered with [`Response::Values`]
    /// after the network has run to its end.
    Logits {
        /// The first byte; a page holds up to [`crate::VALUES_PER_PAGE`] bytes of a row.
        first: u32,
    },
    /// Asks for the network's outputs in the same way: after the softmax if the network has one,
    /// otherwise the logits again.
    Output {
        /// The first byte.
        first: u32,
    },
    /// Asks for the cost of the last image, from layer `first` on. Answered with
    /// [`Response::Profile`].
    Profile {
        /// The first layer; a page holds [`crate::LAYERS_PER_PAGE`].
        first: u16,
    },
    /// Drops the unfinished image. Answered with [`Response::Ready`].
    Reset,
    /// Runs the kernels' test suite. Answered with [`Response::Suite`], by firmware that has it.
    Suite {
        /// One in this number of cases is run, always the same ones.
        one_in: u32,
    },
    /// Runs the test images in the model. Answered with [`Response::SelfTest`]. Drops the
    /// unfinished image.
    SelfTest,
    /// Asks for the errors of the line. Answered with [`Response::Line`].
    Line,
    /// Asks which model runs. Answered with [`Response::Slots`], by firmware that accepts models.
    Slots,
    /// Starts an update: a model file of this length follows. The contents of the other slot are
    /// erased. Answered with [`Response::Ready`].
    Update {
        /// Number of bytes of the model file.
        bytes: u32,
    },
    /// A part of the model file. Parts come in order. The length of each part but the last is a
    /// multiple of [`SlotsState::unit`]. Answered with [`Response::Ready`].
    Part {
        /// Offset of the part in the model file.
        offset: u32,
        /// The part.
        bytes: &'a [u8],
    },
    /// Finishes an update. Answered with [`Response::Slots`], whose `running` is the new model;
    /// then the board starts with it.
    Install {
        /// The model's version.
        counter: u32,
        /// The signature of counter and model file, 64 bytes.
        signature: &'a [u8],
    },
}

/// The state of a board's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsState {
    /// Counter of the running model, if there is one.
    pub running: Option<u32>,
    /// The number of bytes of which each part must be a multiple.
    pub unit: u32,
}

/// The unit of a board's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Instructions.
    Instructions,
    /// Cycles of the core's clock.
    Cycles,
    /// Microseconds.
    Microseconds,
}

/// Errors of the line since start-up. A frame that lost bytes is answered with [`Fault::Garbled`];
/// this says why.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineErrors {
    /// Number of times that bytes were lost because the chip's were not taken in time.
    pub overruns: u32,
    /// Number of bytes with no proper end or the wrong parity, and of breaks.
    pub framing: u32,
    /// Number of bytes for which there was no room in the board's memory.
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
        write!(f, "{overruns} overruns, {framing} framing errors, {no_room} bytes without room")
    }
}

/// An answer of a board.
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
        /// Number of test images in the model.
        images: u16,
        /// The index of the first one, from 0, whose results differ from the stored ones.
        differs: Option<u16>,
    },
    /// To [`Request::Suite`].
    Suite {
        /// Number of cases that were run.
        cases: u32,
        /// Number of cases that differ from the reference.
        failures: u32,
        /// The first of these, if there is one, as [`SuiteFailure::to_bytes`] encodes it. Firmware
        /// without the suite then contains no code for its fields.
        first: &'a [u8],
    },
    /// To [`Request::Line`].
    Line(LineErrors),
    /// To [`Request::Slots`] and [`Request::Install`].
    Slots(SlotsState),
    /// To any request that failed.
    Failed(Fault<'a>),
}

/// A case of the kernels' test suite that differs from the reference.
///
/// ```text
/// 0      4      6       8          12         16
/// │ case │ row  │ index │ expected │ computed │   little-endian
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuiteFailure {
    /// The index of the case.
    pub case: u32,
    /// The row, among those that a step makes.
    pub row: u16,
    /// The index of the first value of the row that differs.
    pub index: u16,
    /// The reference's value.
    pub expected: i32,
    /// The board's value.
    pub computed: i32,
}

impl SuiteFailure {
    /// Encodes it for a message.
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

    /// Decodes it from a message; `None` for anything else.
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
    /// The version of its protocol: [`crate::VERSION`]. Always the first field.
    pub protocol: u16,
    /// The board's name, as `brooklet boards` lists it.
    pub board: &'a str,
    /// Its processor core.
    pub core: &'a str,
    /// The kernels in its firmware.
    pub backend: &'a str,
    /// The firmware's version.
    pub firmware: &'a str,
    /// Number of bytes of the flash slot for a model.
    pub slot_bytes: u32,
    /// Number of bytes of RAM that the firmware reserves for a model's arena.
    pub arena_bytes: u32,
    /// Number of bytes of the longest image row that it accepts.
    pub row_bytes: u32,
    /// The unit of its counts.
    pub unit: Unit,
    /// The cost of checking what is in the slot, at start-up, whether or not it runs here.
    pub check_count: u64,
}

/// The model in the slot passed its check, and runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Length of the model file.
    pub model_bytes: u32,
    /// The checksum in the model file's header, verified by the board.
    pub crc: u32,
    /// Number of bytes of arena that it needs.
    pub arena_bytes: u32,
    /// Number of bytes of a session, besides the arena.
    pub session_bytes: u32,
    /// Number of rows of its input image.
    pub rows: u16,
    /// Number of pixels of a row.
    pub columns: u16,
    /// Number of bytes of a pixel.
    pub channels: u16,
    /// Number of layers.
    pub layers: u16,
    /// The cost of its check at start-up, in the board's [`Unit`].
    pub check_count: u64,
}

/// A row was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Number of rows of this image that the board has accepted so far.
    pub rows: u16,
}

/// A part of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesPage<'a> {
    /// Number of bytes in all: one for each class of each cell, or two if the model's values are
    /// int16.
    pub count: u32,
    /// The index of the first byte on this page.
    pub first: u32,
    /// Values as they are in memory, little-endian.
    pub values: &'a [u8],
}

/// Counts of consecutive layers.
pub type Counts = heapless::Vec<u64, LAYERS_PER_PAGE>;

/// The cost of the last image, in the board's [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePage {
    /// From the first row pushed until the logits are ready. Only calls of the session are counted,
    /// not the serial link and its waits.
    pub total: u64,
    /// The maximum depth of the stack since start-up, in bytes.
    pub stack_bytes: u32,
    /// Number of all layers.
    pub layers: u16,
    /// The index of the first layer on this page.
    pub first: u16,
    /// The cost of each layer from `first` on, up to the last layer that the board has room to
    /// count. Their sum is below `total`, which also includes later layers and the copying of the
    /// input rows.
    pub counts: Counts,
}

/// Why a request failed.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault<'a> {
    /// The frame does not contain a message: its stuffing, checksum or contents are wrong.
    Garbled,
    /// The frame is longer than the board's longest request ([`crate::request_bytes`]).
    FrameTooLong,
    /// The slot does not contain a model that can run here.
    Model {
        /// The reason in words.
        reason: &'a str,
    },
    /// The model in the slot is no longer the one that was loaded at start-up. The board gives no
    /// results until it is restarted.
    ModelChanged,
    /// The rows of the model's images are longer than the board accepts.
    RowTooLong {
        /// Number of bytes of a row.
        bytes: u32,
        /// Number of bytes of the longest row that the board accepts: [`Identity::row_bytes`].
        limit: u32,
    },
    /// A row arrived out of order.
    RowOutOfOrder {
        /// The index of the row that the board expects.
        expected: u16,
    },
    /// The length of a row is not that of the model's input.
    RowBytes {
        /// Number of bytes of a row.
        expected: u32,
    },
    /// Results were requested before all rows had arrived.
    RowsMissing {
        /// Number of rows that have arrived.
        seen: u16,
        /// Number of rows of an image.
        of: u16,
    },
    /// An update failed.
    Update {
        /// The reason in words.
        reason: &'a str,
    },
    /// The firmware does not accept models.
    NoUpdates,
    /// The board's firmware reached a state that should be impossible.
    Internal {
        /// Which state.
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
                write!(f, "a row arrived out of order: row {expected} was expected")
            }
            Self::RowBytes { expected } => {
                write!(f, "a row has another length than the model's {expected} bytes")
            }
            Self::RowsMissing { seen, of } => {
                write!(f, "only {seen} of the image's {of} rows have arrived")
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
