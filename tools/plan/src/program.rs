//! A quantized network as the core will run it: layer records and their numbers, not yet
//! given a place in arena and file.

use brooklet::format::{
    Header, LayerRecord, NONE, Operator, Packing, PreprocessingRecord, WEIGHTS_ALIGN, Writer,
};
use brooklet::ops::conv::{bound_with, sum_bound};
use brooklet::quant::Multiplier;
use brooklet::{Model, Shape, ops};
use fixed::types::I1F31;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use crate::plan::Plan;
use crate::self_test::TestImage;

/// A quantized network, layer by layer.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The layers, the input first. Each reads earlier ones.
    pub layers: Vec<Layer>,
    /// The layer that makes the logits.
    pub logits: usize,
    /// Names of the classes; none, or one for each.
    pub labels: Vec<String>,
    /// How an image becomes the network's rows.
    pub preprocessing: Option<PreprocessingRecord>,
    /// Images that the file carries, with their answers.
    pub test_images: Vec<TestImage>,
}

/// A layer: its record, all but the places, and the numbers that go into the file's data.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Name in reports.
    pub name: String,
    /// Operator, shapes, operands and quantization of the output.
    pub record: LayerRecord,
    /// Weights in OHWI order.
    pub weights: Vec<i8>,
    /// One an output channel.
    pub bias: Vec<i32>,
    /// One an output channel.
    pub multipliers: Vec<Multiplier>,
    /// One an input channel; none: the input's zero point.
    pub padding_values: Option<Vec<i8>>,
    /// The table of a join or of the input.
    pub table: Option<Table>,
}

/// A table in the file's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// 256 int32: a shortcut's byte + 128 to its part of a join's sum; of an add 512, the input's
    /// first.
    Terms(Vec<i32>),
    /// 256 int8 a channel: pixels to the input's int8.
    Pixels(Vec<i8>),
}

/// Largest magnitude of a channel's sum, of any input.
pub fn largest_sum(weights: &[i8], bias: i32) -> u32 {
    weights.iter().fold(bias.unsigned_abs(), |bound, &weight| bound_with(bound, weight))
}

impl Layer {
    /// A layer that reads `input`, with no numbers yet.
    pub fn new(name: impl Into<String>, operator: Operator, input: usize, shape: Shape) -> Self {
        let mut record = LayerRecord::new();
        record.operator = operator as u8;
        record.rows = U16::new(shape.rows);
        record.columns = U16::new(shape.columns);
        record.channels = U16::new(shape.channels);
        record.input = U16::new(input as u16);
        record.shortcut = U16::new(NONE);
        record.clamp_min = i8::MIN;
        record.clamp_max = i8::MAX;
        Self {
            name: name.into(),
            record,
            weights: Vec::new(),
            bias: Vec::new(),
            multipliers: Vec::new(),
            padding_values: None,
            table: None,
        }
    }

    /// Weights an output channel.
    fn taps(&self) -> usize {
        self.weights.len() / self.bias.len().max(1)
    }

    /// Rows of the kernel, and weights in each; of what has no kernel, one row.
    fn kernel_taps(&self) -> [usize; 2] {
        let rows = usize::from(self.record.kernel[0]).max(1);
        [rows, self.taps() / rows]
    }

    fn packed_bytes(&self) -> usize {
        self.bytes_as(self.record.packing())
    }

    /// Bytes that the weights take in that packing.
    pub fn bytes_as(&self, packing: Packing) -> usize {
        packing.bytes(self.bias.len(), self.kernel_taps())
    }

    /// Whether the layer is a convolution whose weights can be in that packing.
    pub fn can_be(&self, packing: Packing) -> bool {
        if self.record.is_wide() && packing != Packing::Ohwi {
            return false;
        }
        let channels = self.weights.chunks(self.taps().max(1)).zip(&self.bias);
        let mut sums = channels.map(|(weights, &bias)| largest_sum(weights, bias));
        self.record.operator() == Operator::Conv
            && packing
                .fits(self.record.kernel.map(usize::from), self.record.stride.map(usize::from))
            && self.weights.iter().all(|&weight| packing.holds(weight))
            && sums.all(|sum| sum < sum_bound(packing))
    }

    /// The weights as the record's packing has them.
    fn pack(&self) -> Vec<i8> {
        let (packing, taps) = (self.record.packing(), self.taps());
        let [rows, row] = self.kernel_taps();
        let mut packed = vec![0; self.packed_bytes()];
        for (channel, weights) in self.weights.chunks(taps).enumerate() {
            for (tap, &weight) in weights.iter().enumerate() {
                packing.put(&mut packed, channel, tap / row, tap % row, [rows, row], weight);
            }
        }
        packed
    }

    /// A layer of a model file.
    fn read(model: &Model<'_>, index: usize) -> Self {
        let record = *model.layer(index);
        let part = |offset: U32, bytes: usize| &model.file()[offset.get() as usize..][..bytes];
        let int8 = |offset, count| part(offset, count).iter().map(|&byte| byte as i8);
        let words = |offset, count: usize| {
            let word = |bytes: &[u8; 4]| i32::from_le_bytes(*bytes);
            part(offset, 4 * count).as_chunks().0.iter().map(word)
        };
        let mut layer = Self {
            name: model.name(index).to_owned(),
            record,
            weights: Vec::new(),
            bias: Vec::new(),
            multipliers: Vec::new(),
            padding_values: None,
            table: None,
        };
        let outputs = usize::from(record.channels.get());
        let named = record.table.get() != 0;
        match record.operator() {
            operator @ (Operator::Conv | Operator::BatchNorm) => {
                let inputs = usize::from(model.input_of(&record).channels.get());
                let taps = match operator {
                    Operator::Conv => {
                        record.kernel.map(usize::from).iter().product::<usize>() * inputs
                    }
                    _ => 1,
                };
                let packing = record.packing();
                let rows = usize::from(record.kernel[0]).max(1);
                let row = taps / rows;
                let packed = part(record.weights, packing.bytes(outputs, [rows, row]));
                let packed: Vec<i8> = packed.iter().map(|&byte| byte as i8).collect();
                let weight = |at: usize| {
                    let (channel, tap) = (at / taps, at % taps);
                    packing.weight(&packed, channel, tap / row, tap % row, [rows, row])
                };
                layer.weights = (0..outputs * taps).map(weight).collect();
                layer.bias = words(record.bias, outputs).collect();
                layer.multipliers = words(record.mantissas, outputs)
                    .zip(int8(record.shifts, outputs))
                    .map(|(bits, shift)| Multiplier { mantissa: I1F31::from_bits(bits), shift })
                    .collect();
                if record.padding_values.get() != 0 {
                    layer.padding_values = Some(int8(record.padding_values, inputs).collect());
                }
                layer.table = named.then(|| Table::Terms(words(record.table, 256).collect()));
            }
            Operator::Add => {
                layer.table = named.then(|| Table::Terms(words(record.table, 512).collect()));
            }
            Operator::Input => {
                let table = || Table::Pixels(int8(record.table, 256 * outputs).collect());
                layer.table = named.then(table);
            }
            _ => {}
        }
        layer
    }
}

impl Program {
    /// Number of scores.
    pub fn classes(&self) -> usize {
        self.layers[self.logits].record.shape().bytes()
    }

    /// The program of a model file.
    pub fn read(model: &Model<'_>) -> Self {
        Self {
            layers: (0..model.layers().len()).map(|index| Layer::read(model, index)).collect(),
            logits: model.logits(),
            labels: (0..model.classes())
                .map_while(|class| model.label(class))
                .map(str::to_owned)
                .collect(),
            preprocessing: model.preprocessing().copied(),
            test_images: TestImage::read(model),
        }
    }

    /// The same with the weights of all convolutions that can be in that packing.
    pub fn packed(mut self, packing: Packing) -> Self {
        for layer in self.layers.iter_mut().filter(|layer| layer.can_be(packing)) {
            layer.record.packing = packing as u8;
        }
        self
    }

    /// Bytes of scratch memory of a layer.
    pub fn scratch_bytes(&self, index: usize) -> usize {
        let record = &self.layers[index].record;
        ops::scratch_bytes(record, self.layers[usize::from(record.input.get())].record.shape())
    }

    /// For each layer the last one that reads it; [`NONE`] for what is kept to the end.
    pub fn last_readers(&self) -> Vec<u16> {
        let mut last = vec![NONE; self.layers.len()];
        for (index, layer) in self.layers.iter().enumerate().skip(1) {
            last[layer.record.input.get() as usize] = index as u16;
            if let Some(shortcut) = layer.record.shortcut() {
                last[shortcut] = index as u16;
            }
        }
        last[self.logits] = NONE;
        last
    }

    /// The bytes of the model file. The same program and plan give the same bytes.
    pub fn write(&self, plan: &Plan) -> Vec<u8> {
        let data: usize = self
            .layers
            .iter()
            .map(|layer| {
                // Data, and what aligning each part may add.
                layer.packed_bytes()
                    + 9 * layer.bias.len()
                    + 1024
                    + 256 * 8
                    + 128
                    + 4 * usize::from(layer.record.rows.get())
                    + layer.name.len()
                    + layer.table.as_ref().map_or(0, |table| match table {
                        Table::Terms(words) => 4 * words.len(),
                        Table::Pixels(bytes) => bytes.len(),
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
        let length = self.append(plan, &labels, &test_images, Writer::new(&mut file));
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
        let mut records = Vec::with_capacity(self.layers.len());
        let mut name_offset = 0;
        for ((layer, planned), places) in self.layers.iter().zip(&plan.layers).zip(&plan.places) {
            let mut record = *planned;
            record.places = writer.append(places.as_bytes(), 4)?;
            record.name_offset = U32::new(name_offset);
            record.name_bytes = U16::new(layer.name.len() as u16);
            name_offset += layer.name.len() as u32;
            if !layer.weights.is_empty() {
                let packed = layer.pack();
                record.weights = writer.append(packed.as_bytes(), WEIGHTS_ALIGN)?;
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
                Some(Table::Pixels(bytes)) => record.table = writer.append(bytes.as_bytes(), 1)?,
                None => {}
            }
            records.push(record);
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
