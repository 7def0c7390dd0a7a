//! Networks whose outputs are maps: each cell has scores of its own.

use crate::common::{image, network, network_of_maps, tries, with_int16, with_stream16};
use crate::interpreter::interpret;
use brooklet::format::{Operator, Packing, SelfTestRecord, flags};
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::{Model, RowError, SelfTest, Session};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::self_test::build;
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// The scores of the logits, and of each output with the index of its layer.
type Scores = (Vec<i16>, Vec<(usize, Vec<i16>)>);

/// Runs an image in an arena full of `poison`.
fn run(file: &[u8], backend: impl Backend, image: &[u8], poison: u8) -> Scores {
    let model = Model::parse(file).unwrap();
    let mut memory = vec![u128::from_ne_bytes([poison; 16]); model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, backend, memory.as_mut_bytes()).unwrap();
    session.push_image(image).unwrap();
    let logits = session.logits_map().unwrap().scores().collect();
    let outputs = session.outputs().unwrap();
    (logits, outputs.map(|(layer, map)| (layer, map.scores().collect())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(40, 150), failure_persistence: None, ..Default::default() })]

    #[test]
    fn maps_are_exact_on_every_backend(seed: u64, blocks in 0usize..4, kind in 0..4) {
        let program = network_of_maps(seed, blocks);
        let program = match kind {
            0 => with_int16(program, seed),
            1 => with_stream16(program, seed),
            _ => program,
        };
        let image = image(&program, seed ^ 1);
        let tensors = interpret(&program, &image);
        let is_output = |layer: &usize| {
            let last = program.layers.len() - 1;
            *layer == last || program.layers[*layer].record.flags & flags::OUTPUT != 0
        };
        let outputs = (0..program.layers.len()).filter(is_output);
        let outputs = outputs.map(|layer| (layer, tensors[layer].clone())).collect();
        let expected = (tensors[program.logits].clone(), outputs);
        let ohwi = program.write(&plan(&program, Goal::Size).unwrap());
        prop_assert_eq!(&run(&ohwi, Portable, &image, 0x55), &expected);
        prop_assert_eq!(&run(&ohwi, Reference, &image, 0xaa), &expected);
        for packing in [Packing::Pairs, Packing::WinogradInt8] {
            let packed = program.clone().packed(packing);
            let file = packed.write(&plan(&packed, Goal::Size).unwrap());
            prop_assert_eq!(&run(&file, Reference, &image, 0x80), &expected);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(backend) = brooklet::kernels::Avx2::detect() {
            prop_assert_eq!(&run(&ohwi, backend, &image, 0x55), &expected);
        }
        let quick = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).unwrap();
        prop_assert_eq!(&run(&program.write(&quick), Portable, &image, 0x55), &expected);
    }

    /// Cells are the pixels of the map, in the order of rows and columns.
    #[test]
    fn cells_have_the_scores_of_their_pixels(seed: u64, kind in 0..3) {
        let program = network_of_maps(seed, 1);
        let program = match kind {
            0 => with_int16(program, seed),
            1 => with_stream16(program, seed),
            _ => program,
        };
        let file = program.write(&plan(&program, Goal::Size).unwrap());
        let model = Model::parse(&file).unwrap();
        let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
        let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
        session.push_image(&image(&program, seed)).unwrap();
        for (_, map) in session.outputs().unwrap() {
            let scores: Vec<i16> = map.scores().collect();
            let shape = map.shape();
            let mut pixels = scores.chunks(shape.channels.into());
            let mut place = (0, 0);
            for ([y, x], cell) in map.cells() {
                prop_assert_eq!((y, x), place);
                let pixel = pixels.next().unwrap();
                prop_assert!(cell.scores().eq(pixel.iter().copied()));
                prop_assert!(map.cell(y, x).unwrap().scores().eq(pixel.iter().copied()));
                let best = (0..pixel.len()).max_by_key(|&c| (pixel[c], usize::MAX - c)).unwrap();
                prop_assert_eq!(usize::from(cell.top_k::<1>()[0].class), best);
                place = if x + 1 == shape.columns { (y + 1, 0) } else { (y, x + 1) };
            }
            prop_assert_eq!((place, pixels.next()), ((shape.rows, 0), None));
            prop_assert!(map.cell(shape.rows, 0).is_none() && map.cell(0, shape.columns).is_none());
        }
    }
}

/// A network that ends in a map with a softmax.
fn with_softmax() -> Program {
    let ends = |program: &Program| {
        let last = &program.layers.last().unwrap().record;
        last.operator() == Operator::Softmax && last.channels.get() > 1
    };
    (0..).map(|seed| network_of_maps(seed, 1)).find(ends).expect("every second")
}

#[test]
fn a_map_is_no_vector_and_a_vector_is_a_map_of_one_cell() {
    let run = |program: &Program| {
        let file = program.write(&plan(program, Goal::Size).unwrap());
        let model = Model::parse(&file).unwrap();
        let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
        let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
        let image = image(program, 1);
        let error = session.run_image(&image).map(|logits| logits.len());
        // Each cell's probabilities add up to one, up to micromath's error.
        for (_, cell) in session.logits_map().unwrap().cells() {
            let sum: f32 = cell.top_k::<16>().iter().map(|best| best.probability).sum();
            assert!((sum - 1.0).abs() < 0.03, "{sum}");
        }
        assert_eq!(session.output().is_ok(), error.is_ok());
        assert_eq!(error.is_err(), model.ends_in_map());
        let map = session.logits_map().unwrap();
        assert_eq!(model.classes(), usize::from(map.shape().channels));
        let cells = map.cells().count();
        if let Ok(logits) = session.logits() {
            let scores: Vec<i16> = logits.scores().collect();
            assert!(session.logits_map().unwrap().cells().next().unwrap().1.scores().eq(scores));
        }
        (error, cells)
    };
    let (error, cells) = run(&with_softmax());
    assert_eq!(error, Err(RowError::Map));
    assert!(cells > 1);
    let (length, cells) = run(&network(3, 1));
    assert!(length.is_ok());
    assert_eq!(cells, 1);
}

#[test]
fn test_images_have_all_rows_of_a_map() {
    let mut program = with_softmax();
    program.set_test_images(vec![image(&program, 1), image(&program, 2)]);
    let made = build(&program, &plan(&program, Goal::Size).unwrap(), "test".as_ref()).unwrap();
    let (file, model) = (made.bytes(), made.model());
    let bytes = |layer: usize| program.layers[layer].record.shape().bytes();
    let [pixels, logits, output] = [0, program.logits, program.layers.len() - 1].map(bytes);
    let first = model.test_images().next().unwrap();
    assert_eq!([first.logits.len(), first.output.len()], [logits, output]);
    let self_test = |file: &[u8]| {
        let model = Model::parse(file).unwrap();
        let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
        Session::new(&model, Portable, memory.as_mut_bytes()).unwrap().self_test()
    };
    assert_eq!(self_test(file), SelfTest::Passed { images: 2 });
    // The last byte of each map of the second image counts.
    let start = model.header().self_test_offset.get() as usize + size_of::<SelfTestRecord>();
    let second = start + pixels + logits + output;
    for last in [second + pixels + logits - 1, second + pixels + logits + output - 1] {
        let mut changed = file.to_vec();
        changed[last] ^= 1;
        let changed = crate::common::sealed(changed);
        assert_eq!(self_test(&changed), SelfTest::Differs { image: 1 });
    }
}
