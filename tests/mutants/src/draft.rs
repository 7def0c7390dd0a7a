//! A model file while it is changed: its tables at the offsets in the header, as long as these are
//! possible.

use brooklet::ARENA_ALIGN;
use brooklet::format::{Header, LayerRecord, Operator, SegmentRecord, crc, flags};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Maximum number of rows, over all layers, that are given places of their own.
const MOST_ROWS: u64 = 1 << 16;

/// Maximum number of bytes to which a file is lengthened.
const LONGEST: u64 = 2 << 20;

/// The bytes of a file.
#[derive(Debug, Clone)]
pub(crate) struct Draft(pub(crate) Vec<u8>);

impl Draft {
    /// The header; zeros if the file is too short.
    pub(crate) fn header(&self) -> Header {
        self.read(0).unwrap_or_else(zerocopy::FromZeros::new_zeroed)
    }

    /// Writes the header.
    pub(crate) fn set_header(&mut self, header: Header) {
        self.write(0, &header);
    }

    /// Changes the header.
    pub(crate) fn change_header(&mut self, change: impl FnOnce(&mut Header)) {
        let mut header = self.header();
        change(&mut header);
        self.set_header(header);
    }

    /// Number of layers in the file.
    pub(crate) fn len(&self) -> usize {
        let header = self.header();
        let there = self.0.len().saturating_sub(header.layers_offset.get() as usize);
        usize::from(header.layer_count.get()).min(there / size_of::<LayerRecord>())
    }

    /// Offset of a layer's record in the file.
    pub(crate) fn layer_offset(&self, layer: usize) -> usize {
        self.header().layers_offset.get() as usize + layer * size_of::<LayerRecord>()
    }

    /// The record of a layer; zeros if there is none.
    pub(crate) fn layer(&self, layer: usize) -> LayerRecord {
        self.read(self.layer_offset(layer)).unwrap_or_default()
    }

    /// Changes the record of a layer.
    pub(crate) fn change_layer(&mut self, layer: usize, change: impl FnOnce(&mut LayerRecord)) {
        if layer < self.len() {
            let mut record = self.layer(layer);
            change(&mut record);
            self.write(self.layer_offset(layer), &record);
        }
    }

    /// All records.
    pub(crate) fn layers(&self) -> Vec<LayerRecord> {
        (0..self.len()).map(|layer| self.layer(layer)).collect()
    }

    /// The record of the layer that a layer reads.
    pub(crate) fn input_of(&self, layer: usize) -> LayerRecord {
        self.layer(usize::from(self.layer(layer).input.get()))
    }

    /// All segments.
    pub(crate) fn segments(&self) -> Vec<SegmentRecord> {
        let header = self.header();
        let at = |i| header.segments_offset.get() as usize + i * size_of::<SegmentRecord>();
        (0..usize::from(header.segment_count.get())).map_while(|i| self.read(at(i))).collect()
    }

    /// Appends a table of layers that replaces the present one.
    pub(crate) fn set_layers(&mut self, layers: &[LayerRecord]) {
        let offset = self.append(layers.as_bytes(), 4);
        self.change_header(|header| {
            header.layers_offset.set(offset);
            header.layer_count.set(layers.len() as u16);
        });
    }

    /// Appends a table of segments that replaces the present one.
    pub(crate) fn set_segments(&mut self, segments: &[SegmentRecord]) {
        let offset = self.append(segments.as_bytes(), 4);
        self.change_header(|header| {
            header.segments_offset.set(offset);
            header.segment_count.set(segments.len() as u16);
        });
    }

    /// Offset in the file of the place of a row.
    pub(crate) fn place_offset(&self, layer: usize, row: usize) -> usize {
        self.layer(layer).places.get() as usize + 4 * row
    }

    /// The place of a row.
    pub(crate) fn place(&self, layer: usize, row: usize) -> Option<u32> {
        self.read(self.place_offset(layer, row)).map(|place: U32| place.get())
    }

    /// Moves a row.
    pub(crate) fn set_place(&mut self, layer: usize, row: usize, place: u32) {
        self.write(self.place_offset(layer, row), &U32::new(place));
    }

    /// Appends bytes at the next multiple of `align`, and returns their offset.
    pub(crate) fn append(&mut self, bytes: &[u8], align: usize) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
        let offset = self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        offset
    }

    /// Gives every row and all scratch memory a place of their own. Sizes are cut to 32 bits, as an
    /// incorrect program would count them. Returns the true number of bytes of the arena. If there
    /// are more rows than files of any reasonable size have, it changes nothing, and returns a
    /// number for which no arena is large enough.
    pub(crate) fn put_apart(&mut self) -> u64 {
        let rows: u64 = self.layers().iter().map(|layer| u64::from(layer.rows.get())).sum();
        if rows > MOST_ROWS {
            return u64::MAX;
        }
        let (mut end, mut true_end) = (0u32, 0u64);
        let mut take = |bytes: u64| {
            let place = end;
            let align = ARENA_ALIGN as u64;
            end = end.wrapping_add(bytes as u32).wrapping_add(15) & !15;
            true_end = true_end.saturating_add(bytes.next_multiple_of(align));
            place
        };
        for layer in 0..self.len() {
            let record = self.layer(layer);
            let rows = 0..record.rows.get();
            let places: Vec<U32> = rows.map(|_| U32::new(take(row_bytes(&record)))).collect();
            let scratch = match record.scratch_bytes.get() {
                0 => 0,
                bytes => take(u64::from(bytes)),
            };
            let places = self.append(places.as_bytes(), 4);
            self.change_layer(layer, |record| {
                record.places.set(places);
                record.scratch_offset.set(scratch);
            });
        }
        self.change_header(|header| header.arena_bytes.set(end));
        true_end
    }

    /// Makes the file as long as all the data to which its layers refer: parts may be shared, but
    /// parsing must take time in proportion to the file.
    pub(crate) fn lengthen(&mut self) {
        let named = |record: &LayerRecord| {
            let channels = u64::from(record.channels.get());
            let parts = u64::from(record.weight_bytes.get()) + 9 * channels + 4 * 512;
            parts + 4 * u64::from(record.rows.get()) + u64::from(record.name_bytes.get())
        };
        let named: u64 = self.layers().iter().map(named).sum();
        let length = named.min(LONGEST).max(self.0.len() as u64);
        self.0.resize(length as usize, 0);
    }

    /// The same network with every row and all scratch memory in a place of their own, and the
    /// number of bytes of its arena. Header and tables are new, because parts of the file may lie
    /// in the old ones.
    pub(crate) fn apart(file: &[u8]) -> (Self, u64) {
        let old = Self(file.to_vec());
        let mut apart = Self([&[0; size_of::<Header>()], file].concat());
        let moved = |offset: U32| U32::new(offset.get().wrapping_add(size_of::<Header>() as u32));
        // 0 means that there is none.
        let moved_if_any = |offset: U32| if offset == 0 { offset } else { moved(offset) };
        let mut header = old.header();
        header.names_offset = moved(header.names_offset);
        header.labels_offset = moved(header.labels_offset);
        header.preprocessing_offset = moved_if_any(header.preprocessing_offset);
        header.self_test_offset = moved_if_any(header.self_test_offset);
        apart.set_header(header);
        let mut layers = old.layers();
        for record in &mut layers {
            // Fields that a layer does not use are 0; used fields may also be 0.
            let operator = Operator::from_number(record.operator);
            let int8 = record.flags & (flags::HAS_INT16 | flags::STREAM16) == 0;
            if operator == Some(Operator::Lookup) {
                record.weights = moved_if_any(record.weights);
            }
            if operator.is_some_and(Operator::has_channels) {
                record.weights = moved(record.weights);
                record.bias = moved(record.bias);
                record.mantissas = moved(record.mantissas);
                record.shifts = moved(record.shifts);
            }
            record.padding_values = moved_if_any(record.padding_values);
            record.table = match operator {
                Some(Operator::Conv | Operator::Add) if int8 && record.shortcut().is_some() => {
                    moved(record.table)
                }
                Some(Operator::Lookup) => moved(record.table),
                _ => moved_if_any(record.table),
            };
        }
        apart.set_layers(&layers);
        apart.set_segments(&old.segments());
        let arena = apart.put_apart();
        (apart, arena)
    }

    /// The file, with correct length and checksum.
    pub(crate) fn sealed(mut self) -> Vec<u8> {
        if self.0.len() >= size_of::<Header>() {
            let length = self.0.len() as u32;
            self.change_header(|header| header.length.set(length));
            seal(&mut self.0);
        }
        self.0
    }

    /// The value at an offset.
    pub(crate) fn read<T: FromBytes + Immutable + KnownLayout>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.0.get(offset..)?).ok().map(|(value, _)| value)
    }

    /// Writes a value at an offset, if the file is long enough.
    pub(crate) fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: &T) {
        let place = self.0.get_mut(offset..).and_then(|rest| rest.get_mut(..size_of::<T>()));
        if let Some(place) = place {
            place.copy_from_slice(value.as_bytes());
        }
    }
}

/// Number of bytes of a row of a layer's output, with as many bits as needed.
pub(crate) fn row_bytes(record: &LayerRecord) -> u64 {
    let wide = record.flags & (flags::INT16 | flags::STREAM16) != 0;
    let pixel = u64::from(record.channels.get()) << u32::from(wide);
    u64::from(record.columns.get()) * pixel
}

/// Corrects the checksum for the bytes that are the file by its header.
pub fn seal(file: &mut [u8]) {
    let length = file.get(12..16).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let end = (length.unwrap_or(0) as usize).min(file.len());
    if let Some(checked) = file.get(20..end) {
        let crc = crc(checked).to_le_bytes();
        file[16..20].copy_from_slice(&crc);
    }
}
