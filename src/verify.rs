//! The checks that turn bytes into a [`Model`].

mod flows;
#[cfg(test)]
mod plain_tests;
mod repeats;
mod taken;
#[cfg(test)]
mod tests;
mod walk;

use crate::arena::ARENA_ALIGN;
use crate::error::{Error, Fault, Section};
use crate::format::{self, MAGIC, MAX_SEGMENT_LAYERS, NONE, Operator, VERSION, flags};
use crate::ops::{self, Known};

use crate::model::{Model, header, whole};

impl<'m> Model<'m> {
    /// Checks the model file at the start of `bytes`.
    ///
    /// What follows the file, such as the rest of a flash slot, is ignored.
    ///
    /// Takes time in proportion to the file's length, and about 1,500 bytes of stack as its
    /// only memory. Files that would take longer are refused: those whose layers refer to more bytes
    /// than the file has, and those whose schedule has more steps than the file has bytes. Data
    /// shared by several layers counts once for each of them, except for the weights of
    /// convolutions ([`SHARED_WITHIN`](format::SHARED_WITHIN)). Rows that are needed at the same
    /// time can fill the arena in more than 32 stretches with gaps between them. Then the schedule
    /// is walked several times, and each walk checks up to 32 stretches. Plans that brooklet makes
    /// are far from these limits. Where the schedule repeats itself from row to row, some of the
    /// periods are walked, and prove the others.
    ///
    /// A weight of -128 is refused, because backends would compute different results with it.
    ///
    /// ```
    /// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// let model = brooklet::Model::parse(MODEL)?;
    /// assert_eq!(model.input().to_string(), "8x8x3");
    /// // A byte that changed is found, wherever it is.
    /// let mut damaged = MODEL.to_vec();
    /// damaged[4000] ^= 1;
    /// assert!(matches!(brooklet::Model::parse(&damaged), Err(brooklet::Error::Checksum { .. })));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`] names the first fault, and the layer.
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
        if header.reserved.get() != 0 {
            return Err(Error::Reserved);
        }
        let model = Self::with_tables(file, header)?;
        model.check()?;
        Ok(model)
    }

    /// Checks everything except the header's statements about the file as a whole.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_tables()?;
        self.check_schedule()
    }

    /// Checks everything except the schedule. It is apart, so that neither needs the other's stack.
    #[inline(never)]
    fn check_tables(&self) -> Result<(), Error> {
        self.check_header()?;
        self.check_segments()?;
        // The number of bytes that the remaining layers may still refer to. Data shared by several
        // layers counts once for each of them, except for weights, which are checked only once.
        let mut bytes = self.length() as u64;
        for (index, layer) in self.graph().layers.iter().enumerate() {
            let mut known = Known::of(self.graph(), index);
            let named = ops::named_bytes(layer, self.input_of(layer), &known);
            bytes = bytes.checked_sub(named).ok_or(Error::Work)?;
            self.check_layer(index, &mut known).map_err(|fault| Error::layer(index, fault))?;
            if known.weights {
                bytes = bytes.checked_sub(known.read).ok_or(Error::Work)?;
            }
        }
        self.check_readers()
    }

    fn check_header(&self) -> Result<(), Error> {
        let header = self.header();
        let out_of_bounds = |section| Error::OutOfBounds { section };
        let (last, logits, output) =
            (self.graph().layers.len().saturating_sub(1), self.logits(), self.output());
        // The output is the last layer. The logits are either the output or the input of its
        // softmax.
        let after_logits = self.layer(output).operator() == Operator::Softmax
            && self.layer(output).input.get() as usize == logits;
        if output != last || !(logits == output || after_logits) || output == 0 {
            return Err(out_of_bounds(Section::Layers));
        }
        self.bytes(header.names_offset.get(), header.names_bytes.get() as usize)
            .ok_or(out_of_bounds(Section::Names))?;
        if header.labels_bytes.get() != 0 {
            self.bytes(header.labels_offset.get(), header.labels_bytes.get() as usize)
                .ok_or(out_of_bounds(Section::Labels))?;
        }
        if header.preprocessing_offset.get() != 0 && self.preprocessing().is_none() {
            return Err(out_of_bounds(Section::Preprocessing));
        }
        #[cfg(feature = "self-test")]
        self.check_test_images()?;
        Ok(())
    }

    fn check_segments(&self) -> Result<(), Error> {
        let mut next = 0;
        for index in 0..self.graph().segments.len() {
            let layers = self.graph().segment(index);
            if layers.start != next || layers.is_empty() || layers.len() > MAX_SEGMENT_LAYERS {
                return Err(Error::Segments);
            }
            next = layers.end;
        }
        if next == self.graph().layers.len() { Ok(()) } else { Err(Error::Segments) }
    }

    /// Checks the layer's record, and that its rows and scratch memory lie inside the arena.
    fn check_layer(&self, layer: usize, known: &mut Known) -> Result<(), Fault> {
        self.name_bytes(layer).ok_or(Fault::OutOfBounds(Section::Names))?;
        ops::check(self, layer, known)?;
        let record = self.layer(layer);
        let places = record.places.get();
        let rows = self.bytes(places, 4 * usize::from(record.rows.get()));
        if !places.is_multiple_of(4) || rows.is_none() {
            return Err(Fault::OutOfBounds(Section::Places));
        }
        // In 64 bits, so that the answer is the same on every core. Later computations with places
        // then fit into 32 bits.
        let arena = u64::from(self.header().arena_bytes.get());
        let inside = |start: usize, bytes: u64| {
            let end = (start as u64).saturating_add(bytes);
            end <= arena && start.is_multiple_of(ARENA_ALIGN)
        };
        // The highest place at which a row still lies inside.
        let highest = arena.checked_sub(record.row_bytes_in_full());
        let highest = highest.ok_or(Fault::OutOfBounds(Section::Row))? as u32;
        let row_inside = |place: u32| place <= highest && place.is_multiple_of(ARENA_ALIGN as u32);
        if !self.places(record).starts().iter().all(|place| row_inside(place.get())) {
            return Err(Fault::OutOfBounds(Section::Row));
        }
        let scratch = self.scratch(record);
        if !inside(scratch.start, record.scratch_bytes.get().into()) {
            return Err(Fault::OutOfBounds(Section::Scratch));
        }
        Ok(())
    }

    /// Checks each `last_reader`: that layer reads the tensor, and no later layer does. A layer on
    /// demand must be its last reader's shortcut.
    fn check_readers(&self) -> Result<(), Error> {
        for (index, record) in self.graph().layers.iter().enumerate().skip(1) {
            for operand in [Some(record.input.get() as usize), record.shortcut()] {
                let Some(operand) = operand else { continue };
                if (self.layer(operand).last_reader.get() as usize) < index {
                    return Err(Error::layer(operand, Fault::Readers));
                }
            }
        }
        for (index, record) in self.graph().layers.iter().enumerate() {
            let last = record.last_reader.get();
            let beside = record.flags & flags::OUTPUT != 0;
            let kept = beside || index == self.logits() || index == self.output();
            let reader = self.layer(last as usize);
            let reads = reader.input.get() as usize == index || reader.shortcut() == Some(index);
            let waits = record.is_on_demand();
            let valid = if waits && (kept || index == 0 || reader.shortcut() != Some(index)) {
                false
            } else if kept {
                last == NONE
            } else {
                (last as usize) > index && (last as usize) < self.graph().layers.len() && reads
            };
            if !valid {
                return Err(Error::layer(index, Fault::Readers));
            }
        }
        Ok(())
    }
}
