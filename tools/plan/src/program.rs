//! A quantized network as the core will run it: layer records and their numbers, which have no
//! places in arena and file yet.

use brooklet::format::{
    LayerRecord, NONE, Operator, Packing, PreprocessingRecord, WEIGHTS_ALIGN, flags,
};
use brooklet::ops::conv::check::{bound_with, sum_bound};
use brooklet::quant::Multiplier;
use brooklet::{Model, Shape, ops};
use fixed::types::I1F31;
use zerocopy::little_endian::{U16, U32};

use crate::test_image::TestImage;

/// A quantized network, layer by layer.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The layers, the input first. Each reads earlier ones.
    pub layers: Vec<Layer>,
    /// The layer that makes the logits.
    pub logits: usize,
    /// Names of the classes: none, or one for each class.
    pub labels: Vec<String>,
    /// How an image becomes the network's rows.
    pub preprocessing: Option<PreprocessingRecord>,
    /// Test images that the file carries, with their answers.
    pub test_images: Vec<TestImage>,
    /// Whether the file has its weights last: needed for weights behind a driver, where the part
    /// before them is copied to RAM.
    pub weights_last: bool,
}

/// A layer: its record without places, and the numbers that go into the file's data.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Name in reports.
    pub name: String,
    /// Operator, shapes, operands and quantization of the output.
    pub record: LayerRecord,
    /// Weights in OHWI order, where I are the input channels that an output channel reads; for a
    /// lookup with several tables, the index of each channel's table.
    pub weights: Vec<i8>,
    /// One bias per output channel.
    pub bias: Vec<i32>,
    /// One multiplier per output channel.
    pub multipliers: Vec<Multiplier>,
    /// One value per input channel; `None` for the input's zero point.
    pub padding_values: Option<Vec<i8>>,
    /// The table of a join or of the input.
    pub table: Option<Table>,
}

/// A table in the file's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// 256 int32: maps a shortcut's int8 + 128 to its term in a join's sum. An addition has 512,
    /// the input's terms first.
    Terms(Vec<i32>),
    /// 256 int8 each: for the input one table per channel, from pixels; for a lookup all its
    /// tables; for a concatenation the input's and the shortcut's.
    Bytes(Vec<i8>),
}

/// Largest magnitude of a channel's sum, over all inputs.
pub fn largest_sum(weights: &[i8], bias: i32) -> u32 {
    weights.iter().fold(bias.unsigned_abs(), |bound, &weight| bound_with(bound, weight))
}

impl Layer {
    /// A layer that reads `input`, without numbers.
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

    /// Number of weights per output channel.
    fn taps(&self) -> usize {
        self.weights.len() / self.bias.len().max(1)
    }

    /// Number of kernel rows, and of weights in each; a layer without a kernel has one row.
    fn kernel_taps(&self) -> [usize; 2] {
        let rows = usize::from(self.record.kernel[0]).max(1);
        [rows, self.taps() / rows]
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        self.bytes_as(self.record.packing())
    }

    /// Number of groups of a grouped convolution, or 1.
    fn groups(&self) -> usize {
        match self.record.operator() {
            Operator::GroupedConv => self.record.parameter.get() as usize,
            _ => 1,
        }
    }

    /// Bytes of the weights in that packing.
    pub fn bytes_as(&self, packing: Packing) -> usize {
        match self.record.operator() {
            Operator::GroupedConv => {
                let channels = self.bias.len() / self.groups();
                let bytes = packing.bytes(channels, self.kernel_taps());
                self.groups() * bytes.next_multiple_of(WEIGHTS_ALIGN)
            }
            Operator::DepthwiseConv | Operator::Lookup => self.weights.len(),
            _ => packing.bytes(self.bias.len(), self.kernel_taps()),
        }
    }

    /// Whether the layer is a convolution whose weights can be in that packing.
    pub fn can_be(&self, packing: Packing) -> bool {
        let refused = match packing {
            Packing::Ohwi => false,
            _ if self.record.has_int16() => true,
            _ => self.record.is_stream16() && packing.unpacked().is_some(),
        };
        if refused {
            return false;
        }
        if self.record.operator() == Operator::GroupedConv && packing.rows_a_step() > 1 {
            return false;
        }
        let channels = self.weights.chunks(self.taps().max(1)).zip(&self.bias);
        let mut sums = channels.map(|(weights, &bias)| largest_sum(weights, bias));
        self.record.operator().has_packing()
            && packing
                .fits(self.record.kernel.map(usize::from), self.record.stride.map(usize::from))
            && self.weights.iter().all(|&weight| packing.holds(weight))
            && sums.all(|sum| sum < sum_bound(packing))
    }

    /// The weights in the record's packing.
    pub(crate) fn pack(&self) -> Vec<i8> {
        let (packing, taps) = (self.record.packing(), self.taps());
        match self.record.operator() {
            Operator::Lookup => return self.weights.clone(),
            Operator::DepthwiseConv => {
                // Reorders them from channel by channel to kernel position by kernel position.
                let of_position = |tap| self.weights.iter().skip(tap).step_by(taps).copied();
                return (0..taps).flat_map(of_position).collect();
            }
            _ => {}
        }
        let [rows, row] = self.kernel_taps();
        let mut packed = vec![0; self.packed_bytes()];
        let (distance, channels) = (packed.len() / self.groups(), self.bias.len() / self.groups());
        let bytes = packing.bytes(channels, [rows, row]);
        for (channel, weights) in self.weights.chunks(taps).enumerate() {
            let group = &mut packed[channel / channels * distance..][..bytes];
            for (tap, &weight) in weights.iter().enumerate() {
                packing.put(group, channel % channels, tap / row, tap % row, [rows, row], weight);
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
            operator if operator.has_channels() => {
                let inputs = usize::from(model.input_of(&record).channels.get());
                let taps = match operator {
                    Operator::BatchNorm => 1,
                    _ => {
                        let kernel: usize = record.kernel.map(usize::from).iter().product();
                        kernel * model.graph().channels_read(&record)
                    }
                };
                let packed = part(record.weights, record.weight_bytes.get() as usize);
                let packed: Vec<i8> = packed.iter().map(|&byte| byte as i8).collect();
                layer.bias = vec![0; outputs];
                let groups = layer.groups();
                let (channels, packing) = (outputs / groups, record.packing());
                let rows = usize::from(record.kernel[0]).max(1);
                let kernel @ [_, row] = [rows, taps / rows];
                let bytes = packing.bytes(channels, kernel);
                let weight = |at: usize| {
                    let (channel, tap) = (at / taps, at % taps);
                    if operator == Operator::DepthwiseConv {
                        return packed[tap * outputs + channel];
                    }
                    let group = &packed[channel / channels * (packed.len() / groups)..][..bytes];
                    packing.weight(group, channel % channels, tap / row, tap % row, kernel)
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
                let table = || Table::Bytes(int8(record.table, 256 * outputs).collect());
                layer.table = named.then(table);
            }
            Operator::Lookup => {
                let tables = 256 * record.parameter.get() as usize;
                layer.table = Some(Table::Bytes(int8(record.table, tables).collect()));
                let numbers = record.weight_bytes.get() as usize;
                layer.weights = int8(record.weights, numbers).collect();
            }
            Operator::Concat => {
                layer.table = named.then(|| Table::Bytes(int8(record.table, 512).collect()));
            }
            _ => {}
        }
        layer
    }
}

impl Program {
    /// Number of classes: of scores, for each cell if the network ends in a map.
    pub fn classes(&self) -> usize {
        self.layers[self.logits].record.channels.get().into()
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
            weights_last: (model.header().layers_offset.get() as usize)
                < brooklet::resident_bytes(model.file()),
        }
    }

    /// The same program with that packing for all convolutions that can have it.
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

    /// For each layer the last layer that reads it; [`NONE`] for outputs that are kept to the end.
    pub fn last_readers(&self) -> Vec<u16> {
        let mut last = vec![NONE; self.layers.len()];
        for (index, layer) in self.layers.iter().enumerate().skip(1) {
            last[layer.record.input.get() as usize] = index as u16;
            if let Some(shortcut) = layer.record.shortcut() {
                last[shortcut] = index as u16;
            }
        }
        last[self.logits] = NONE;
        for (last, layer) in last.iter_mut().zip(&self.layers) {
            if layer.record.flags & flags::OUTPUT != 0 {
                *last = NONE;
            }
        }
        last
    }
}
