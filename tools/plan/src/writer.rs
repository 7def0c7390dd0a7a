//! Writes a program and its plan as the bytes of a model file.

use brooklet::format::{Header, LayerRecord, SHARED_WITHIN, WEIGHTS_ALIGN, Writer};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use crate::plan::Plan;
use crate::program::{Layer, Program, Table};
use crate::test_image::TestImage;

impl Program {
    /// The last earlier layer that has the same weights as layer `index` in the same form, among
    /// those that a reader compares: their weights are stored once.
    fn same_weights(&self, index: usize, planned: &LayerRecord, plan: &Plan) -> Option<usize> {
        let layer = &self.layers[index];
        let form = |layer: &Layer, record: &LayerRecord| {
            let inputs = self.layers[usize::from(record.input.get())].record.channels;
            let groups = record.parameter;
            (record.operator, record.packing, record.kernel, layer.bias.len(), inputs, groups)
        };
        let can_be = planned.operator().has_packing() && !planned.has_int16();
        (index.saturating_sub(SHARED_WITHIN)..index).rev().filter(|_| can_be).find(|&earlier| {
            let (other, record) = (&self.layers[earlier], &plan.layers[earlier]);
            let same = form(other, record) == form(layer, planned) && !record.has_int16();
            same && other.weights == layer.weights
        })
    }

    /// Appends the weights of the layer after `records`, or finds them in one of these.
    fn append_weights(
        &self,
        records: &[LayerRecord],
        planned: &LayerRecord,
        plan: &Plan,
        writer: &mut Writer<'_>,
    ) -> Option<U32> {
        match self.same_weights(records.len(), planned, plan) {
            Some(earlier) => Some(records[earlier].weights),
            None => writer.append(self.layers[records.len()].pack().as_bytes(), WEIGHTS_ALIGN),
        }
    }

    /// The bytes of the model file. The same program and plan give the same bytes.
    pub fn write(&self, plan: &Plan) -> Vec<u8> {
        let data: usize = self
            .layers
            .iter()
            .map(|layer| {
                // The data, and the bytes that aligning each part may add.
                layer.packed_bytes()
                    + 9 * layer.bias.len()
                    + 1024
                    + 256 * 8
                    + 128
                    + 4 * usize::from(layer.record.rows.get())
                    + layer.name.len()
                    + layer.table.as_ref().map_or(0, |table| match table {
                        Table::Terms(words) => 4 * words.len(),
                        Table::Bytes(bytes) => bytes.len(),
                    })
            })
            .sum();
        let labels = self.labels.join("\n");
        let test_images = TestImage::write(&self.test_images);
        let room = size_of::<Header>()
            + data
            + self.layers.len() * size_of::<LayerRecord>()
            + plan.segments.len() * 4
            + labels.len()
            + test_images.len()
            + 1024;
        let mut file = vec![0; room];
        let writer = Writer::new(&mut file);
        let length = self.append(plan, &labels, &test_images, writer);
        file.truncate(length.expect("the buffer is larger than all parts together"));
        file
    }

    fn append(
        &self,
        plan: &Plan,
        labels: &str,
        test_images: &[u8],
        mut writer: Writer<'_>,
    ) -> Option<usize> {
        let names: String = self.layers.iter().map(|layer| layer.name.as_str()).collect();
        let names_offset = writer.append(names.as_bytes(), 1)?;
        let labels_offset = writer.append(labels.as_bytes(), 1)?;
        let preprocessing = match &self.preprocessing {
            Some(record) => writer.append(record.as_bytes(), 4)?,
            None => U32::ZERO,
        };
        let self_test = match test_images {
            [] => U32::ZERO,
            images => writer.append(images, 4)?,
        };
        let mut records: Vec<LayerRecord> = Vec::with_capacity(self.layers.len());
        let mut name_offset = 0;
        for ((layer, planned), places) in self.layers.iter().zip(&plan.layers).zip(&plan.places) {
            let mut record = *planned;
            record.places = writer.append(places.as_bytes(), 4)?;
            record.name_offset = U32::new(name_offset);
            record.name_bytes = U16::new(layer.name.len() as u16);
            name_offset += layer.name.len() as u32;
            let later = self.weights_last && planned.operator().has_kernels();
            if !layer.weights.is_empty() && !later {
                record.weights = self.append_weights(&records, planned, plan, &mut writer)?;
            }
            if !layer.bias.is_empty() {
                record.bias = writer.append(layer.bias.as_bytes(), 4)?;
                let mantissas: Vec<i32> =
                    layer.multipliers.iter().map(|m| m.mantissa.to_bits()).collect();
                record.mantissas = writer.append(mantissas.as_bytes(), 4)?;
                let shifts: Vec<i8> = layer.multipliers.iter().map(|m| m.shift).collect();
                record.shifts = writer.append(shifts.as_bytes(), 1)?;
            }
            if let Some(values) = &layer.padding_values {
                record.padding_values = writer.append(values.as_bytes(), 1)?;
            }
            match &layer.table {
                Some(Table::Terms(words)) => {
                    record.table = writer.append(words.as_bytes(), 4)?;
                }
                Some(Table::Bytes(bytes)) => record.table = writer.append(bytes.as_bytes(), 1)?,
                None => {}
            }
            records.push(record);
        }
        if self.weights_last {
            writer.tables(plan.segments.len(), records.len())?;
            for (index, layer) in self.layers.iter().enumerate() {
                let (before, record) = (&records[..index], &plan.layers[index]);
                if !layer.weights.is_empty() && record.operator().has_kernels() {
                    let weights = self.append_weights(before, record, plan, &mut writer)?;
                    records[index].weights = weights;
                }
            }
        }
        let header = writer.header();
        header.arena_bytes = U32::new(plan.arena_bytes as u32);
        header.logits = U16::new(self.logits as u16);
        header.output = U16::new(self.layers.len() as u16 - 1);
        header.names_offset = names_offset;
        header.names_bytes = U32::new(names.len() as u32);
        header.labels_bytes = U32::new(labels.len() as u32);
        if !labels.is_empty() {
            header.labels_offset = labels_offset;
        }
        header.preprocessing_offset = preprocessing;
        header.self_test_offset = self_test;
        writer.finish(&plan.segments, &records)
    }
}
