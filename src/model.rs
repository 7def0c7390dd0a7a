//! A model file that was checked, borrowed in place. The checks are in `verify.rs`.

use core::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::error::{Error, Section};
use crate::format::{Header, LayerRecord, Packing, PreprocessingRecord, flags};
use crate::graph::Graph;
use crate::proved::proved;
use crate::quant::Quantization;
use crate::shape::Shape;

/// A model file, borrowed in place and checked as a whole.
///
/// [`parse`](Self::parse) checks everything that running relies on: bounds, shapes, positions in
/// the arena, the range of every accumulator, checksum and version. It also proves that the
/// [schedule](crate::schedule) ends and overwrites nothing that is still needed.
///
/// ```
/// # use brooklet::Model;
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// let model = Model::parse(MODEL).unwrap();
/// assert_eq!((model.arena_bytes(), model.classes()), (720, 6));
/// for (number, layer) in model.layers().iter().enumerate() {
///     println!("{}: {}", model.name(number), layer.shape());
/// }
/// # assert_eq!(model.layers().len(), 13);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Model<'m> {
    file: &'m [u8],
    graph: Graph<'m>,
}

/// Stands in for a header that is missing, which the checks have ruled out.
static NO_HEADER: Header = zerocopy::transmute!([0u8; size_of::<Header>()]);

impl<'m> Model<'m> {
    /// Borrows a model file that [`parse`](Self::parse) has accepted before, such as a built-in
    /// model that the firmware's build has checked. The firmware then contains no code for the
    /// checks, and starts at once.
    ///
    /// If `parse` would refuse the file, the results mean nothing, and running may never end.
    ///
    /// ```
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// // The build script has called `Model::parse` on the same file.
    /// let model = brooklet::Model::checked_before(MODEL)?;
    /// assert_eq!(model.classes(), 6);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooShort`] or [`Error::OutOfBounds`] if not even the header's tables are in the file.
    pub fn checked_before(bytes: &'m [u8]) -> Result<Self, Error> {
        let header = header(bytes)?;
        Self::with_tables(whole(bytes, header)?, header)
    }

    /// Checks the preprocessing record, which running does not rely on.
    ///
    /// Resizing makes at most [`MAX_RESIZE`](PreprocessingRecord::MAX_RESIZE) pixels, a crop has
    /// both rows and columns or neither, means and standard deviations are numbers, and standard
    /// deviations are positive.
    ///
    /// # Errors
    ///
    /// [`Error::Preprocessing`].
    pub fn check_preprocessing(&self) -> Result<(), Error> {
        let valid = self.preprocessing().is_none_or(PreprocessingRecord::is_valid);
        if valid { Ok(()) } else { Err(Error::Preprocessing) }
    }

    /// Checks that names and labels are UTF-8, which running does not rely on: text that is not
    /// UTF-8 reads as empty.
    ///
    /// # Errors
    ///
    /// [`Error::Text`].
    pub fn check_text(&self) -> Result<(), Error> {
        let names = || (0..self.graph.layers.len()).map(|layer| self.text(self.name_bytes(layer)));
        let labels = self.header().labels_bytes.get() == 0 || self.labels().is_some();
        if labels && names().all(|name| name.is_some()) { Ok(()) } else { Err(Error::Text) }
    }

    pub(crate) fn with_tables(file: &'m [u8], header: &Header) -> Result<Self, Error> {
        let graph = Graph {
            segments: table(file, header.segments_offset.get(), header.segment_count.get())
                .ok_or(Error::OutOfBounds { section: Section::Segments })?,
            layers: table(file, header.layers_offset.get(), header.layer_count.get())
                .ok_or(Error::OutOfBounds { section: Section::Layers })?,
        };
        Ok(Self { file, graph })
    }

    /// The file's bytes; if the weights are behind a driver, only the bytes before the weights.
    pub fn file(&self) -> &'m [u8] {
        self.file
    }

    /// Whether the weights are behind a driver.
    #[inline(always)]
    pub(crate) fn is_windowed(&self) -> bool {
        cfg!(feature = "weights-window") && self.file.len() < self.header().length.get() as usize
    }

    /// Number of bytes of the file, in memory or behind a driver.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        match self.is_windowed() {
            true => self.header().length.get() as usize,
            false => self.file.len(),
        }
    }

    /// The header.
    pub fn header(&self) -> &'m Header {
        Header::ref_from_prefix(self.file).map_or(&NO_HEADER, |(header, _)| header)
    }

    /// Number of bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.header().arena_bytes.get() as usize
    }

    /// Shape of the input image.
    pub fn input(&self) -> Shape {
        self.layer(0).shape()
    }

    /// Number of classes, which is the number of channels of the logits.
    pub fn classes(&self) -> usize {
        self.layer(self.logits()).channels.get().into()
    }

    /// Whether the network's answer is a map of several cells, not one vector.
    ///
    /// ```
    /// # use brooklet::Model;
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let model = Model::parse(MODEL).unwrap();
    /// assert!(!model.ends_in_map());
    /// ```
    pub fn ends_in_map(&self) -> bool {
        let shape = self.layer(self.logits()).shape();
        (shape.rows, shape.columns) != (1, 1)
    }

    /// The layers and segments.
    pub fn graph(&self) -> &Graph<'m> {
        &self.graph
    }

    /// The layers, the input first.
    pub fn layers(&self) -> &'m [LayerRecord] {
        self.graph.layers
    }

    /// The layer with this index; a layer of zeros if there is none.
    #[inline]
    pub fn layer(&self, index: usize) -> &'m LayerRecord {
        self.graph.layer(index)
    }

    /// The layer that `layer` reads.
    #[inline]
    pub fn input_of(&self, layer: &LayerRecord) -> &'m LayerRecord {
        self.graph.input_of(layer)
    }

    /// The layer that makes the logits.
    pub fn logits(&self) -> usize {
        self.header().logits.get() as usize
    }

    /// The last layer.
    pub fn output(&self) -> usize {
        self.header().output.get() as usize
    }

    /// The layers whose outputs the network returns: those marked as outputs, and the last.
    pub fn outputs(&self) -> impl Iterator<Item = usize> + use<'m> {
        let (layers, last) = (self.graph.layers, self.output());
        let is_output = move |layer: &usize| {
            let flags = layers.get(*layer).map_or(0, |record| record.flags);
            flags & flags::OUTPUT != 0 || *layer == last
        };
        (0..layers.len()).filter(is_output)
    }

    /// Name of a layer.
    pub fn name(&self, layer: usize) -> &'m str {
        self.text(self.name_bytes(layer)).unwrap_or("")
    }

    /// Name of a class, if the file has names.
    ///
    /// ```
    /// # use brooklet::Model;
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let model = Model::parse(MODEL).unwrap();
    /// let name = model.label(2).unwrap_or("no name");
    /// # assert_eq!(name, "no name");
    /// ```
    pub fn label(&self, class: usize) -> Option<&'m str> {
        self.labels()?.lines().nth(class)
    }

    fn labels(&self) -> Option<&'m str> {
        let header = self.header();
        let bytes = header.labels_bytes.get() as usize;
        if bytes == 0 {
            return None;
        }
        self.text(self.bytes(header.labels_offset.get(), bytes))
    }

    /// How an image becomes the network's rows, if the file has a preprocessing record.
    pub fn preprocessing(&self) -> Option<&'m PreprocessingRecord> {
        let offset = self.header().preprocessing_offset.get();
        let bytes = self.bytes(offset, size_of::<PreprocessingRecord>())?;
        if offset == 0 { None } else { PreprocessingRecord::ref_from_bytes(bytes).ok() }
    }

    /// Scale and zero point of the logits.
    pub fn logits_quantization(&self) -> Quantization {
        self.layer(self.logits()).quantization()
    }

    /// The position of row `y` of a layer's output in the arena.
    ///
    /// ```
    /// # use brooklet::Model;
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let model = Model::parse(MODEL).unwrap();
    /// // A row of the image: columns × channels bytes.
    /// assert_eq!(model.row(0, 0).len(), 8 * 3);
    /// assert!(model.row(0, 7).end <= model.arena_bytes());
    /// ```
    #[inline]
    pub fn row(&self, layer: usize, y: u16) -> Range<usize> {
        self.places(self.layer(layer)).row(y)
    }

    /// The positions of the rows of a layer's output in the arena.
    #[inline]
    pub(crate) fn places(&self, layer: &LayerRecord) -> Places<'m> {
        let bytes = self.bytes(layer.places.get(), 4 * usize::from(layer.rows.get()));
        let rows = bytes.and_then(|bytes| <[U32]>::ref_from_bytes(bytes).ok());
        Places { rows: proved!(rows).unwrap_or(&[]), row_bytes: layer.row_bytes() }
    }

    /// The bytes of the file from `offset` on; `None` for 0, which stands for a part that is
    /// missing.
    #[cfg(feature = "self-test")]
    pub(crate) fn bytes_from(&self, offset: u32) -> Option<&'m [u8]> {
        if offset == 0 { None } else { self.file.get(offset as usize..) }
    }

    /// `length` bytes of the file from `offset` on; `None` if they reach beyond its end.
    #[inline]
    pub(crate) fn bytes(&self, offset: u32, length: usize) -> Option<&'m [u8]> {
        self.file.get(offset as usize..)?.get(..length)
    }

    pub(crate) fn name_bytes(&self, layer: usize) -> Option<&'m [u8]> {
        let (header, record) = (self.header(), self.layer(layer));
        self.bytes(header.names_offset.get(), header.names_bytes.get() as usize)?
            .get(record.name_offset.get() as usize..)?
            .get(..record.name_bytes.get() as usize)
    }

    fn text(&self, bytes: Option<&'m [u8]>) -> Option<&'m str> {
        core::str::from_utf8(bytes?).ok()
    }

    /// The bytes of a layer's scratch memory in the arena.
    #[inline]
    pub(crate) fn scratch(&self, layer: &LayerRecord) -> Range<usize> {
        let start = layer.scratch_offset.get() as usize;
        start..start.saturating_add(layer.scratch_bytes.get() as usize)
    }

    /// The first layer whose packing `runs` rejects, with that packing.
    pub(crate) fn first_packing(&self, runs: impl Fn(Packing) -> bool) -> Option<(u16, Packing)> {
        self.graph
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| layer.operator().has_packing() && !layer.has_int16())
            .map(|(index, layer)| (index as u16, layer.packing()))
            .find(|&(_, packing)| !runs(packing))
    }
}

/// The positions of the rows of a layer's output in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'m> {
    rows: &'m [U32],
    row_bytes: usize,
}

impl<'m> Places<'m> {
    /// Where each row starts.
    #[inline]
    pub(crate) fn starts(&self) -> &'m [U32] {
        self.rows
    }

    /// The position of row `y`. If there is no such row, the range starts at 0: a step asks for the
    /// shortcuts of all rows that it could make.
    #[inline]
    pub(crate) fn row(&self, y: u16) -> Range<usize> {
        let start = self.rows.get(usize::from(y)).map_or(0, |place| place.get() as usize);
        start..start.saturating_add(self.row_bytes)
    }
}

/// The header at the start of a file.
pub(crate) fn header(file: &[u8]) -> Result<&Header, Error> {
    let too_short = |_| Error::TooShort { needed: size_of::<Header>(), got: file.len() };
    Header::ref_from_prefix(file).map(|(header, _)| header).map_err(too_short)
}

/// The part of `bytes` that is the model file.
pub(crate) fn whole<'m>(bytes: &'m [u8], header: &Header) -> Result<&'m [u8], Error> {
    let length = header.length.get() as usize;
    let needed = length.max(size_of::<Header>());
    let file = bytes.get(..length).filter(|file| file.len() == needed);
    file.ok_or(Error::TooShort { needed, got: bytes.len() })
}

/// A table of consecutive records.
fn table<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
    file: &[u8],
    offset: u32,
    count: u16,
) -> Option<&[T]> {
    let bytes = file.get(offset as usize..)?.get(..usize::from(count) * size_of::<T>())?;
    <[T]>::ref_from_bytes(bytes).ok()
}
