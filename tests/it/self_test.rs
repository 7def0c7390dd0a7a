//! Checks after start-up: the model file in flash, and the results of its test images.

use crate::common::{image, network, with_int16};
use brooklet::format::{Header, SelfTestRecord, crc, crc_after};
use brooklet::kernels::{Portable, Reference};
use brooklet::{Error, Model, Section, SelfTest, Session, Verification};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::self_test::build;
use zerocopy::{FromBytes, IntoBytes};

/// A file in memory that changes while a session uses it, as flash can.
struct Flash {
    first: *mut u8,
    length: usize,
}

#[expect(unsafe_code, reason = "memory that changes behind a shared slice")]
impl Flash {
    fn new(file: Vec<u8>) -> Self {
        let file = file.leak();
        Self { first: file.as_mut_ptr(), length: file.len() }
    }

    fn bytes(&self) -> &'static [u8] {
        // SAFETY: the memory is leaked, and has this length.
        unsafe { std::slice::from_raw_parts(self.first, self.length) }
    }

    fn flip(&self, bit: usize) {
        assert!(bit / 8 < self.length);
        // SAFETY: the byte is inside the memory. The test is about memory that changes while a
        // shared slice of it exists; it is not written and read at the same time.
        unsafe {
            let byte = self.first.add(bit / 8);
            byte.write_volatile(byte.read_volatile() ^ 1 << (bit % 8));
        }
    }
}

/// Changes the file, and seals it.
fn changed(file: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = file.to_vec();
    change(&mut file);
    let crc = crc(&file[20..]);
    file[16..20].copy_from_slice(&crc.to_le_bytes());
    file
}

fn header(file: &mut [u8]) -> &mut Header {
    Header::mut_from_prefix(file).unwrap().0
}

/// A network with test images.
fn tested(mut program: Program, images: u64) -> (Program, Vec<u8>) {
    let images = (0..images).map(|seed| image(&program, seed)).collect();
    program.set_test_images(images);
    let file = build(&program, &plan(&program, Goal::Size).unwrap(), "test".as_ref()).unwrap();
    let bytes = file.bytes().to_vec();
    (Program::read(&file.model()), bytes)
}

/// Runs the test images of a file on two backends, which must agree.
fn self_test(file: &[u8]) -> SelfTest {
    let model = Model::parse(file).unwrap();
    let mut memory = vec![0x5a5a_5a5a_u128; model.arena_bytes().div_ceil(16)];
    let found =
        Session::new(&model, Reference, memory.as_mut_bytes()).map(|mut s| s.self_test()).unwrap();
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    // An unfinished image is dropped, and the next one begins at its first row.
    session.push_row(&vec![7; model.input().row_bytes()]).unwrap();
    assert_eq!(session.self_test(), found);
    assert_eq!(session.rows_missing(), model.input().rows);
    found
}

#[test]
fn stored_images_give_the_stored_bytes() {
    for seed in 0..12 {
        let program = network(seed, 2);
        let program = if seed % 2 == 0 { with_int16(program, seed) } else { program };
        let images = 1 + seed % 4;
        let (program, file) = tested(program, images);
        assert_eq!(self_test(&file), SelfTest::Passed { images: images as u16 });
        // The pixels are stored as they are pushed, with the results that they give.
        for (stored, seed) in program.test_images.iter().zip(0..) {
            assert_eq!(stored.pixels, image(&program, seed));
            let logits = &program.layers[program.logits].record;
            assert_eq!(stored.logits.len(), logits.row_bytes());
            assert!(stored.logits.iter().any(|&byte| byte != 0));
        }
        // Each byte of a result is compared.
        let record = Header::ref_from_prefix(&file).unwrap().0.self_test_offset.get() as usize;
        let each = program.test_images[0].pixels.len();
        let answer = program.test_images[0].logits.len() + program.test_images[0].output.len();
        for image in 0..images as usize {
            let first = record + size_of::<SelfTestRecord>() + image * (each + answer) + each;
            for at in first..first + answer {
                let file = changed(&file, |file| file[at] ^= 1);
                assert_eq!(self_test(&file), SelfTest::Differs { image: image as u16 });
            }
        }
    }
}

#[test]
fn a_file_without_test_images_says_so() {
    let (_, file) = tested(network(3, 1), 0);
    assert_eq!(Header::ref_from_prefix(&file).unwrap().0.self_test_offset.get(), 0);
    assert_eq!(self_test(&file), SelfTest::NoneStored);
}

#[test]
fn test_images_outside_of_the_file_are_refused() {
    let (_, file) = tested(network(3, 1), 2);
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        Model::parse(&changed(&file, |file| change(file))).map(|_| ())
    };
    let offset = Header::ref_from_prefix(&file).unwrap().0.self_test_offset.get();
    let outside = Err(Error::OutOfBounds { section: Section::SelfTest });
    let at = |offset: u32| move |file: &mut Vec<u8>| header(file).self_test_offset = offset.into();
    assert_eq!(parse(&at(offset)), Ok(()));
    let length = file.len() as u32;
    for far in [length, length - 3, length + 1, u32::MAX, u32::MAX - 3] {
        assert_eq!(parse(&at(far)), outside, "{far}");
    }
    // The record is complete, but the images are not.
    let count = |count: u16| {
        move |file: &mut Vec<u8>| {
            let count = count.to_le_bytes();
            file[offset as usize..][..2].copy_from_slice(&count);
        }
    };
    assert_eq!(parse(&count(1)), Ok(()));
    let at_the_end = |file: &mut Vec<u8>| {
        header(file).self_test_offset = (length - 4).into();
        file[length as usize - 4..].copy_from_slice(&[1, 0, 0, 0]);
    };
    assert_eq!(parse(&at_the_end), outside);
    for wrong in [0, 5, 256, u16::MAX] {
        assert_eq!(parse(&count(wrong)), Err(Error::TestImages { count: wrong }));
    }
    assert_eq!(parse(&|file| file[offset as usize + 3] = 1), Err(Error::Reserved));
}

/// The CRC of a file in two parts is the CRC of the whole.
#[test]
fn checksums_go_on() {
    let bytes: Vec<u8> = (0..600_u32).map(|at| (at * at % 251) as u8).collect();
    for cut in [0, 1, 2, 255, 256, 599, 600] {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(crc_after(crc(first), second), crc(&bytes), "{cut}");
    }
    // The check value of CRC-32/ISO-HDLC.
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_pass_reads_as_much_as_it_may() {
    let (_, file) = tested(network(5, 2), 1);
    let model = Model::parse(&file).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    for budget in [1, 7, 64, 1000, usize::MAX] {
        assert_eq!(session.verify_weights(0), Verification::InProgress { bytes: 20 });
        let mut read = 20;
        let found = loop {
            match session.verify_weights(budget) {
                Verification::InProgress { bytes } => {
                    assert_eq!(bytes, read + budget, "no more than the budget, and no less");
                    read = bytes;
                }
                end => break end,
            }
        };
        assert_eq!(found, Verification::Verified, "{budget}");
        assert!(file.len() - read <= budget);
    }
    // In the middle of an image, which is not disturbed, and in the middle of a pass.
    let image = image(&network(5, 2), 9);
    let expected = session.run_image(&image).unwrap().as_bytes().to_vec();
    session.reset();
    for row in image.chunks(model.input().row_bytes()) {
        session.push_row(row).unwrap();
        session.verify_weights(33);
        assert_eq!(session.verify_all(), Verification::Verified);
    }
    assert_eq!(session.logits().unwrap().as_bytes(), expected);
}

#[test]
fn each_changed_bit_is_found_and_named() {
    let flash = Flash::new(tested(network(5, 1), 1).1);
    let model = Model::parse(flash.bytes()).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    let bits = 8 * flash.length;
    for bit in (0..8 * size_of::<Header>()).chain((0..bits).step_by(11)).chain([bits - 1]) {
        flash.flip(bit);
        assert_eq!(session.verify_all(), Verification::Corrupt, "bit {bit}");
        flash.flip(bit);
        assert_eq!(session.verify_all(), Verification::Verified, "bit {bit}");
    }
    // In steps: a change ahead of the position of the pass is found by this pass, and a change
    // behind it by the next.
    let pass = |session: &mut Session<'_, '_, Portable>| loop {
        match session.verify_weights(100) {
            Verification::InProgress { .. } => {}
            end => break end,
        }
    };
    session.verify_weights(100);
    flash.flip(bits - 1);
    assert_eq!(pass(&mut session), Verification::Corrupt);
    flash.flip(bits - 1);
    session.verify_weights(100);
    flash.flip(8 * 60);
    assert_eq!(pass(&mut session), Verification::Verified);
    assert_eq!(pass(&mut session), Verification::Corrupt);
}

/// Another valid model is not the one that was parsed.
#[test]
fn a_model_that_takes_the_place_of_another_is_found() {
    let (_, file) = tested(network(5, 1), 1);
    let other = changed(&file, |file| {
        let pixel = header(file).self_test_offset.get() as usize + size_of::<SelfTestRecord>();
        file[pixel] ^= 1;
    });
    let flash = Flash::new(file.clone());
    let model = Model::parse(flash.bytes()).unwrap();
    let mut memory = vec![0u128; model.arena_bytes().div_ceil(16)];
    let mut session = Session::new(&model, Portable, memory.as_mut_bytes()).unwrap();
    for (at, (old, new)) in file.iter().zip(&other).enumerate() {
        (0..8).filter(|bit| (old ^ new) >> bit & 1 == 1).for_each(|bit| flash.flip(8 * at + bit));
    }
    assert!(Model::parse(flash.bytes()).is_ok());
    assert_eq!(session.verify_all(), Verification::Corrupt);
}
