//! Checks a model file whose weights are behind a driver.

use core::mem::offset_of;

use zerocopy::{FromZeros, IntoBytes};

use super::{WeightsSource, WeightsWindow};
use crate::error::{Error, Section};
use crate::format::{self, Header, LayerRecord, Operator, arena_bytes};
use crate::model::Model;
use crate::ops::{self, Known};
use crate::weights::Sealed;

/// Number of bytes of the header that its checksum does not cover.
const BEFORE_CRC: usize = 20;

impl<S: WeightsSource> WeightsWindow<'_, S> {
    /// Checks the model file in the source as [`Model::parse`] checks one in memory, and returns
    /// the model. The part of the file before the weights is copied to `resident` and checked
    /// there, which takes [`resident_bytes`].
    ///
    /// The file is read once for its checksum, and its weights once more. If the source changes
    /// later, results are wrong, but nothing is read or written out of bounds.
    ///
    /// # Errors
    ///
    /// Those of [`Model::parse`], [`Error::Read`], [`Error::ResidentTooSmall`] and
    /// [`Error::WindowTooSmall`].
    pub fn parse<'m>(&mut self, resident: &'m mut [u8]) -> Result<Model<'m>, Error> {
        self.checked = None;
        let mut header = Header::new_zeroed();
        self.read(0, header.as_mut_bytes())?;
        check_header(&header)?;
        let (needed, got) = (header.length.get() as usize, self.source.capacity());
        if needed > got {
            return Err(Error::TooShort { needed, got });
        }
        let (needed, got) = (self.resident(&header)?, resident.len());
        let resident = resident.get_mut(..needed).ok_or(Error::ResidentTooSmall { needed, got })?;
        self.read(0, resident)?;
        // From here on only what is in RAM counts, whatever was read before.
        let resident: &'m [u8] = resident;
        let header = crate::model::header(resident)?;
        check_header(header)?;
        let (stored, computed) = (header.crc.get(), self.crc(header, resident)?);
        if stored != computed {
            return Err(Error::Checksum { stored, computed });
        }
        let model = Model::with_tables(resident, header)?;
        model.check()?;
        let graph = model.graph();
        self.read = 0;
        for segment in 0..graph.segments.len() {
            self.layout.fill(graph, segment, self.window.len())?;
        }
        // Number of bytes of shared weights that may be read again.
        let mut again = model.length() as u64;
        for layer in 0..graph.layers.len() {
            self.check_weights(&model, layer, &mut again)?;
        }
        self.checked = Some(stored);
        Ok(model)
    }

    fn read(&mut self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let offset = u32::try_from(offset).map_err(|_| Error::Read)?;
        self.source.read(offset, bytes).map_err(|_| Error::Read)
    }

    /// Number of bytes before the weights, according to the records in the source.
    fn resident(&mut self, header: &Header) -> Result<usize, Error> {
        let (mut end, first) = (header.length.get(), header.layers_offset.get() as usize);
        for layer in 0..usize::from(header.layer_count.get()) {
            let at = first.saturating_add(layer * size_of::<LayerRecord>());
            if at > header.length.get() as usize {
                return Err(Error::OutOfBounds { section: Section::Layers });
            }
            let mut record = LayerRecord::new();
            self.read(at, record.as_mut_bytes())?;
            if record.operator().has_kernels() {
                end = end.min(record.weights.get());
            }
        }
        Ok((end as usize).max(size_of::<Header>()))
    }

    /// The checksum of the file, the first part of which is in RAM.
    fn crc(&mut self, header: &Header, resident: &[u8]) -> Result<u32, Error> {
        let mut crc = format::crc(resident.get(BEFORE_CRC..).unwrap_or(&[]));
        let (mut at, end) = (resident.len(), header.length.get() as usize);
        self.read = 0;
        while at < end {
            let room = self.window.len().min(end - at);
            let Some(piece) = self.window.get_mut(..room).filter(|piece| !piece.is_empty()) else {
                return Err(Error::WindowTooSmall { layer: 0, needed: super::ARENA_ALIGN, got: 0 });
            };
            self.source.read(at as u32, piece).map_err(|_| Error::Read)?;
            crc = format::crc_after(crc, piece);
            at += room;
        }
        Ok(crc)
    }

    /// Checks the weights of a layer, part by part.
    fn check_weights(
        &mut self,
        model: &Model<'_>,
        layer: usize,
        again: &mut u64,
    ) -> Result<(), Error> {
        let record = model.layer(layer);
        // Nothing is required of the weights of int16 layers.
        if !record.operator().has_kernels() || record.has_int16() {
            return Ok(());
        }
        let mut known = Known::of(model.graph(), layer);
        if known.weights {
            // If what is known about them suffices, they are not read again.
            if record.operator() == Operator::Conv {
                let all = 0..usize::from(record.channels.get());
                let found = ops::check_weights(model, record, all, &[], &mut known);
                if known.read == 0 {
                    return found.map_err(|fault| Error::layer(layer, fault));
                }
            }
            *again = again.checked_sub(record.weight_bytes.get().into()).ok_or(Error::Work)?;
        }
        let read = self.bytes_read;
        let mut found = Ok(());
        self.each_part(model, layer, |part| {
            if found.is_ok() {
                let (channels, weights) = (part.channels, part.weights);
                found = ops::check_weights(model, record, channels, weights, &mut known);
            }
        });
        self.bytes_read = read;
        match core::mem::take(&mut self.failed) {
            true => Err(Error::Read),
            false => found.map_err(|fault| Error::layer(layer, fault)),
        }
    }
}

/// Checks a header on its own.
fn check_header(header: &Header) -> Result<(), Error> {
    if header.magic != format::MAGIC {
        return Err(Error::BadMagic);
    }
    if header.version.get() != format::VERSION {
        return Err(Error::UnsupportedVersion { found: header.version.get() });
    }
    if header.reserved.get() != 0 {
        return Err(Error::Reserved);
    }
    match header.length.get() as usize {
        got if got < size_of::<Header>() => {
            Err(Error::TooShort { needed: size_of::<Header>(), got })
        }
        _ => Ok(()),
    }
}

/// Number of bytes of RAM for the part before the weights of the model in `file`, at compile time:
/// for [`WeightsWindow::parse`]. `brooklet plan --weights-window` writes files in which this part
/// is small.
///
/// ```
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// const RESIDENT: usize = brooklet::resident_bytes(MODEL);
/// assert!(RESIDENT <= MODEL.len());
/// ```
///
/// # Panics
///
/// If `file` does not begin as a model file does. In a `const` this is a compile error.
pub const fn resident_bytes(file: &[u8]) -> usize {
    let _ = arena_bytes(file);
    let layers = u16::from_le_bytes([file[30], file[31]]) as usize;
    let first = word(file, 32) as usize;
    let mut end = word(file, 12) as usize;
    let mut layer = 0;
    while layer < layers {
        let record = first + layer * size_of::<LayerRecord>();
        let through = match Operator::from_number(file[record]) {
            Some(operator) => operator.has_kernels(),
            None => false,
        };
        let weights = word(file, record + offset_of!(LayerRecord, weights)) as usize;
        if through && weights < end {
            end = weights;
        }
        layer += 1;
    }
    if end < size_of::<Header>() { size_of::<Header>() } else { end }
}

const fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]])
}
