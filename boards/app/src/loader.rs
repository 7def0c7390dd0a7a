//! Checks the model in the flash slot, once at start-up, and reports it.

use brooklet::kernels::Backend;
use brooklet::{Error, Model, Session, Weights};
use brooklet_protocol::Loaded;

/// Checks the contents of `slot`. For any contents, the result is a model or a named error.
pub fn load(slot: &[u8]) -> Result<Model<'_>, Error> {
    Model::parse(slot)
}

/// Why the model in the slot does not run here.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a model, or does not suit this firmware.
    Model(Error),
    /// The rows of its images are longer than the board accepts.
    RowTooLong {
        /// Number of bytes of a row.
        bytes: usize,
        /// Number of bytes of the longest row that the board accepts.
        limit: usize,
    },
}

/// The report to the host about a model and its session on this board, which accepts rows of up to
/// `limit` bytes.
///
/// `check_count` is the count for checking the model.
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
