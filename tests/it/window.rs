//! Weights behind a driver, read through a window, give the same results as weights in memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::common::families::network_of_families;
use crate::common::{
    Generator, image, in_bits_of, network, sealed, tries, wide_network, with_int16, with_stream16,
};
use crate::shared_weights::chain;
use brooklet::format::{LayerRecord, Packing};
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::quant::Multiplier;
use brooklet::{
    Error, Fault, Flash, Model, RowError, Session, Step, Verification, WeightsSource,
    WeightsWindow, resident_bytes, smallest_window, weight_bytes_read,
};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// The model file with its weights last.
fn file(program: &Program) -> Vec<u8> {
    let program = Program { weights_last: true, ..program.clone() };
    program.write(&plan(&program, Goal::Size).unwrap())
}

/// A file as a source.
struct Source<'f>(&'f [u8]);

impl WeightsSource for Source<'_> {
    type Error = ();

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        let from = self.0.get(offset as usize..).and_then(|from| from.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

/// Memory aligned as windows and arenas are.
fn memory(bytes: usize, poison: u8) -> Vec<u128> {
    vec![u128::from_ne_bytes([poison; 16]); bytes.div_ceil(16)]
}

/// Scores of an image with weights in memory.
fn mapped(file: &[u8], backend: impl Backend, image: &[u8]) -> Vec<i16> {
    let model = Model::parse(file).unwrap();
    let mut arena = memory(model.arena_bytes(), 0xaa);
    let mut session = Session::new(&model, backend, arena.as_mut_bytes()).unwrap();
    session.run_image(image).unwrap();
    session.output().unwrap().scores().collect()
}

/// Scores of an image with a window of `bytes` bytes, and the number of bytes that a second image
/// reads.
fn windowed(
    file: &[u8],
    backend: impl Backend,
    image: &[u8],
    bytes: usize,
) -> Result<(Vec<i16>, u64), Error> {
    let mut resident = memory(resident_bytes(file), 0x55);
    // Bytes after the window must not change.
    let mut window = memory(bytes + 16, 0x77);
    let (mut arena, logits, read);
    {
        let window = &mut window.as_mut_bytes()[..bytes];
        let mut weights = WeightsWindow::new(Source(file), window);
        let model = weights.parse(&mut resident.as_mut_bytes()[..resident_bytes(file)])?;
        arena = memory(model.arena_bytes(), 0xaa);
        let mut session =
            Session::with_weights(&model, backend, arena.as_mut_bytes(), weights).unwrap();
        session.run_image(image).unwrap();
        let first = session.weights().bytes_read();
        session.run_image(image).unwrap();
        logits = session.output().unwrap().scores().collect();
        read = session.weights().bytes_read() - first;
        assert_eq!(read, weight_bytes_read(model.graph(), bytes / 16 * 16).unwrap());
    }
    assert!(window.as_bytes()[bytes..].iter().all(|&byte| byte == 0x77));
    Ok((logits, read))
}

/// Approximately all window sizes that make a difference.
fn sizes(file: &[u8]) -> Vec<usize> {
    let model = Model::parse(file).unwrap();
    let smallest = smallest_window(model.graph());
    let all: usize =
        model.layers().iter().map(|layer| layer.weight_bytes.get() as usize + 16).sum();
    [0, 1, 2, 4, 7, 12]
        .map(|twelfths| smallest + all.saturating_sub(smallest) * twelfths / 12)
        .into()
}

/// A network gives the same results through windows of any size, and reads less through larger
/// ones.
fn is_exact(program: &Program, backend: impl Backend + Copy, seed: u64) {
    let (file, image) = (file(program), image(program, seed));
    let expected = mapped(&file, backend, &image);
    let (mut most, sizes) = (u64::MAX, sizes(&file));
    for &bytes in &sizes {
        let (scores, read) = windowed(&file, backend, &image, bytes).unwrap();
        assert_eq!(scores, expected, "{bytes} bytes");
        most = most.min(read);
    }
    assert_eq!(windowed(&file, backend, &image, sizes[5]).unwrap().1, most);
    let smaller = windowed(&file, backend, &image, sizes[0] - 16);
    let needed = sizes[0];
    assert!(
        matches!(smaller, Err(Error::WindowTooSmall { needed: bytes, .. }) if bytes == needed),
        "{smaller:?}"
    );
}

/// Layers with more channels than packings interleave.
#[test]
fn a_window_is_exact_for_many_channels() {
    let program = wide_network(5, 70);
    is_exact(&program, Portable, 1);
    for packing in [Packing::Pairs, Packing::Eights, Packing::Vectors, Packing::WinogradInt8] {
        is_exact(&program.clone().packed(packing), Reference, 1);
        is_exact(&with_stream16(program.clone().packed(packing), 2), Reference, 1);
    }
    for packing in [Packing::Pairs4, Packing::Eights3, Packing::Vectors5, Packing::Vectors4] {
        is_exact(&in_bits_of(program.clone(), packing), Reference, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(6, 100), failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_window_is_exact(seed: u64, blocks in 0usize..5) {
        let program = network(seed, blocks);
        is_exact(&program, Portable, seed);
        for packing in [Packing::Pairs, Packing::WidePairs, Packing::Eights, Packing::Vectors] {
            is_exact(&program.clone().packed(packing), Reference, seed);
        }
        for packing in [Packing::Winograd, Packing::WinogradInt8, Packing::WinogradInt8Tall] {
            is_exact(&program.clone().packed(packing), Portable, seed);
        }
        for packing in [Packing::Hwio, Packing::HwioTiles, Packing::HwioTall] {
            is_exact(&program.clone().packed(packing), Reference, seed);
        }
        for packing in [Packing::Ohwi4, Packing::Eights5, Packing::Hwio3, Packing::Hwio6] {
            is_exact(&in_bits_of(program.clone(), packing), Reference, seed);
        }
        is_exact(&in_bits_of(program.clone(), Packing::Ohwi4), Portable, seed);
        is_exact(&with_int16(program.clone(), seed), Portable, seed);
        is_exact(&with_stream16(program.clone(), seed), Portable, seed);
        is_exact(&with_stream16(program.packed(Packing::WinogradInt8), seed), Portable, seed);
    }

    #[test]
    fn a_window_is_exact_for_other_families(seed: u64, parts in 1usize..5) {
        is_exact(&network_of_families(seed, parts), Portable, seed);
        is_exact(&network_of_families(seed, parts).packed(Packing::Eights), Reference, seed);
    }
}

/// A source that records reads, fails at one of them, and returns other bytes from one on.
struct Watched<'f> {
    file: &'f [u8],
    reads: Rc<Cell<usize>>,
    announced: Rc<Cell<Option<(u32, usize)>>>,
    /// Number of reads that were not announced.
    surprises: Rc<Cell<usize>>,
    fails_at: Option<usize>,
    changes_at: Option<usize>,
    noise: RefCell<Generator>,
}

impl<'f> Watched<'f> {
    fn new(file: &'f [u8]) -> Self {
        Self {
            file,
            reads: Rc::default(),
            announced: Rc::default(),
            surprises: Rc::default(),
            fails_at: None,
            changes_at: None,
            noise: RefCell::new(Generator(1)),
        }
    }
}

impl WeightsSource for Watched<'_> {
    type Error = ();

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        let number = self.reads.replace(self.reads.get() + 1);
        if self.announced.take() != Some((offset, bytes.len())) {
            self.surprises.set(self.surprises.get() + 1);
        }
        Source(self.file).read(offset, bytes)?;
        if self.changes_at.is_some_and(|at| number >= at) {
            let mut noise = self.noise.borrow_mut();
            bytes.iter_mut().for_each(|byte| *byte = noise.next() as u8);
        }
        if self.fails_at == Some(number) { Err(()) } else { Ok(()) }
    }

    fn capacity(&self) -> usize {
        self.file.len()
    }

    fn announce(&mut self, offset: u32, bytes: usize) {
        self.announced.set(Some((offset, bytes)));
    }
}

#[test]
fn a_driver_hears_of_each_read_before_it() {
    let program = wide_network(3, 24).packed(Packing::WinogradInt8);
    let (file, image) = (file(&program), image(&program, 1));
    let segments = usize::from(Model::parse(&file).unwrap().header().segment_count.get());
    for bytes in sizes(&file) {
        let source = Watched::new(&file);
        let (reads, surprises) = (source.reads.clone(), source.surprises.clone());
        let (mut window, mut resident) = (memory(bytes, 1), memory(resident_bytes(&file), 2));
        let mut weights = WeightsWindow::new(source, window.as_mut_bytes());
        let model = weights.parse(resident.as_mut_bytes()).unwrap();
        let mut arena = memory(model.arena_bytes(), 3);
        let mut session =
            Session::with_weights(&model, Reference, arena.as_mut_bytes(), weights).unwrap();
        reads.set(0);
        surprises.set(0);
        session.run_image(&image).unwrap();
        // The first read of a segment is not announced, because another segment's layout may be
        // active.
        assert!(surprises.get() <= segments, "{} of {}", surprises.get(), reads.get());
        assert!(bytes > sizes(&file)[0] || reads.get() > 10 * segments, "{}", reads.get());
    }
}

#[test]
fn a_read_that_fails_is_told_and_the_next_image_is_right() {
    let program = network(7, 1);
    let (file, image) = (file(&program), image(&program, 2));
    let expected = mapped(&file, Portable, &image);
    let bytes = sizes(&file)[1];
    let all = Rc::new(Cell::new(0));
    for fails_at in 0.. {
        let source =
            Watched { reads: all.clone(), fails_at: Some(fails_at), ..Watched::new(&file) };
        all.set(0);
        let (mut window, mut resident) = (memory(bytes, 1), memory(resident_bytes(&file), 2));
        let mut weights = WeightsWindow::new(source, window.as_mut_bytes());
        let model = match weights.parse(resident.as_mut_bytes()) {
            Err(error) => {
                assert_eq!(error, Error::Read, "{fails_at}");
                continue;
            }
            Ok(model) => model,
        };
        let mut arena = memory(model.arena_bytes(), 3);
        let mut session =
            Session::with_weights(&model, Portable, arena.as_mut_bytes(), weights).unwrap();
        let lost = session.run_image(&image).map(|_| ());
        if lost == Ok(()) {
            assert!(fails_at >= all.get());
            break;
        }
        assert_eq!(lost, Err(RowError::Weights), "{fails_at}");
        assert_eq!(session.logits().map(|_| ()), Err(RowError::Weights));
        assert_eq!(session.step(), Step::Done);
        session.run_image(&image).unwrap();
        let scores: Vec<i16> = session.output().unwrap().scores().collect();
        assert_eq!(scores, expected, "{fails_at}");
    }
    assert!(all.get() > 30);
}

/// Whatever the source returns after the check, only the results are wrong.
#[test]
fn a_source_that_changes_harms_nothing() {
    let packings = [Packing::Ohwi, Packing::WinogradInt8Tall, Packing::Winograd];
    for (seed, packing) in (0..tries(2, 20)).flat_map(|seed| packings.map(|p| (seed, p))) {
        let program = wide_network(seed, 8 + seed as u16).packed(packing);
        let (file, image) = (file(&program), image(&program, 2));
        let bytes = sizes(&file)[2];
        for changes_at in (0..60).step_by(7) {
            let source = Watched { changes_at: Some(changes_at), ..Watched::new(&file) };
            let mut window = memory(bytes + 16, 0x77);
            let mut resident = memory(resident_bytes(&file), 2);
            let (inside, mut arena);
            {
                let mut weights = WeightsWindow::new(source, &mut window.as_mut_bytes()[..bytes]);
                let Ok(model) = weights.parse(resident.as_mut_bytes()) else { continue };
                inside = model.arena_bytes();
                arena = memory(inside + 16, 0x33);
                let memory = arena.as_mut_bytes();
                let mut session = Session::with_weights(&model, Portable, memory, weights).unwrap();
                session.run_image(&image).unwrap();
                assert_eq!(session.verify_all(), Verification::Corrupt);
            }
            assert!(window.as_bytes()[bytes..].iter().all(|&byte| byte == 0x77));
            assert!(arena.as_bytes()[inside..].iter().all(|&byte| byte == 0x33));
        }
    }
}

/// Damaged files with the right checksum are refused as in memory.
#[test]
fn what_is_refused_in_memory_is_refused_behind_a_driver() {
    let check = |file: &[u8], bytes: usize| {
        let (mut window, mut resident) = (memory(bytes, 1), memory(file.len(), 2));
        let mut weights = WeightsWindow::new(Source(file), window.as_mut_bytes());
        weights.parse(resident.as_mut_bytes()).map(|_| ())
    };
    let of = |packing| network(8, 2).packed(packing);
    for program in
        [of(Packing::Ohwi), of(Packing::Winograd), in_bits_of(network(8, 2), Packing::Eights4)]
    {
        let good = file(&program);
        let bytes = good.len();
        let mut g = Generator(9);
        let mut refused = 0;
        for _ in 0..tries(1000, 20_000) {
            let mut broken = good.clone();
            for _ in 0..1 + g.below(2) {
                let at = g.below(good.len() as u64) as usize;
                // Weights are most of a file, but reveal few faults.
                let at = if g.below(2) == 0 { at % resident_bytes(&good) } else { at };
                broken[at] ^= 1 << g.below(8);
            }
            let broken = sealed(broken);
            let in_memory = Model::parse(&broken).map(|_| ());
            let behind = check(&broken, bytes);
            assert!(behind.is_err() || in_memory.is_ok(), "{in_memory:?}");
            // Parts after the weights are an additional reason to refuse a file.
            let outside = matches!(
                behind,
                Err(Error::OutOfBounds { .. })
                    | Err(Error::Layer { fault: Fault::OutOfBounds(_), .. })
            );
            assert!(behind.is_ok() || in_memory.is_err() || outside, "{behind:?}");
            refused += usize::from(behind.is_err());
        }
        assert!(refused > 100, "{refused}");
        let mut unsealed = good.clone();
        *unsealed.last_mut().unwrap() ^= 1;
        assert!(matches!(check(&unsealed, bytes), Err(Error::Checksum { .. })));
        assert!(matches!(check(&good[..good.len() - 1], bytes), Err(Error::TooShort { .. })));
        assert!(matches!(check(&good, 0), Err(Error::WindowTooSmall { .. })));
        let model = Model::parse(&good).unwrap();
        // A fault in the transform or the accumulator of one layer.
        if program.layers.iter().any(|layer| layer.record.packing() == Packing::Winograd) {
            let winograd = |layer: &LayerRecord| layer.packing() == Packing::Winograd;
            let layer = model.layers().iter().position(winograd).unwrap();
            let mut broken = good.clone();
            broken[model.layer(layer).weights.get() as usize] ^= 1;
            let fault = Fault::Transform { channel: 0 };
            assert_eq!(
                check(&sealed(broken), bytes),
                Err(Error::Layer { layer: layer as u16, fault })
            );
        }
    }
}

/// Shared weights are read for each layer, and checked once.
#[test]
fn shared_weights_go_through_a_window() {
    for packing in [Packing::Ohwi, Packing::Winograd] {
        is_exact(&chain(5, packing), Portable, 1);
    }
    let with_bias = |layers: std::ops::Range<usize>| {
        let mut program = chain(20, Packing::Ohwi);
        for layer in &mut program.layers[layers] {
            // For these sums the weights have to be read.
            layer.bias.fill((1 << 30) - 1_000_000);
            layer.multipliers.fill(Multiplier::from_real(1e-9).unwrap());
        }
        let file = file(&program);
        let (mut window, mut resident) = (memory(4096, 1), memory(file.len(), 2));
        let mut weights = WeightsWindow::new(Source(&file), window.as_mut_bytes());
        weights.parse(resident.as_mut_bytes()).map(|_| ())
    };
    assert_eq!(with_bias(1..2), Ok(()));
    assert_eq!(with_bias(1..21), Err(Error::Work));
}

#[test]
fn a_model_runs_only_with_the_window_that_checked_it() {
    let (one, other) = (file(&network(1, 1)), file(&network(2, 1)));
    let (mut first, mut second) = (memory(one.len(), 1), memory(other.len(), 1));
    let mut checked = WeightsWindow::new(Source(&one), first.as_mut_bytes());
    let mut resident = memory(one.len(), 2);
    let needed = resident_bytes(&one);
    let too_small = checked.parse(&mut resident.as_mut_bytes()[..needed - 1]).map(|_| ());
    assert_eq!(too_small, Err(Error::ResidentTooSmall { needed, got: needed - 1 }));
    let model = checked.parse(resident.as_mut_bytes()).unwrap();
    let mut arena = memory(model.arena_bytes(), 3);
    let arena = arena.as_mut_bytes();
    let elsewhere = Session::new(&model, Portable, arena).map(|_| ());
    assert_eq!(elsewhere, Err(Error::WeightsElsewhere));
    let not_checked = WeightsWindow::new(Source(&other), second.as_mut_bytes());
    let elsewhere = Session::with_weights(&model, Portable, arena, not_checked).map(|_| ());
    assert_eq!(elsewhere, Err(Error::WeightsElsewhere));
    let mut session = Session::with_weights(&model, Portable, arena, checked).unwrap();
    let mut bytes = 20;
    loop {
        match session.verify_weights(100) {
            Verification::InProgress { bytes: read } => {
                bytes += 100;
                assert_eq!(read, bytes);
            }
            found => break assert_eq!(found, Verification::Verified),
        }
    }
    assert!(bytes + 100 >= one.len());
}

/// Flash that is read in units.
struct InUnits<'f, const UNIT: usize>(&'f [u8]);

impl<const UNIT: usize> ErrorType for InUnits<'_, UNIT> {
    type Error = NorFlashErrorKind;
}

impl<const UNIT: usize> ReadNorFlash for InUnits<'_, UNIT> {
    const READ_SIZE: usize = UNIT;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        embedded_storage::nor_flash::check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

fn reads_anything<const UNIT: usize>() {
    let flash: Vec<u8> = (0..=255).collect();
    for start in (0..48).step_by(UNIT) {
        let mut source = Flash::new(InUnits::<UNIT>(&flash), start as u32);
        assert_eq!(source.capacity(), 256 - start);
        for (offset, length) in
            (0..40).flat_map(|offset| (0..70).map(move |length| (offset, length)))
        {
            let mut bytes = vec![0; length];
            source.read(offset as u32, &mut bytes).unwrap();
            assert_eq!(bytes, flash[start + offset..][..length], "{offset}, {length}");
        }
        assert!(source.read(250, &mut [0; 20]).is_err());
    }
}

#[test]
fn flash_in_units_is_read_from_anywhere() {
    reads_anything::<1>();
    reads_anything::<4>();
    reads_anything::<16>();
}
