//! Changes that the rest of the file follows, so that most of them are accepted.

use brooklet::format::{LayerRecord, NONE, Operator, Packing, SegmentRecord, flags};
use brooklet::ops::{Derived, MAX_KERNEL};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, U16};

use crate::draft::Draft;
use crate::fields::any;
use crate::mutate::is_conv;
use crate::random::Random;

/// Maximum number of weights that are packed again, one by one.
const MOST_WEIGHTS: usize = 1 << 15;
/// Maximum number of layers of a segment.
const SEGMENT: usize = brooklet::format::MAX_SEGMENT_LAYERS;

/// Writes the derived values into all records.
pub(crate) fn derive(draft: &mut Draft) {
    for layer in 0..draft.len() {
        let derived = Derived::of(&draft.layer(layer), draft.input_of(layer).shape());
        draft.change_layer(layer, |record| derived.set(record));
    }
}

/// Writes the last reader of each output into all records.
pub(crate) fn set_readers(draft: &mut Draft) {
    let layers = draft.layers();
    let mut last = vec![NONE; layers.len()];
    for (index, record) in layers.iter().enumerate().skip(1) {
        for operand in [record.input.get(), record.shortcut.get()] {
            if let Some(last) = last.get_mut(usize::from(operand)) {
                *last = index as u16;
            }
        }
    }
    if let Some(logits) = last.get_mut(usize::from(draft.header().logits.get())) {
        *logits = NONE;
    }
    for (layer, last) in last.into_iter().enumerate() {
        draft.change_layer(layer, |record| record.last_reader.set(last));
    }
}

/// Number of kernel rows, and number of weights in each.
fn kernel_taps(draft: &Draft, layer: usize) -> [usize; 2] {
    let [rows, columns] = draft.layer(layer).kernel.map(usize::from);
    [rows, columns * usize::from(draft.input_of(layer).channels.get())]
}

/// Packs a convolution's weights in another way.
pub(crate) fn packing(draft: &mut Draft, near: usize, random: &mut Random) {
    let Some(layer) = some(draft, near, is_conv) else { return };
    let record = draft.layer(layer);
    let new = random.of(&Packing::ALL);
    let (old, kernel @ [rows, row]) = (record.packing(), kernel_taps(draft, layer));
    let channels = usize::from(record.channels.get());
    let start = record.weights.get() as usize;
    let there = draft.0.get(start..).and_then(|rest| rest.get(..old.bytes(channels, kernel)));
    if let Some(there) = there
        && channels * rows * row <= MOST_WEIGHTS
        && new.fits(record.kernel.map(usize::from), record.stride.map(usize::from))
    {
        let packed: Vec<i8> = there.iter().map(|&byte| byte as i8).collect();
        let mut again = vec![0; new.bytes(channels, kernel)];
        for (o, ky, tap) in all_taps(channels, kernel) {
            let weight = old.weight(&packed, o, ky, tap, kernel);
            let weight = if new.holds(weight) { weight } else { weight >> (8 - new.bits()) };
            new.put(&mut again, o, ky, tap, kernel, weight);
        }
        let weights = draft.append(again.as_bytes(), 16);
        draft.change_layer(layer, |record| record.weights.set(weights));
    }
    draft.change_layer(layer, |record| record.packing = new as u8);
    if !random.one_in(4) {
        // Kernels now need other scratch memory, which must have a place.
        derive(draft);
        draft.put_apart();
    }
}

fn all_taps(
    channels: usize,
    [rows, row]: [usize; 2],
) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..channels)
        .flat_map(move |o| (0..rows).flat_map(move |ky| (0..row).map(move |tap| (o, ky, tap))))
}

/// The next layer of a kind, from layer `near` on.
fn some(draft: &Draft, near: usize, wanted: impl Fn(&LayerRecord) -> bool) -> Option<usize> {
    let layers = draft.len();
    (near..layers).chain(0..near.min(layers)).find(|&layer| wanted(&draft.layer(layer)))
}

/// Changes the window of a convolution or pool.
pub(crate) fn window(draft: &mut Draft, near: usize, random: &mut Random) {
    let pool = Operator::MaxPool as u8;
    let Some(layer) = some(draft, near, |record| is_conv(record) || record.operator == pool) else {
        return;
    };
    let mut record = draft.layer(layer);
    for _ in 0..1 + random.below(3) {
        let axis = random.below(2);
        match random.below(3) {
            0 => record.kernel[axis] = 1 + random.below(MAX_KERNEL + 1) as u8,
            1 => record.stride[axis] = random.of(&[1, 1, 2, 3, 4, 8, 15, 255]),
            _ => {
                let most = usize::from(record.kernel[axis]);
                let most = if random.one_in(4) { most + 1 } else { most };
                record.pads[axis] = random.below(most) as u8;
                record.pads[axis + 2] = random.below(most) as u8;
            }
        }
    }
    draft.change_layer(layer, |old| *old = record);
    if !random.one_in(4) {
        follow(draft, random);
    }
}

/// Changes the shape of the image, or the number of channels of a convolution.
pub(crate) fn shapes(draft: &mut Draft, random: &mut Random) {
    let small = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 64, 65];
    if random.one_in(3) {
        let near = random.below(draft.len());
        if let Some(layer) = some(draft, near, is_conv) {
            let channels = random.of(&small);
            draft.change_layer(layer, |record| record.channels.set(channels));
        }
    } else {
        let (rows, columns) = match random.below(6) {
            // The number of rows for which parsing must still be fast.
            0 => (500 + random.below(3500) as u16, random.of(&[1, 2])),
            1 => (random.of(&[1, 2]), random.of(&[100, 255, 256, 257, 1000])),
            _ => (random.of(&small), random.of(&small)),
        };
        draft.change_layer(0, |record| {
            record.rows.set(rows);
            record.columns.set(columns);
        });
        if random.one_in(3) {
            let channels = random.of(&small);
            draft.change_layer(0, |record| record.channels.set(channels));
        }
    }
    follow(draft, random);
}

/// Inserts copies of a layer after it, each of which reads the one before.
pub(crate) fn repeat(draft: &mut Draft, random: &mut Random) {
    let layers = draft.layers();
    let alike = |layer: &usize| {
        let (record, input) = (draft.layer(*layer), draft.input_of(*layer));
        *layer > 0
            && record.shape() == input.shape()
            && (record.flags ^ input.flags) & flags::INT16 == 0
            && record.shortcut.get() == NONE
    };
    let candidates: Vec<usize> = (0..layers.len()).filter(alike).collect();
    let Some(chosen) = any(random, candidates.len()).map(|i| candidates[i]) else { return };
    let copies = random.of(&[1, 2, 10, 60, 150]);
    let moved = |layer: u16| match usize::from(layer) {
        old if old >= chosen && layer != NONE => layer.wrapping_add(copies as u16),
        _ => layer,
    };
    let mut all = layers;
    for record in &mut all[chosen + 1..] {
        record.input.set(moved(record.input.get()));
        record.shortcut.set(moved(record.shortcut.get()));
    }
    let original = all[chosen];
    all.splice(
        chosen + 1..chosen + 1,
        (chosen..chosen + copies).map(|before| {
            let mut record = original;
            record.input = U16::new(before as u16);
            record
        }),
    );
    draft.set_layers(&all);
    draft.change_header(|header| {
        header.logits.set(moved(header.logits.get()));
        header.output.set(moved(header.output.get()));
    });
    let count = random.of(&[1, 7, SEGMENT]);
    let starts = (0..all.len()).step_by(count);
    let segments: Vec<SegmentRecord> = starts
        .map(|first| SegmentRecord {
            first_layer: U16::new(first as u16),
            layer_count: U16::new(count.min(all.len() - first) as u16),
        })
        .collect();
    draft.set_segments(&segments);
    set_readers(draft);
    derive(draft);
    draft.put_apart();
    draft.lengthen();
}

/// Computes all shapes from the image's, layer by layer, and with them all data and places.
fn follow(draft: &mut Draft, random: &mut Random) {
    for layer in 0..draft.len() {
        let old = draft.layer(layer);
        let input = draft.input_of(layer);
        let mut record = old;
        let axis = |length: u16, axis: usize| {
            let padded =
                usize::from(length) + usize::from(old.pads[axis]) + usize::from(old.pads[axis + 2]);
            let kernel = usize::from(old.kernel[axis]);
            (padded.saturating_sub(kernel) / usize::from(old.stride[axis]).max(1) + 1) as u16
        };
        match Operator::from_number(old.operator) {
            Some(Operator::Conv | Operator::GroupedConv) => {
                record.rows.set(axis(input.rows.get(), 0));
                record.columns.set(axis(input.columns.get(), 1));
            }
            Some(Operator::MaxPool | Operator::WindowAverage | Operator::DepthwiseConv) => {
                record.rows.set(axis(input.rows.get(), 0));
                record.columns.set(axis(input.columns.get(), 1));
                record.channels = input.channels;
            }
            Some(Operator::AveragePool) => record.channels = input.channels,
            Some(Operator::Border) => {
                let [_, top, bottom, _] = old.parameter.to_bytes().map(u16::from);
                let [_, left, _, right] = old.pads.map(u16::from);
                record.rows.set(input.rows.get().saturating_add(top + bottom));
                record.columns.set(input.columns.get().saturating_add(left + right));
                record.channels = input.channels;
            }
            Some(Operator::Concat) => {
                let other = record.shortcut().map_or(0, |of| draft.layer(of).channels.get());
                let channels = input.channels.get().saturating_add(other);
                (record.rows, record.columns) = (input.rows, input.columns);
                record.channels.set(channels);
            }
            Some(
                Operator::Add
                | Operator::Softmax
                | Operator::BatchNorm
                | Operator::Lookup
                | Operator::Multiply,
            ) => {
                (record.rows, record.columns, record.channels) =
                    (input.rows, input.columns, input.channels);
            }
            Some(Operator::Input) | None => {}
        }
        if let Some(shortcut) = record.shortcut() {
            let shape = draft.layer(shortcut).shape();
            let rows = shape.rows.div_ceil(record.rows.get().max(1)).min(255);
            // A shortcut of one pixel for all stays one.
            if record.shortcut_stride > 0 {
                record.shortcut_stride = rows as u8;
            }
            let more = record.channels.get().saturating_sub(shape.channels);
            let concat = record.operator == Operator::Concat as u8;
            record.shortcut_channels_before.set(if concat { more } else { more / 2 });
        }
        draft.change_layer(layer, |old| *old = record);
        let needed = Derived::of(&record, input.shape());
        let mut with = record;
        needed.set(&mut with);
        if with.weight_bytes != old.weight_bytes || record.channels != old.channels {
            fill(draft, layer, with.weight_bytes.get(), random);
        }
    }
    derive(draft);
    draft.put_apart();
}

/// Gives a layer data of the required size.
fn fill(draft: &mut Draft, layer: usize, weight_bytes: u32, random: &mut Random) {
    let record = draft.layer(layer);
    let channels = usize::from(record.channels.get());
    let conv = is_conv(&record);
    if record.table.get() != 0 && layer == 0 {
        let table = draft.append(&random.bytes(256 * channels), 1);
        draft.change_layer(layer, |record| record.table.set(table));
    }
    if weight_bytes == 0 || weight_bytes > 1 << 20 {
        return;
    }
    let kernel @ [rows, row] = if conv { kernel_taps(draft, layer) } else { [1, 1] };
    let packing = record.packing();
    let mut weights = vec![0i8; weight_bytes as usize];
    if channels * rows * row <= MOST_WEIGHTS {
        for (o, ky, tap) in all_taps(channels, kernel) {
            let weight = (random.bits() as i8).max(-127);
            let weight =
                if packing.holds(weight) { weight } else { weight >> (8 - packing.bits()) };
            packing.put(&mut weights, o, ky, tap, kernel, weight);
        }
    }
    let weights = draft.append(weights.as_bytes(), 16);
    let bias = vec![I32::new(random.below(4000) as i32 - 2000); channels];
    let bias = draft.append(bias.as_bytes(), 4);
    let mantissas = vec![I32::new((1 << 30) + random.below(1 << 30) as i32); channels];
    let mantissas = draft.append(mantissas.as_bytes(), 4);
    let shifts = vec![-4 - random.below(5) as i8; channels];
    let shifts = draft.append(shifts.as_bytes(), 1);
    draft.change_layer(layer, |record| {
        record.weights.set(weights);
        record.bias.set(bias);
        record.mantissas.set(mantissas);
        record.shifts.set(shifts);
    });
    if record.padding_values.get() != 0 {
        let inputs = usize::from(draft.input_of(layer).channels.get());
        let values = draft.append(&random.bytes(inputs), 1);
        draft.change_layer(layer, |record| record.padding_values.set(values));
    }
}
