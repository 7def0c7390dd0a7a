//! Convolutions on two cores, here threads, give the same bytes as on one core.

use std::cell::Cell;

use crate::common::families::network_of_families;
use crate::common::{image, in_bits_of, model_file, network, tries, wide_network, with_stream16};
use brooklet::format::{Operator, Packing};
#[cfg(target_arch = "x86_64")]
use brooklet::kernels::Avx2;
use brooklet::kernels::{Backend, Cores, OtherCore, Portable, Reference, Split};
use brooklet::{Model, Session};
use brooklet_plan::program::Program;
use brooklet_suite::{Memory, run};
use zerocopy::IntoBytes;

/// A thread as the second core, and the number of times that it worked.
#[derive(Default)]
struct Thread(Cell<usize>);

impl OtherCore for &Thread {
    fn both(&self, there: &mut (dyn FnMut() + Send), here: &mut dyn FnMut()) {
        self.0.set(self.0.get() + 1);
        std::thread::scope(|scope| {
            scope.spawn(there);
            here();
        });
    }
}

/// Memory aligned as arenas are.
fn memory(bytes: usize, poison: u8) -> Vec<u128> {
    vec![u128::from_ne_bytes([poison; 16]); bytes.div_ceil(16)]
}

/// The kernels' suite, on two cores.
fn is_the_reference<B: Backend + Sync>(backend: B) {
    let (thread, mut room) = (Thread::default(), memory(32 * 1024, 0x99));
    let cores = Cores::new(&thread, room.as_mut_bytes());
    let outcome = run(&Split::new(backend, &cores), &mut Box::new(Memory::new()));
    let first = outcome.first.map(|first| first.to_string()).unwrap_or_default();
    assert_eq!(outcome.failures, 0, "of {} cases; {first}", outcome.cases);
    assert!(thread.0.get() > 100, "shared out {} times", thread.0.get());
}

#[test]
fn every_case_of_the_suite_is_the_reference() {
    // All packings; the fastest backend that has them is enough.
    #[cfg(target_arch = "x86_64")]
    if let Some(backend) = Avx2::detect().filter(|_| tries(true, false)) {
        return is_the_reference(backend);
    }
    is_the_reference(Portable);
    is_the_reference(Reference);
}

/// All scores of an image on a backend.
fn scores(file: &[u8], backend: impl Backend, image: &[u8]) -> Vec<i16> {
    let model = Model::parse(file).unwrap();
    let mut arena = memory(model.arena_bytes(), 0xaa);
    let mut session = Session::new(&model, backend, arena.as_mut_bytes()).unwrap();
    session.run_image(image).unwrap();
    session.output().unwrap().scores().collect()
}

/// How many times a network's convolutions are divided with `room` bytes; asserts that the results
/// are exact.
fn shared(file: &[u8], backend: impl Backend + Copy + Sync, image: &[u8], room: usize) -> usize {
    let (thread, mut memory) = (Thread::default(), memory(room + 16, 0x77));
    {
        // The bytes before a multiple of the alignment are not used.
        let room = &mut memory.as_mut_bytes()[15..][..room];
        let cores = Cores::new(&thread, room);
        let split = Split::new(backend, &cores);
        assert_eq!(scores(file, split, image), scores(file, backend, image));
    }
    let after = memory.as_bytes();
    assert!(after[..16].iter().chain(&after[15 + room..]).all(|&byte| byte == 0x77));
    thread.0.get()
}

/// A network is exact with all the room that it needs, with less, and with none.
fn is_exact(program: &Program, backend: impl Backend + Copy + Sync, seed: u64) {
    let (file, image) = (model_file(program), image(program, seed));
    let model = Model::parse(&file).unwrap();
    let needed = Cores::room_bytes(&model);
    let all = shared(&file, backend, &image, needed + 1);
    let more = shared(&file, backend, &image, 2 * needed + 64);
    assert_eq!(all, more, "{needed} bytes are enough");
    if needed > 0 {
        let fewer = shared(&file, backend, &image, needed);
        assert!(fewer < all, "{fewer} of {all}: not one byte less");
    }
    assert_eq!(shared(&file, backend, &image, 0), 0);
}

/// Each step of a convolution whose channels can be separated is divided.
#[test]
fn layers_with_many_channels_are_shared_out() {
    let program = wide_network(5, 70);
    is_exact(&program, Portable, 1);
    for packing in [Packing::Pairs, Packing::Eights, Packing::Vectors, Packing::WinogradInt8] {
        let program = program.clone().packed(packing);
        is_exact(&program, Reference, 1);
        is_exact(&with_stream16(program.clone(), 2), Reference, 1);
        let (file, image) = (model_file(&program), image(&program, 1));
        let model = Model::parse(&file).unwrap();
        let of_convs = model.layers().iter().filter(|l| l.operator() == Operator::Conv);
        let wide = of_convs.filter(|layer| layer.channels.get() > 64);
        let steps: usize = wide.map(|layer| usize::from(layer.steps.get())).sum();
        let count = shared(&file, Reference, &image, Cores::room_bytes(&model) + 1);
        assert!(steps > 0 && count >= steps, "{count} of {steps}");
    }
    for packing in [Packing::Pairs4, Packing::Eights4, Packing::Vectors4] {
        is_exact(&in_bits_of(program.clone(), packing), Reference, 1);
    }
}

#[test]
fn networks_are_exact() {
    for seed in 0..tries(3, 60) {
        let program = network(seed, 2);
        is_exact(&program, Portable, seed);
        for packing in Packing::ALL.into_iter().filter(|packing| packing.unpacked().is_none()) {
            is_exact(&program.clone().packed(packing), Reference, seed);
        }
        for packing in [Packing::Winograd, Packing::WinogradInt8, Packing::WinogradInt8Tall] {
            is_exact(&program.clone().packed(packing), Portable, seed);
        }
        is_exact(&in_bits_of(program.clone(), Packing::Ohwi4), Portable, seed);
        is_exact(&with_stream16(program.packed(Packing::WinogradInt8), seed), Portable, seed);
        is_exact(&network_of_families(seed, 4), Portable, seed);
        is_exact(&network_of_families(seed, 4).packed(Packing::Eights), Reference, seed);
    }
}
