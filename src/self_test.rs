//! Test images in a model file: a device compares its results with those computed where the model
//! was made.

use core::slice::ChunksExact;

use zerocopy::FromBytes;

use crate::error::{Error, Section};
use crate::format::{MAX_TEST_IMAGES, SelfTestRecord};
use crate::kernels::Backend;
use crate::map::Map;
use crate::model::Model;
use crate::session::Session;
use crate::weights::Weights;

/// The result of [`Session::self_test`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SelfTest {
    /// The model file has no test images.
    NoneStored,
    /// Each test image gave the stored results.
    Passed {
        /// Number of test images.
        images: u16,
    },
    /// A test image gave other logits, or another output, than the stored ones.
    Differs {
        /// The index of the first such image.
        image: u16,
    },
}

/// A test image and the stored results for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestImage<'m> {
    /// The image as it is pushed: rows × columns × channels bytes.
    pub pixels: &'m [u8],
    /// The logits as they lie in memory, row by row: int8, or int16 in little-endian.
    pub logits: &'m [u8],
    /// The output in the same form, if a layer follows the logits; otherwise empty.
    pub output: &'m [u8],
}

/// The test images of a model file, in order.
#[derive(Debug, Clone)]
pub struct TestImages<'m> {
    stored: ChunksExact<'m, u8>,
    pixels: usize,
    logits: usize,
}

impl<'m> Iterator for TestImages<'m> {
    type Item = TestImage<'m>;

    fn next(&mut self) -> Option<TestImage<'m>> {
        let (pixels, answer) = self.stored.next()?.split_at_checked(self.pixels)?;
        let (logits, output) = answer.split_at_checked(self.logits)?;
        Some(TestImage { pixels, logits, output })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stored.size_hint()
    }
}

impl ExactSizeIterator for TestImages<'_> {}

impl<'m> Model<'m> {
    /// The test images in the file; an empty iterator if it has none.
    ///
    /// ```
    /// # use brooklet::Model;
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let model = Model::parse(MODEL).unwrap();
    /// for image in model.test_images() {
    ///     assert_eq!(image.pixels.len(), model.input().bytes());
    /// }
    /// # assert_eq!(model.test_images().len(), 0);
    /// ```
    pub fn test_images(&self) -> TestImages<'m> {
        let (stored, [pixels, logits, output]) = self.stored_tests().unwrap_or_default();
        // An image has at least one pixel: `parse` has checked the input's shape.
        let each = (pixels + logits + output).max(1);
        TestImages { stored: stored.chunks_exact(each), pixels, logits }
    }

    /// The bytes of all test images, and the number of bytes of an image, of its logits and of its
    /// output. `None` if there is no record, or if it reaches beyond the end of the file.
    fn stored_tests(&self) -> Option<(&'m [u8], [usize; 3])> {
        let offset = self.header().self_test_offset.get();
        let (record, rest) = SelfTestRecord::ref_from_prefix(self.bytes_from(offset)?).ok()?;
        let (logits, output) = (self.logits(), self.output());
        let bytes = |layer: usize| {
            let layer = self.layer(layer);
            usize::from(layer.rows.get()).checked_mul(layer.row_bytes())
        };
        let output_bytes = if output == logits { Some(0) } else { bytes(output) };
        let bytes = [bytes(0)?, bytes(logits)?, output_bytes?];
        let each = bytes.iter().try_fold(0_usize, |sum, &bytes| sum.checked_add(bytes))?;
        let stored = rest.get(..each.checked_mul(record.count.get().into())?)?;
        Some((stored, bytes))
    }

    /// Checks the header's statements about test images.
    pub(crate) fn check_test_images(&self) -> Result<(), Error> {
        let offset = self.header().self_test_offset.get();
        if offset == 0 {
            return Ok(());
        }
        let outside = Error::OutOfBounds { section: Section::SelfTest };
        let record =
            self.bytes_from(offset).and_then(|at| SelfTestRecord::ref_from_prefix(at).ok());
        let (record, _) = record.ok_or(outside)?;
        if record.reserved.get() != 0 {
            return Err(Error::Reserved);
        }
        let count = record.count.get();
        if count == 0 || usize::from(count) > MAX_TEST_IMAGES {
            return Err(Error::TestImages { count });
        }
        self.stored_tests().map(|_| ()).ok_or(outside)
    }
}

impl<B: Backend, W: Weights> Session<'_, '_, B, W> {
    /// Runs the test images in the model file, and compares logits and output with the stored ones,
    /// byte by byte. A device thus tests kernels, memory and model in place.
    ///
    /// Takes as long as running these images. Drops an unfinished image, and the results of the
    /// last: the next row that is pushed is the first of an image.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// use brooklet::SelfTest;
    ///
    /// match session.self_test() {
    ///     SelfTest::Passed { images } => println!("{images} test images passed"),
    ///     SelfTest::Differs { image } => panic!("test image {image} differs: do not trust this chip"),
    ///     SelfTest::NoneStored => println!("`brooklet quantize --self-test 2` would have stored some"),
    /// }
    /// # assert_eq!(session.self_test(), SelfTest::NoneStored);
    /// ```
    pub fn self_test(&mut self) -> SelfTest {
        let model = *self.model();
        let (mut images, separate) = (0, model.output() != model.logits());
        for (image, stored) in (0..).zip(model.test_images()) {
            let mut same = self.push_image(stored.pixels).is_ok();
            same &= self.logits_map().is_ok_and(|logits| is_stored(logits, stored.logits));
            if separate {
                same &= self.map().is_ok_and(|output| is_stored(output, stored.output));
            }
            if !same {
                self.reset();
                return SelfTest::Differs { image };
            }
            images = image + 1;
        }
        self.reset();
        if images == 0 { SelfTest::NoneStored } else { SelfTest::Passed { images } }
    }
}

/// Whether the rows of a map are the stored bytes.
fn is_stored(map: Map<'_>, mut stored: &[u8]) -> bool {
    map.rows().all(|row| {
        let rest = stored.strip_prefix(row);
        stored = rest.unwrap_or_default();
        rest.is_some()
    })
}
