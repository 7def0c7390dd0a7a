//! Random residual networks, streamed row by row, give the same results as with whole tensors.

use std::cell::Cell;

use crate::common::families::network_of_families;
use crate::common::{
    Watched, image, in_bits_of, model_file, network, tries, with_int16, with_stream16,
};
use crate::interpreter::interpret;
use brooklet::format::Packing;
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::ops::conv::Conv;
use brooklet::{ARENA_ALIGN, Model, RowError, Session, Step};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// Runs an image in an arena full of `poison`: the logits, and the last layer's output.
pub(crate) fn run(
    file: &[u8],
    backend: impl Backend,
    image: &[u8],
    poison: u8,
) -> (Vec<i16>, Vec<i16>) {
    let model = Model::parse(file).unwrap();
    // Bytes after the arena must not change.
    let mut memory = vec![u128::from_ne_bytes([poison; 16]); model.arena_bytes().div_ceil(16) + 1];
    let bytes = memory.as_mut_bytes();
    let mut session = Session::new(&model, backend, bytes).unwrap();
    let logits = session.run_image(image).unwrap().scores().collect();
    let output = session.output().unwrap().scores().collect();
    assert!(bytes[model.arena_bytes()..].iter().all(|&byte| byte == poison));
    (logits, output)
}

/// One small network, on the host's backends that any machine may have.
#[test]
fn a_network_is_the_same_on_each_backend() {
    let program = network(3, 1);
    let image = image(&program, 1);
    let file = model_file(&program);
    let expected = run(&file, Reference, &image, 0xaa);
    assert_eq!(run(&file, Portable, &image, 0x55), expected);
    #[cfg(target_arch = "x86_64")]
    if let Some(backend) = brooklet::kernels::Avx2::detect() {
        assert_eq!(run(&file, backend, &image, 0x55), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(40, 150), failure_persistence: None, ..Default::default() })]

    #[test]
    fn streaming_is_exact(seed: u64, blocks in 0usize..7) {
        let program = network(seed, blocks);
        let image = image(&program, seed ^ 1);
        let tensors = interpret(&program, &image);
        let expected =
            (tensors[program.logits].clone(), tensors.last().unwrap().clone());
        let smallest = plan(&program, Goal::Size).unwrap();
        let ohwi = program.write(&smallest);
        let packed = program.clone().packed(Packing::Pairs);
        let pairs = packed.write(&plan(&packed, Goal::Size).unwrap());
        prop_assert_eq!(&run(&ohwi, Portable, &image, 0x55), &expected);
        prop_assert_eq!(&run(&ohwi, Reference, &image, 0xaa), &expected);
        prop_assert_eq!(&run(&pairs, Reference, &image, 0x80), &expected);
        let tiles = [Packing::Winograd, Packing::WinogradInt8, Packing::WinogradInt8Tall];
        let [tiles, kernels, tall] = tiles.map(|packing| {
            let program = program.clone().packed(packing);
            program.write(&plan(&program, Goal::Size).unwrap())
        });
        for file in [&tiles, &kernels, &tall] {
            prop_assert_eq!(&run(file, Portable, &image, 0x55), &expected);
            prop_assert_eq!(&run(file, Reference, &image, 0xaa), &expected);
        }
        for bits in Packing::WIDTHS.into_iter().filter(|&bits| bits < 8) {
            let ohwi = Packing::Ohwi.in_bits(bits).unwrap();
            let narrow = in_bits_of(program.clone(), ohwi).packed(Packing::Ohwi);
            let plain = narrow.write(&plan(&narrow, Goal::Size).unwrap());
            let tensors = interpret(&narrow, &image);
            let of_narrow = (tensors[narrow.logits].clone(), tensors.last().unwrap().clone());
            for packing in Packing::ALL.into_iter().filter(|packing| packing.bits() == bits) {
                let packed = narrow.clone().packed(packing);
                let file = packed.write(&plan(&packed, Goal::Size).unwrap());
                prop_assert_eq!(&run(&file, Reference, &image, 0xaa), &of_narrow);
                if packing == ohwi {
                    prop_assert_eq!(&run(&file, Portable, &image, 0x55), &of_narrow);
                }
                let read = Program::read(&Model::parse(&file).unwrap()).packed(Packing::Ohwi);
                prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &plain);
            }
        }
        for arena_bytes in [smallest.arena_bytes * 3 / 2, usize::MAX] {
            let quick = plan(&program, Goal::Speed { arena_bytes }).unwrap();
            prop_assert!(quick.arena_bytes <= arena_bytes);
            let quick = program.write(&quick);
            prop_assert_eq!(&run(&quick, Portable, &image, 0x55), &expected);
            // A file is complete: its program can be read back.
            let read = Program::read(&Model::parse(&quick).unwrap());
            prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &ohwi);
            for packed in [&pairs, &tiles, &kernels] {
                let read = Program::read(&Model::parse(packed).unwrap()).packed(Packing::Ohwi);
                prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &ohwi);
            }
        }
    }

    #[test]
    fn other_families_are_exact(seed: u64, parts in 0usize..7) {
        let program = network_of_families(seed, parts);
        let image = image(&program, seed ^ 1);
        let tensors = interpret(&program, &image);
        let expected = (tensors[program.logits].clone(), tensors.last().unwrap().clone());
        let smallest = plan(&program, Goal::Size).unwrap();
        let ohwi = program.write(&smallest);
        prop_assert_eq!(&run(&ohwi, Portable, &image, 0x55), &expected);
        prop_assert_eq!(&run(&ohwi, Reference, &image, 0xaa), &expected);
        for packing in Packing::ALL.into_iter().filter(|packing| packing.bits() == 8) {
            let packed = program.clone().packed(packing);
            let file = packed.write(&plan(&packed, Goal::Size).unwrap());
            prop_assert_eq!(&run(&file, Reference, &image, 0x80), &expected);
            #[cfg(target_arch = "x86_64")]
            if let Some(backend) = brooklet::kernels::Avx2::detect() {
                prop_assert_eq!(&run(&file, backend, &image, 0x55), &expected);
            }
            let read = Program::read(&Model::parse(&file).unwrap()).packed(Packing::Ohwi);
            prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &ohwi);
        }
        let quick = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).unwrap();
        prop_assert_eq!(&run(&program.write(&quick), Portable, &image, 0x55), &expected);
        // All outputs, including those that are kept while the rest runs.
        let model = Model::parse(&ohwi).unwrap();
        let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
        let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
        session.run_image(&image).unwrap();
        let mut outputs = 0;
        for (layer, scores) in session.outputs().unwrap() {
            prop_assert!(scores.scores().eq(tensors[layer].iter().copied()));
            outputs += 1;
        }
        let flagged = |layer: &&brooklet_plan::program::Layer| {
            layer.record.flags & brooklet::format::flags::OUTPUT != 0
        };
        prop_assert_eq!(outputs, 1 + program.layers.iter().filter(flagged).count());
    }

    #[test]
    fn int16_is_exact_on_every_backend(seed: u64, blocks in 0usize..7) {
        let program = with_int16(network(seed, blocks), seed);
        let image = image(&program, seed ^ 1);
        let tensors = interpret(&program, &image);
        let expected = (tensors[program.logits].clone(), tensors.last().unwrap().clone());
        let smallest = plan(&program, Goal::Size).unwrap();
        let ohwi = program.write(&smallest);
        for poison in [0x55, 0xaa] {
            prop_assert_eq!(&run(&ohwi, Portable, &image, poison), &expected);
        }
        prop_assert_eq!(&run(&ohwi, Reference, &image, 0x80), &expected);
        // Other layers are packed for a board's kernels; these are not.
        for packing in [Packing::Pairs, Packing::Winograd] {
            let packed = program.clone().packed(packing);
            let file = packed.write(&plan(&packed, Goal::Size).unwrap());
            prop_assert_eq!(&run(&file, Reference, &image, 0x55), &expected);
            let read = Program::read(&Model::parse(&file).unwrap()).packed(Packing::Ohwi);
            prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &ohwi);
        }
        let quick = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).unwrap();
        prop_assert_eq!(&run(&program.write(&quick), Portable, &image, 0x55), &expected);
    }

    #[test]
    fn a_stream_in_16_bits_is_exact_on_every_backend(seed: u64, blocks in 0usize..7, int16: bool) {
        let program = network(seed, blocks);
        let program = if int16 { with_int16(program, seed) } else { program };
        let program = with_stream16(program, seed);
        let image = image(&program, seed ^ 1);
        let tensors = interpret(&program, &image);
        let expected = (tensors[program.logits].clone(), tensors.last().unwrap().clone());
        let ohwi = program.write(&plan(&program, Goal::Size).unwrap());
        prop_assert_eq!(&run(&ohwi, Reference, &image, 0x80), &expected);
        prop_assert_eq!(&run(&ohwi, Portable, &image, 0x55), &expected);
        for packing in [Packing::Pairs, Packing::Winograd, Packing::WinogradInt8Tall] {
            let packed = program.clone().packed(packing);
            let file = packed.write(&plan(&packed, Goal::Size).unwrap());
            prop_assert_eq!(&run(&file, Reference, &image, 0x55), &expected);
            #[cfg(target_arch = "x86_64")]
            if let Some(backend) = brooklet::kernels::Avx2::detect() {
                prop_assert_eq!(&run(&file, backend, &image, 0xaa), &expected);
            }
            if packing != Packing::Pairs {
                prop_assert_eq!(&run(&file, Portable, &image, 0x55), &expected);
            }
            let read = Program::read(&Model::parse(&file).unwrap()).packed(Packing::Ohwi);
            prop_assert_eq!(&read.write(&plan(&read, Goal::Size).unwrap()), &ohwi);
        }
        let quick = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).unwrap();
        prop_assert_eq!(&run(&program.write(&quick), Portable, &image, 0x55), &expected);
    }

    #[test]
    fn no_byte_of_the_arena_is_left_over(seed: u64, blocks in 0usize..7, int16: bool, stream16: bool) {
        let program = network(seed, blocks);
        let program = if int16 { with_int16(program, seed) } else { program };
        let program = if stream16 { with_stream16(program, seed) } else { program };
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let mut taken = vec![false; model.arena_bytes()];
        for (index, layer) in model.layers().iter().enumerate() {
            let scratch = layer.scratch_offset.get() as usize;
            let bytes = brooklet::ops::scratch_bytes(layer, model.input_of(layer).shape());
            let rows = (0..layer.rows.get()).map(|y| model.row(index, y));
            for range in rows.chain(std::iter::once(scratch..scratch + bytes)) {
                taken[range.start..range.end.next_multiple_of(ARENA_ALIGN)].fill(true);
            }
        }
        prop_assert!(taken.into_iter().all(|taken| taken));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(20, 60), failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_work_is_done_twice(seed: u64, blocks in 0usize..7) {
        let program = network(seed, blocks);
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let macs: u64 = (0..model.layers().len()).map(|layer| model.graph().macs(layer)).sum();
        let counted = Cell::new(0);
        let count = |conv: &Conv<'_>, row: &mut [i8]| {
            counted.set(counted.get() + (row.len() * conv.taps()) as u64);
        };
        run(&file, Watched::<_, _>(Reference, count), &image(&program, seed), 0);
        prop_assert_eq!(counted.get(), macs);
    }
}

#[test]
fn a_session_is_used_again_and_by_steps() {
    let program = network(7, 4);
    let file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    for seed in 0..3 {
        let image = image(&program, seed);
        let expected = interpret(&program, &image)[program.logits].clone();
        session.reset();
        // An abandoned image leaves no trace.
        for row in image.chunks(model.input().row_bytes()).take(seed as usize) {
            session.push_row(row).unwrap();
        }
        session.reset();
        let mut rows = image.chunks(model.input().row_bytes());
        loop {
            match session.step() {
                Step::Ran { .. } => {}
                Step::NeedsRow => session.push_row(rows.next().unwrap()).unwrap(),
                Step::Done => break,
            }
        }
        assert!(session.logits().unwrap().scores().eq(expected));
    }
}

#[test]
fn rows_are_checked() {
    let program = network(3, 1);
    let file = model_file(&program);
    let model = Model::parse(&file).unwrap();
    let (rows, bytes) = (model.input().rows, model.input().row_bytes());
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    assert_eq!(
        session.push_row(&vec![0; bytes + 1]),
        Err(RowError::Length { needed: bytes, got: bytes + 1 })
    );
    assert_eq!(session.logits().map(|_| ()), Err(RowError::Missing { rows }));
    for _ in 0..rows {
        session.push_row(&vec![9; bytes]).unwrap();
    }
    assert_eq!(session.push_row(&vec![9; bytes]), Err(RowError::Complete));
    assert!(session.logits().is_ok());
}
