//! A model file that was checked.

use core::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::arena::ARENA_ALIGN;
use crate::error::{Error, Fault, Part};
use crate::format::{
    self, Header, LayerRecord, MAGIC, MAX_CARRIED, MAX_SEGMENT_LAYERS, NONE, Operator, Packing,
    PreprocessingRecord, VERSION,
};
use crate::graph::Graph;
use crate::ops;
use crate::quant::Quantization;
use crate::schedule::{Next, Schedule};
use crate::shape::Shape;

/// A model file, borrowed where it lies and checked whole.
///
/// [`parse`](Self::parse) verifies everything that running relies on: bounds, shapes, places
/// in the arena, the range of every accumulator, checksum and version, and that the
/// [schedule](crate::schedule) overwrites nothing and ends.
#[derive(Debug, Clone, Copy)]
pub struct Model<'m> {
    file: &'m [u8],
    graph: Graph<'m>,
}

/// What stands where a checked header would have been missing.
static NO_HEADER: Header = zerocopy::transmute!([0u8; size_of::<Header>()]);

impl<'m> Model<'m> {
    /// Checks the model file at the start of `bytes`; what follows it (the rest of a flash
    /// slot) is not looked at.
    ///
    /// Takes time in proportion to the bytes and to the rows of all layers, no memory but a
    /// few hundred bytes of stack.
    ///
    /// # Errors
    ///
    /// [`Error`] names the first thing that is wrong, and the layer.
    pub fn parse(bytes: &'m [u8]) -> Result<Self, Error> {
        let header = header(bytes)?;
        if header.magic != MAGIC {
            return Err(Error::BadMagic);
        }
        if header.version.get() != VERSION {
            return Err(Error::UnsupportedVersion { found: header.version.get() });
        }
        let file = whole(bytes, header)?;
        let (stored, computed) = (header.crc.get(), format::crc(file.get(20..).unwrap_or(&[])));
        if stored != computed {
            return Err(Error::Checksum { stored, computed });
        }
        if header.reserved.get() != 0 || header.reserved_end.get() != 0 {
            return Err(Error::Reserved);
        }
        let model = Self::with_tables(file, header)?;
        model.check_header()?;
        model.check_segments()?;
        for layer in 0..model.graph.layers.len() {
            model.check_layer(layer).map_err(|fault| Error::layer(layer, fault))?;
        }
        model.check_readers()?;
        model.check_schedule()?;
        Ok(model)
    }

    /// A model file that [`parse`](Self::parse) has accepted before: where firmware is built, for a
    /// model that is built into it. So firmware has no code for checks, and starts at once.
    ///
    /// Of a file that `parse` would refuse, results mean nothing, and may never come.
    ///
    /// # Errors
    ///
    /// [`Error::TooShort`] or [`Error::OutOfBounds`] if not even the header's tables are in the file.
    pub fn checked_before(bytes: &'m [u8]) -> Result<Self, Error> {
        let header = header(bytes)?;
        Self::with_tables(whole(bytes, header)?, header)
    }

    /// Checks that names and labels are UTF-8, which running does not rely on: those that are not
    /// read as empty.
    ///
    /// # Errors
    ///
    /// [`Error::Text`].
    pub fn check_text(&self) -> Result<(), Error> {
        let names = || (0..self.graph.layers.len()).map(|layer| self.text(self.name_bytes(layer)));
        let labels = self.header().labels_bytes.get() == 0 || self.labels().is_some();
        if labels && names().all(|name| name.is_some()) { Ok(()) } else { Err(Error::Text) }
    }

    fn with_tables(file: &'m [u8], header: &Header) -> Result<Self, Error> {
        let graph = Graph {
            segments: table(file, header.segments_offset.get(), header.segment_count.get())
                .ok_or(Error::OutOfBounds { part: Part::Segments })?,
            layers: table(file, header.layers_offset.get(), header.layer_count.get())
                .ok_or(Error::OutOfBounds { part: Part::Layers })?,
        };
        Ok(Self { file, graph })
    }

    /// The file's bytes.
    pub fn file(&self) -> &'m [u8] {
        self.file
    }

    /// The header.
    pub fn header(&self) -> &'m Header {
        Header::ref_from_prefix(self.file).map_or(&NO_HEADER, |(header, _)| header)
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.header().arena_bytes.get() as usize
    }

    /// Shape of the picture.
    pub fn input(&self) -> Shape {
        self.layer(0).shape()
    }

    /// Number of classes: channels of the logits.
    pub fn classes(&self) -> usize {
        self.layer(self.logits()).shape().bytes()
    }

    /// The layers and segments.
    pub fn graph(&self) -> &Graph<'m> {
        &self.graph
    }

    /// The layers, the input first.
    pub fn layers(&self) -> &'m [LayerRecord] {
        self.graph.layers
    }

    /// A layer; one of zeros if there is none of that number.
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

    /// Name of a layer.
    pub fn name(&self, layer: usize) -> &'m str {
        self.text(self.name_bytes(layer)).unwrap_or("")
    }

    /// Name of a class, if the file has names.
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

    /// How a picture becomes the network's rows, if the file says so.
    pub fn preprocessing(&self) -> Option<&'m PreprocessingRecord> {
        let offset = self.header().preprocessing_offset.get();
        let bytes = self.bytes(offset, size_of::<PreprocessingRecord>())?;
        if offset == 0 { None } else { PreprocessingRecord::ref_from_bytes(bytes).ok() }
    }

    /// Scale and zero point of the logits.
    pub fn logits_quantization(&self) -> Quantization {
        self.layer(self.logits()).quantization()
    }

    /// Where row `y` of a layer's output is in the arena.
    #[inline]
    pub fn row(&self, layer: usize, y: u16) -> Range<usize> {
        self.places(self.layer(layer)).row(y)
    }

    /// Where the rows of a layer's output are in the arena.
    #[inline]
    pub(crate) fn places(&self, layer: &LayerRecord) -> Places<'m> {
        let bytes = self.bytes(layer.places.get(), 4 * usize::from(layer.rows.get()));
        let rows = bytes.and_then(|bytes| <[U32]>::ref_from_bytes(bytes).ok());
        Places { rows: rows.unwrap_or(&[]), row_bytes: layer.row_bytes() }
    }

    /// `length` bytes of the file from `offset`; `None` if they reach beyond it.
    #[inline]
    pub(crate) fn bytes(&self, offset: u32, length: usize) -> Option<&'m [u8]> {
        self.file.get(offset as usize..)?.get(..length)
    }

    fn name_bytes(&self, layer: usize) -> Option<&'m [u8]> {
        let (header, record) = (self.header(), self.layer(layer));
        self.bytes(header.names_offset.get(), header.names_bytes.get() as usize)?
            .get(record.name_offset.get() as usize..)?
            .get(..record.name_bytes.get() as usize)
    }

    fn text(&self, bytes: Option<&'m [u8]>) -> Option<&'m str> {
        core::str::from_utf8(bytes?).ok()
    }

    fn check_header(&self) -> Result<(), Error> {
        let header = self.header();
        let out_of_bounds = |part| Error::OutOfBounds { part };
        let (last, logits, output) =
            (self.graph.layers.len().saturating_sub(1), self.logits(), self.output());
        // The output is the last layer, and the logits are it or what it is a softmax of.
        let after_logits = self.layer(output).operator() == Operator::Softmax
            && self.layer(output).input.get() as usize == logits;
        if output != last || !(logits == output || after_logits) || output == 0 {
            return Err(out_of_bounds(Part::Layers));
        }
        if let Some(layer) = [logits, output].into_iter().find(|&i| self.layer(i).rows.get() != 1) {
            return Err(Error::layer(layer, Fault::Shape));
        }
        self.bytes(header.names_offset.get(), header.names_bytes.get() as usize)
            .ok_or(out_of_bounds(Part::Names))?;
        if header.labels_bytes.get() != 0 {
            self.bytes(header.labels_offset.get(), header.labels_bytes.get() as usize)
                .ok_or(out_of_bounds(Part::Labels))?;
        }
        if header.preprocessing_offset.get() != 0 && self.preprocessing().is_none() {
            return Err(out_of_bounds(Part::Preprocessing));
        }
        Ok(())
    }

    fn check_segments(&self) -> Result<(), Error> {
        let mut next = 0;
        for index in 0..self.graph.segments.len() {
            let layers = self.graph.segment(index);
            if layers.start != next || layers.is_empty() || layers.len() > MAX_SEGMENT_LAYERS {
                return Err(Error::Segments);
            }
            next = layers.end;
        }
        if next == self.graph.layers.len() { Ok(()) } else { Err(Error::Segments) }
    }

    /// What the layer says of itself; and that rows and scratch memory lie inside the arena.
    fn check_layer(&self, layer: usize) -> Result<(), Fault> {
        self.name_bytes(layer).ok_or(Fault::OutOfBounds(Part::Names))?;
        ops::check(self, layer)?;
        let record = self.layer(layer);
        let rows = record.rows.get();
        if !record.places.get().is_multiple_of(4)
            || self.bytes(record.places.get(), 4 * usize::from(rows)).is_none()
        {
            return Err(Fault::OutOfBounds(Part::Places));
        }
        let arena = self.arena_bytes();
        let inside = |row: Range<usize>| row.end <= arena && row.start.is_multiple_of(ARENA_ALIGN);
        if !(0..rows).all(|y| inside(self.row(layer, y))) {
            return Err(Fault::OutOfBounds(Part::Row));
        }
        let start = record.scratch_offset.get() as usize;
        match start.checked_add(record.scratch_bytes.get() as usize) {
            Some(end) if end <= arena && start.is_multiple_of(ARENA_ALIGN) => Ok(()),
            _ => Err(Fault::OutOfBounds(Part::Scratch)),
        }
    }

    /// Each `last_reader` is what it says: nobody reads after it, and it does read.
    fn check_readers(&self) -> Result<(), Error> {
        for (index, record) in self.graph.layers.iter().enumerate().skip(1) {
            for operand in [Some(record.input.get() as usize), record.shortcut()] {
                let Some(operand) = operand else { continue };
                if (self.layer(operand).last_reader.get() as usize) < index {
                    return Err(Error::layer(operand, Fault::Readers));
                }
            }
        }
        for (index, record) in self.graph.layers.iter().enumerate() {
            let last = record.last_reader.get();
            let kept = index == self.logits() || index == self.output();
            let reader = self.layer(last as usize);
            let reads = reader.input.get() as usize == index || reader.shortcut() == Some(index);
            let valid = if kept {
                last == NONE
            } else {
                (last as usize) > index && (last as usize) < self.graph.layers.len() && reads
            };
            if !valid {
                return Err(Error::layer(index, Fault::Readers));
            }
        }
        Ok(())
    }

    /// Walks the schedule, and checks that no step writes what is still needed.
    ///
    /// A byte is needed when it belongs to a row that is made and that a later step reads, or
    /// to scratch memory that keeps something. As every write is checked against all of
    /// these, every step finds the rows that it reads as they were made.
    fn check_schedule(&self) -> Result<(), Error> {
        let mut schedule = Schedule::new(&self.graph);
        let mut carried: heapless::Vec<u16, MAX_CARRIED> = heapless::Vec::new();
        let mut segment = 0;
        loop {
            let next = schedule.next(&self.graph);
            while segment < schedule.segment() {
                self.carry(&mut carried, segment)?;
                segment += 1;
            }
            match next {
                Next::Row { row } => {
                    self.check_step(&schedule, &carried, 0, row)?;
                    schedule.complete(&self.graph, 0);
                }
                Next::Run { layer, step } => {
                    self.check_step(&schedule, &carried, layer, step)?;
                    schedule.complete(&self.graph, layer);
                }
                Next::Done => return Ok(()),
                Next::Stalled => return Err(Error::Stalls { segment: segment as u16 }),
            }
        }
    }

    /// Tensors that live on after `segment`.
    fn carry(
        &self,
        carried: &mut heapless::Vec<u16, MAX_CARRIED>,
        segment: usize,
    ) -> Result<(), Error> {
        let layers = self.graph.segment(segment);
        let lives_on =
            |layer: u16| self.layer(layer as usize).last_reader.get() as usize >= layers.end;
        carried.retain(|&layer| lives_on(layer));
        for layer in layers.clone().map(|layer| layer as u16).filter(|&layer| lives_on(layer)) {
            carried.push(layer).map_err(|_| Error::TooManyCarried { segment: segment as u16 })?;
        }
        Ok(())
    }

    fn check_step(
        &self,
        schedule: &Schedule,
        carried: &[u16],
        layer: usize,
        step: u16,
    ) -> Result<(), Error> {
        let graph = &self.graph;
        let record = self.layer(layer);
        let made = |steps| ops::rows_made(record, steps);
        let outputs = made(step)..made(step + 1);
        let scratch = self.scratch(record);
        let overwrites = Err(Error::layer(layer, Fault::Overwrites));
        let overlap = |a: &Range<usize>, b: &Range<usize>| {
            !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
        };
        // What the step writes lies apart.
        for y in outputs.clone() {
            let output = self.row(layer, y);
            let other = |other| overlap(&output, &self.row(layer, other));
            if overlap(&output, &scratch) || (y + 1..outputs.end).any(other) {
                return overwrites;
            }
        }
        let segment = graph.segment(schedule.segment());
        for other in carried.iter().map(|&layer| layer as usize).chain(segment) {
            // The row of the shortcut that becomes the output is read before it is overwritten.
            let becomes_output = |row: u16, y: u16| {
                record.shortcut() == Some(other)
                    && row == y
                    && ops::can_update(graph, record)
                    && schedule.needed_from(graph, other, Some(layer)) > y
                    && self.row(other, row) == self.row(layer, y)
            };
            let needed = schedule.needed_from(graph, other, None);
            for row in needed..schedule.made(graph, other) {
                let live = self.row(other, row);
                let overwrites_it =
                    |y| overlap(&live, &self.row(layer, y)) && !becomes_output(row, y);
                if overlap(&live, &scratch) || outputs.clone().any(overwrites_it) {
                    return overwrites;
                }
            }
            let theirs = self.layer(other);
            if other != layer && ops::scratch_persists(theirs) && schedule.underway(graph, other) {
                let kept = self.scratch(theirs);
                let overwrites_it = |y| overlap(&self.row(layer, y), &kept);
                if outputs.clone().any(overwrites_it) || overlap(&scratch, &kept) {
                    return overwrites;
                }
            }
        }
        Ok(())
    }

    /// Bytes of a layer's scratch memory in the arena.
    #[inline]
    pub(crate) fn scratch(&self, layer: &LayerRecord) -> Range<usize> {
        let start = layer.scratch_offset.get() as usize;
        start..start.saturating_add(layer.scratch_bytes.get() as usize)
    }

    /// The first layer whose weights `runs` does not take.
    pub(crate) fn first_packing(&self, runs: impl Fn(Packing) -> bool) -> Option<(u16, Packing)> {
        self.graph
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| layer.operator() == Operator::Conv && !layer.is_wide())
            .map(|(index, layer)| (index as u16, layer.packing()))
            .find(|&(_, packing)| !runs(packing))
    }
}

/// Where the rows of a layer's output are in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'m> {
    rows: &'m [U32],
    row_bytes: usize,
}

impl Places<'_> {
    /// Where row `y` is.
    #[inline]
    pub(crate) fn row(&self, y: u16) -> Range<usize> {
        let start = self.rows.get(usize::from(y)).map_or(0, |place| place.get() as usize);
        start..start.saturating_add(self.row_bytes)
    }
}

/// The header at the start of a file.
fn header(file: &[u8]) -> Result<&Header, Error> {
    let too_short = |_| Error::TooShort { needed: size_of::<Header>(), got: file.len() };
    Header::ref_from_prefix(file).map(|(header, _)| header).map_err(too_short)
}

/// What of `bytes` is the file.
fn whole<'m>(bytes: &'m [u8], header: &Header) -> Result<&'m [u8], Error> {
    let length = header.length.get() as usize;
    let needed = length.max(size_of::<Header>());
    let file = bytes.get(..length).filter(|file| file.len() == needed);
    file.ok_or(Error::TooShort { needed, got: bytes.len() })
}

/// A table of records that lie one after the other.
fn table<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
    file: &[u8],
    offset: u32,
    count: u16,
) -> Option<&[T]> {
    let bytes = file.get(offset as usize..)?.get(..usize::from(count) * size_of::<T>())?;
    <[T]>::ref_from_bytes(bytes).ok()
}
