//! The model in the flash slot: checked once, at start-up, and reported.

use brooklet::kernels::Backend;
use brooklet::{Error, Model, Session, Weights};
use brooklet_protocol::Loaded;

/// Checks what `slot` holds. Whatever that is, the answer is a model or a named error.
pub fn load(slot: &[u8]) -> Result<Model<'_>, Error> {
    Model::parse(slot)
}

/// Why the model in the slot does not run here.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is none, or does not fit this firmware.
    Model(Error),
    /// The rows of its images are longer than the board takes.
    RowTooLong {
        /// Bytes of a row.
        bytes: usize,
        /// Bytes of the longest row that the board takes.
        limit: usize,
    },
}

/// What the host is told of a model and its session on this board, which takes rows of up to
/// `limit` bytes, and counted that much while it checked the model.
pub fn report<B: Backend, W: Weights>(
    session: &Result<Session<'_, '_, B, W>, Error>,
    limit: usize,
    check_count: u64,
) -> Result<Loaded, Refusal> {
    let session = session.as_ref().map_err(|error| Refusal::Model(*error))?;
    let model = session.model();
    let input = model.input();
    let bytes = input.row_bytes();
    if bytes > limit {
        return Err(Refusal::RowTooLong { bytes, limit });
    }
    Ok(Loaded {
        model_bytes: model.header().length.get(),
        crc: model.header().crc.get(),
        arena_bytes: model.arena_bytes() as u32,
        session_bytes: size_of_val(session) as u32,
        rows: input.rows,
        columns: input.columns,
        channels: input.channels,
        layers: model.layers().len() as u16,
        check_count,
    })
}
