//! The invariants of an accepted model, computed again with as many bits as needed. This also
//! checks models that are too large to be run.

use brooklet::format::{LayerRecord, Operator, flags};
use brooklet::{ARENA_ALIGN, Model, ops};

use crate::draft::{Draft, row_bytes};

/// Whether all of them hold.
///
/// # Errors
///
/// Which invariant does not hold, and for which layer.
pub(crate) fn hold(model: &Model<'_>) -> Result<(), String> {
    let draft = Draft(model.file().to_vec());
    let arena = u64::from(draft.header().arena_bytes.get());
    let inside = |place: u32, bytes: u64| {
        (place as usize).is_multiple_of(ARENA_ALIGN) && u64::from(place) + bytes <= arena
    };
    for (layer, record) in model.layers().iter().enumerate() {
        let claim = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("layer {layer} is accepted, but {what}")) }
        };
        let row = row_bytes(record);
        claim(record.row_bytes() as u64 == row, "its rows are counted in too few bits")?;
        for y in 0..record.rows.get() {
            let place = draft.place(layer, y.into());
            claim(place.is_some_and(|place| inside(place, row)), "a row is outside of the arena")?;
            let core = model.row(layer, y);
            claim(Some(core.start as u32) == place && core.len() as u64 == row, "its row differs")?;
        }
        let scratch = u64::from(record.scratch_bytes.get());
        let needed = ops::scratch_bytes(record, model.input_of(record).shape());
        claim(scratch == needed as u64, "its scratch memory is not what its kernels need")?;
        claim(
            inside(record.scratch_offset.get(), scratch),
            "its scratch memory is outside of the arena",
        )?;
        if record.flags & flags::ON_DEMAND != 0 {
            let reader = usize::from(record.last_reader.get());
            let reader = model.layers().get(reader).and_then(LayerRecord::shortcut);
            claim(reader == Some(layer), "it waits for a layer whose shortcut it is not")?;
        }
        if record.operator() == Operator::Conv {
            let inputs = model.graph().channels_read(record);
            let [rows, columns] = record.kernel.map(usize::from);
            let bytes =
                record.packing().bytes(record.channels.get().into(), [rows, columns * inputs]);
            claim(
                u64::from(record.weight_bytes.get()) == bytes as u64,
                "the number of bytes of its weights is wrong",
            )?;
            let end = u64::from(record.weights.get()) + u64::from(record.weight_bytes.get());
            claim(end <= model.file().len() as u64, "its weights reach beyond the file")?;
        }
    }
    Ok(())
}
