//! Firmware tests its network, and finds that flash has changed.

use super::*;

/// The tiny model with a test image of its own, and its result for that image.
fn tested() -> Vec<u8> {
    let model = brooklet::Model::parse(TINY).unwrap();
    let image = std::vec![33; model.input().bytes()];
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    let logits = session.run_image(&image).unwrap().as_bytes().to_vec();
    let output = session.output().unwrap().as_bytes().to_vec();
    let output = if model.output() == model.logits() { Vec::new() } else { output };
    let mut file = [TINY, &[1, 0, 0, 0], &image, &logits, &output].concat();
    let (offset, length) = (TINY.len() as u32, file.len() as u32);
    file[60..64].copy_from_slice(&offset.to_le_bytes());
    sealed(file, length)
}

fn sealed(mut file: Vec<u8>, length: u32) -> Vec<u8> {
    file[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = brooklet::format::crc(&file[20..]);
    file[16..20].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn test_images_are_run_on_request() {
    let file = tested();
    let image = std::vec![99; brooklet::Model::parse(&file).unwrap().input().bytes()];
    // In the middle of an image, which is dropped; the next image gets its answer.
    let mut sent = rows(&image[..image.len() / 2]);
    sent.extend(frame(&Request::SelfTest));
    sent.extend(rows(&image));
    sent.extend(frame(&Request::Logits { first: 0 }));
    let last = |file: &[u8], sent: &[u8]| {
        let (mut answers, ..) = play(file, sent);
        let Ok(Response::Values(page)) = decode(answers.last_mut().unwrap()) else { panic!() };
        page.values.to_vec()
    };
    let (mut answers, ..) = play(&file, &sent);
    let mut decoded = answers.iter_mut().map(|answer| decode(answer).unwrap());
    let test = decoded.find(|answer| matches!(answer, Response::SelfTest { .. }));
    assert_eq!(test, Some(Response::SelfTest { images: 1, differs: None }));
    let alone = [rows(&image), frame(&Request::Logits { first: 0 })].concat();
    assert_eq!(last(&file, &sent), last(TINY, &alone));

    let ask = |file: &[u8]| {
        let (mut answers, ..) = play(file, &frame(&Request::SelfTest));
        let answer = decode::<Response<'_>>(&mut answers[0]).unwrap();
        let Response::SelfTest { images, differs } = answer else { panic!("{answer:?}") };
        (images, differs)
    };
    assert_eq!(ask(TINY), (0, None));
    assert_eq!(ask(&with_wrong_answer()), (1, Some(0)));
}

/// The tiny model with a test image, and a result that it does not give for that image.
pub(crate) fn with_wrong_answer() -> Vec<u8> {
    let mut wrong = tested();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let length = wrong.len() as u32;
    sealed(wrong, length)
}

/// A slot that changes while the application runs.
struct Flash(*mut u8, usize);

#[expect(unsafe_code, reason = "memory that changes behind a shared slice")]
impl Flash {
    fn new(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec().leak();
        Self(bytes.as_mut_ptr(), bytes.len())
    }

    fn slot(&self) -> &'static [u8] {
        // SAFETY: the memory is leaked, and has this length.
        unsafe { core::slice::from_raw_parts(self.0, self.1) }
    }

    fn flip(&self, bit: usize) {
        assert!(bit / 8 < self.1);
        // SAFETY: the byte is inside the memory. The test is about memory that changes while a
        // shared slice of it exists; it is not written and read at the same time.
        unsafe {
            let byte = self.0.add(bit / 8);
            byte.write_volatile(byte.read_volatile() ^ 1 << (bit % 8));
        }
    }
}

/// Bits spread over a file, one in every 101st byte.
fn bits(file: &[u8]) -> impl Iterator<Item = usize> {
    (0..file.len()).step_by(101).map(|byte| 8 * byte + byte % 8)
}

fn rows(image: &[u8]) -> Vec<u8> {
    let row_bytes = brooklet::Model::parse(TINY).unwrap().input().row_bytes();
    let row = |(y, pixels)| frame(&Request::Row { y: y as u16, pixels });
    image.chunks(row_bytes).zip(0..).map(|(pixels, y)| (y, pixels)).flat_map(row).collect()
}

#[test]
fn a_check_reads_flash_again() {
    let mut sent = frame(&Request::Check);
    let second = frame(&Request::Check);
    sent.extend(&second);
    for bit in bits(TINY) {
        // The bytes after the model in its slot may change.
        let flash = Flash::new(&[TINY, &[0xff; 100]].concat());
        let mut left = Some(bit);
        let (mut answers, ..) = play_with(flash.slot(), &sent, &mut |bytes| {
            left.take_if(|_| bytes == second.len()).inspect(|&bit| flash.flip(bit));
            false
        });
        assert!(matches!(decode(&mut answers[0]), Ok(Response::Loaded(_))));
        assert_eq!(decode(&mut answers[1]), Ok(Response::Failed(Fault::ModelChanged)), "{bit}");
    }
    let flash = Flash::new(&[TINY, &[0xff; 100]].concat());
    let (mut answers, ..) = play_with(flash.slot(), &sent, &mut |bytes| {
        if bytes == second.len() {
            flash.flip(8 * TINY.len());
        }
        false
    });
    assert!(matches!(decode(&mut answers[1]), Ok(Response::Loaded(_))));
}

/// If the host pauses for as long as a pass takes, it gets no result of a model that changed.
#[test]
fn idle_firmware_finds_that_flash_changed() {
    let image = std::vec![77; brooklet::Model::parse(TINY).unwrap().input().bytes()];
    let mut sent = rows(&image);
    let last = frame(&Request::Logits { first: 0 });
    sent.extend(&last);
    // The network first runs to its end. Then come two passes, because the first may already be
    // past the change.
    let (run, pass) = (1000, TINY.len() / 64 + 1);
    let turns = run + 2 * pass;
    let changed = |bit: Option<usize>| {
        let flash = Flash::new(TINY);
        let mut paused = 0;
        let (mut answers, _, status) = play_with(flash.slot(), &sent, &mut |bytes| {
            if bytes != last.len() || paused == turns {
                return false;
            }
            bit.filter(|_| paused == run).inspect(|&bit| flash.flip(bit));
            paused += 1;
            true
        });
        let refused =
            decode(answers.last_mut().unwrap()) == Ok(Response::Failed(Fault::ModelChanged));
        (refused, status.last() == Some(&true))
    };
    assert_eq!(changed(None), (false, true));
    for bit in bits(TINY) {
        assert_eq!(changed(Some(bit)), (true, false), "{bit}");
    }
}
