//! Arbitrary bytes as a model file: refused, or run to the end.
//!
//! `cargo +nightly fuzz run model -- -seed_inputs=../tests/golden/tiny.brook`
//!
//! A wrong checksum would end every input at once, so it is put right first.

#![no_main]

use brooklet::{Model, Session, kernels::Reference};
use libfuzzer_sys::fuzz_target;

/// Larger arenas and pictures are refused here, not by the format: fuzzing wants speed.
const LARGEST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    if let Some(checked) = file.get(20..) {
        let crc = brooklet::format::crc(checked).to_le_bytes();
        file[16..20].copy_from_slice(&crc);
    }
    let Ok(model) = Model::parse(&file) else { return };
    let work: u64 = (0..model.layers().len()).map(|layer| model.graph().macs(layer)).sum();
    if model.arena_bytes() > LARGEST || work > LARGEST as u64 * 8 {
        return;
    }
    let mut arena = vec![[0u8; 16]; model.arena_bytes().div_ceil(16) + 1];
    let arena = arena.as_flattened_mut();
    let start = arena.as_ptr().align_offset(16);
    let Ok(mut session) = Session::new(&model, Reference, &mut arena[start..]) else { return };
    let row = vec![0xa5; model.input().row_bytes()];
    for _ in 0..model.input().rows {
        session.push_row(&row).expect("a row of the right length");
    }
    session.logits().expect("all rows are there");
    session.output().expect("all rows are there");
});
