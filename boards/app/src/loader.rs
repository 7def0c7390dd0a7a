//! The model in the flash slot: checked once, at start-up, and reported.

use brooklet::{Error, Model};
use brooklet_protocol::Loaded;

use crate::engine::Session;

/// Checks what `slot` holds. Whatever that is, the answer is a model or a named error.
pub fn load(slot: &[u8]) -> Result<Model<'_>, Error> {
    Model::parse(slot)
}

/// What the host is told of a model, and of its session on this board.
pub fn report(
    model: &Result<Model<'_>, Error>,
    session: &Result<Session<'_>, Error>,
) -> Result<Loaded, Error> {
    let model = model.as_ref().map_err(|error| *error)?;
    let session = session.as_ref().map_err(|error| *error)?;
    let input = model.input();
    Ok(Loaded {
        model_bytes: model.file().len() as u32,
        crc: model.header().crc.get(),
        arena_bytes: model.arena_bytes() as u32,
        session_bytes: size_of_val(session) as u32,
        rows: input.rows,
        columns: input.columns,
        channels: input.channels,
        layers: model.layers().len() as u16,
    })
}
