//! Exports the nodes of each layer.

use crate::proto::AttributeProto;
use brooklet::format::{LayerRecord, Operator};

use super::graph::{Graph, Kind, Scale};
use crate::onnx::{Data, window};
use crate::program::{Layer, Program, Table};

/// A layer's output in the graph.
#[derive(Debug, Clone)]
pub(super) struct Map {
    /// Name of its reals.
    pub(super) value: String,
    /// Name of its integers.
    pub(super) integers: String,
    pub(super) scale: Scale,
    /// For a stream in 16 bits, the map that readers of int8 use.
    pub(super) upper: Option<Box<Map>>,
    /// Whether it is `[N, channels]`, without rows and columns.
    pub(super) flat: bool,
}

impl Map {
    /// The map for readers that do not use a stream's lower bytes.
    pub(super) fn read(&self) -> &Map {
        self.upper.as_deref().unwrap_or(self)
    }
}

/// A program while it is exported to a graph.
pub(super) struct Exporter<'p> {
    pub(super) program: &'p Program,
    pub(super) graph: Graph,
    image: Scale,
    maps: Vec<Map>,
}

impl<'p> Exporter<'p> {
    pub(super) fn new(program: &'p Program, graph: Graph, image: Scale) -> Self {
        Self { program, graph, image, maps: Vec::new() }
    }

    /// The output that a layer reads.
    pub(super) fn input(&self, record: &LayerRecord) -> Map {
        self.maps[usize::from(record.input.get())].clone()
    }

    /// Adds a layer; the layers before it must have been added.
    pub(super) fn layer(&mut self, index: usize) {
        let program = self.program;
        let layer = &program.layers[index];
        let (record, name) = (&layer.record, name(layer, index));
        let operator = record.operator();
        if operator == Operator::Input {
            let shape = shape(record);
            let pixels = self.graph.input("image", shape);
            let map = self.quantize(&pixels, &name, self.image);
            self.maps.push(map);
            return;
        }
        let from = self.input(record);
        let read = from.read().clone();
        // Only sums and scores use all bits of a stream in 16 bits.
        let (value, flat) = match operator {
            Operator::Conv
            | Operator::GroupedConv
            | Operator::DepthwiseConv
            | Operator::BatchNorm => self.weighted(layer, &name, &from),
            Operator::Lookup => {
                let mut map = self.lookup(layer, &name, &read);
                let input = program.layers[usize::from(record.input.get())].record.shape();
                if input != record.shape() {
                    map = self.by_rows(record, &name, &map);
                }
                self.maps.push(map);
                return;
            }
            Operator::AveragePool => {
                let of = if record.is_int16() || from.scale.kind == Kind::Int16 {
                    self.spatial(&from, &name)
                } else {
                    self.spatial(&read, &name)
                };
                (self.graph.node("GlobalAveragePool", &[&of], &pre(&name), vec![]), false)
            }
            Operator::MaxPool => {
                let of = self.spatial(&read, &name);
                let attributes = spatial(record);
                (self.graph.node("MaxPool", &[&of], &pre(&name), attributes), false)
            }
            Operator::WindowAverage => (self.average(record, &name, &read), false),
            Operator::Border => {
                let of = self.spatial(&read, &name);
                let [mode, top, bottom, _] = record.parameter.get().to_le_bytes();
                let [_, left, _, right] = record.pads;
                let pads = [0, 0, top, left, 0, 0, bottom, right].map(i64::from);
                let pads = self.graph.sizes(&format!("{name}.pads"), &pads);
                let mode = if mode == 0 { "reflect" } else { "edge" };
                let mode = vec![AttributeProto::text("mode", mode)];
                (self.graph.node("Pad", &[&of, &pads], &pre(&name), mode), false)
            }
            Operator::Softmax => {
                let axis = vec![AttributeProto::int("axis", 1)];
                (self.graph.node("Softmax", &[&from.value], &pre(&name), axis), from.flat)
            }
            Operator::Add | Operator::Multiply | Operator::Concat => {
                let other = self.shortcut(record, &name, from.flat);
                let op = match (operator, &layer.table) {
                    (Operator::Add, Some(Table::Terms(terms))) if subtracts(terms) => "Sub",
                    (Operator::Add, _) => "Add",
                    (Operator::Multiply, _) => "Mul",
                    _ => "Concat",
                };
                let axis = (op == "Concat").then(|| AttributeProto::int("axis", 1));
                let operands = [&read.value, &other].map(String::as_str);
                let attributes = axis.into_iter().collect();
                (self.graph.node(op, &operands, &pre(&name), attributes), from.flat)
            }
            Operator::Input => return,
        };
        let scale = scale(record);
        // A copy has the scale of the map that it copies; a copy of the image has the scale of
        // pixels.
        let scale = match super::is_copy(operator) {
            true => read.scale,
            false => scale,
        };
        let value = self.clamped(value, record, scale, &name);
        let mut map = self.quantize(&value, &name, scale);
        if record.is_stream16() {
            let int8 = Scale::int8(record.scale.get(), record.zero_point);
            let upper = self.quantize(&map.value.clone(), &format!("{name}.int8"), int8);
            map.upper = Some(Box::new(Map { flat, ..upper }));
        }
        self.maps.push(Map { flat, ..map });
    }

    /// Quantizes a value.
    fn quantize(&mut self, value: &str, name: &str, scale: Scale) -> Map {
        let integers = self.graph.quantized(value, name, scale);
        let value = self.graph.dequantized(&integers, name, scale);
        Map { value, integers, scale, upper: None, flat: false }
    }

    /// Clips a value as the layer does.
    fn clamped(&mut self, value: String, record: &LayerRecord, to: Scale, name: &str) -> String {
        let (low, high) = (i32::from(record.clamp_min), i32::from(record.clamp_max));
        let (unit, above) = match (to.kind, record.is_stream16()) {
            (Kind::Int8, _) => (1, 0),
            (Kind::Int16, true) => (256, 127),
            (Kind::Int16, false) => (256, 255),
        };
        let zero = i32::from(to.zero);
        let free = low == -128 || (low == 0 && zero == -128 * unit);
        let relu = low * unit == zero;
        if high == 127 {
            match (free, relu) {
                (true, _) => return value,
                (_, true) => {
                    return self.graph.node("Relu", &[&value], &format!("{name}.relu"), vec![]);
                }
                _ => {}
            }
        }
        let six = relu && unit == 1 && to.level(6.0) == high;
        let bounds = match six {
            true => [0.0, 6.0],
            false => [low * unit, high * unit + above].map(|q| to.real(q)),
        };
        let [low, high] = [("min", bounds[0]), ("max", bounds[1])]
            .map(|(part, bound)| self.graph.float(&format!("{name}.{part}"), bound));
        self.graph.node("Clip", &[&value, &low, &high], &format!("{name}.clip"), vec![])
    }

    /// A map with rows and columns.
    pub(super) fn spatial(&mut self, map: &Map, name: &str) -> String {
        if !map.flat {
            return map.value.clone();
        }
        let sizes = self.graph.sizes(&format!("{name}.sizes"), &[0, -1, 1, 1]);
        self.graph.node("Reshape", &[&map.value, &sizes], &format!("{name}.map"), vec![])
    }

    /// A map whose rows are divided otherwise into columns and channels.
    fn by_rows(&mut self, record: &LayerRecord, name: &str, map: &Map) -> Map {
        let order = |order: [usize; 4]| vec![AttributeProto::ints("perm", &order)];
        let of = self.spatial(map, name);
        let last =
            self.graph.node("Transpose", &[&of], &format!("{name}.last"), order([0, 2, 3, 1]));
        let [rows, columns, channels] = shape(record).map(|size| size as i64);
        let sizes = self.graph.sizes(&format!("{name}.rows"), &[0, rows, columns, channels]);
        let rows = self.graph.node("Reshape", &[&last, &sizes], &format!("{name}.pixels"), vec![]);
        let value =
            self.graph.node("Transpose", &[&rows], &format!("{name}.first"), order([0, 3, 1, 2]));
        self.quantize(&value, &format!("{name}.divided"), map.scale)
    }

    /// A map without rows and columns: what was `[N, C, H, W]` is `[N, C · H · W]`.
    pub(super) fn flattened(&mut self, value: &str, flat: bool, name: &str) -> String {
        if flat {
            return value.to_owned();
        }
        let axis = vec![AttributeProto::int("axis", 1)];
        self.graph.node("Flatten", &[value], &format!("{name}.flat"), axis)
    }

    /// The second operand, of the output's shape, for an operation on maps that are flat or not.
    pub(super) fn shortcut(&mut self, record: &LayerRecord, name: &str, flat: bool) -> String {
        let Some(of) = record.shortcut() else { return String::new() };
        let map = self.maps[of].clone();
        // Only layers that make a stream or int16 use all bits of a stream.
        let map = if record.is_stream16() { map } else { map.read().clone() };
        let stride = i64::from(record.shortcut_stride);
        let map = if stride > 1 && !map.flat { self.sliced(map, record, name) } else { map };
        let value = match flat {
            true => self.flattened(&map.value, map.flat, &format!("{name}.shortcut")),
            false => self.spatial(&map, &format!("{name}.shortcut")),
        };
        if flat || !matches!(record.operator(), Operator::Conv | Operator::Add) {
            return value;
        }
        let [.., channels] = shape(record);
        let [.., theirs] = shape(&self.program.layers[of].record);
        if theirs == channels {
            return value;
        }
        let before = usize::from(record.shortcut_channels_before.get());
        let after = channels - theirs - before;
        let pads = [0, before as i64, 0, 0, 0, after as i64, 0, 0];
        let pads = self.graph.sizes(&format!("{name}.shortcut.pads"), &pads);
        self.graph.node("Pad", &[&value, &pads], &format!("{name}.shortcut.pad"), vec![])
    }

    /// The rows and columns of a shortcut that are read. The integers are sliced: ONNX Runtime
    /// moves a slice of reals in front of the dequantization, and then loses their type.
    fn sliced(&mut self, map: Map, record: &LayerRecord, name: &str) -> Map {
        let part = |part: &str| format!("{name}.shortcut.{part}");
        let stride = i64::from(record.shortcut_stride);
        let [rows, columns, _] = shape(record);
        let ends = [rows, columns].map(|size| (size as i64 - 1) * stride + 1);
        let inputs = [
            map.integers.clone(),
            self.graph.sizes(&part("starts"), &[0, 0]),
            self.graph.sizes(&part("ends"), &ends),
            self.graph.sizes(&part("axes"), &[2, 3]),
            self.graph.sizes(&part("steps"), &[stride, stride]),
        ];
        let inputs = inputs.each_ref().map(String::as_str);
        let integers = self.graph.node("Slice", &inputs, &part("quantized"), vec![]);
        let value = self.graph.dequantized(&integers, &format!("{name}.shortcut"), map.scale);
        Map { value, integers, ..map }
    }

    /// Adds a mean over a window.
    fn average(&mut self, record: &LayerRecord, name: &str, read: &Map) -> String {
        let of = self.spatial(read, name);
        let area = record.kernel.map(i64::from).iter().product::<i64>();
        let divisor = i64::from(record.parameter.get());
        let mut attributes = spatial(record);
        attributes.push(AttributeProto::int("count_include_pad", i64::from(divisor > 0)));
        let mean = self.graph.node("AveragePool", &[&of], &pre(name), attributes);
        if divisor == 0 || divisor == area {
            return mean;
        }
        let factor = self.graph.float(&format!("{name}.factor"), area as f32 / divisor as f32);
        self.graph.node("Mul", &[&mean, &factor], &format!("{name}.divided"), vec![])
    }

    /// Makes a layer's output an output of the graph.
    pub(super) fn output(&mut self, index: usize) {
        let (layer, map) = (&self.program.layers[index], self.maps[index].clone());
        let name = name(layer, index);
        let [rows, columns, channels] = shape(&layer.record);
        let mut value = map.value;
        let flat = map.flat || (rows, columns) == (1, 1);
        if flat {
            value = self.flattened(&value, map.flat, &name);
        }
        if layer.record.has_sigmoid() {
            value = self.graph.node("Sigmoid", &[&value], &format!("{name}.sigmoid"), vec![]);
        }
        let sizes = [channels, rows, columns];
        self.graph.output(&value, if flat { &sizes[..1] } else { &sizes });
    }

    /// Adds a table lookup of each number as a gather of integers.
    pub(super) fn gathered(
        &mut self,
        name: &str,
        read: &Map,
        tables: &[i8],
        numbers: &[i8],
    ) -> String {
        let part = |part: &str| format!("{name}.{part}");
        let int32 = vec![AttributeProto::int("to", 6)];
        let index = self.graph.node("Cast", &[&read.integers], &part("integers"), int32);
        let first = |number: &i8| 128 + 256 * i32::from(number.cast_unsigned());
        let firsts: Vec<i32> = match numbers {
            [] => vec![128],
            numbers => numbers.iter().map(first).collect(),
        };
        let dims = match read.flat {
            true => vec![1, firsts.len()],
            false => vec![1, firsts.len(), 1, 1],
        };
        let firsts = self.graph.constant(&part("first"), &dims, Data::Int32(&firsts));
        let index = self.graph.node("Add", &[&index, &firsts], &part("index"), vec![]);
        let tables = self.graph.constant(&part("table"), &[tables.len()], Data::Int8(tables));
        let axis = vec![AttributeProto::int("axis", 0)];
        self.graph.node("Gather", &[&tables, &index], &part("quantized"), axis)
    }
}

/// The name of a layer in the graph.
fn name(layer: &Layer, index: usize) -> String {
    if layer.name.is_empty() { format!("layer{index}") } else { layer.name.clone() }
}

/// The name of a layer's output before it is rounded.
pub(super) fn pre(name: &str) -> String {
    format!("{name}.float")
}

/// Scale and zero point of a layer's output.
pub(super) fn scale(record: &LayerRecord) -> Scale {
    let (scale, zero) = (record.scale.get(), record.zero_point);
    if record.is_stream16() {
        let zero = 256 * i16::from(zero);
        return Scale { scale: scale / 256.0, zero, kind: Kind::Int16 };
    }
    let kind = if record.is_int16() { Kind::Int16 } else { Kind::Int8 };
    Scale { scale, zero: zero.into(), kind }
}

/// Rows, columns, channels.
pub(super) fn shape(record: &LayerRecord) -> [usize; 3] {
    let shape = record.shape();
    [shape.rows, shape.columns, shape.channels].map(usize::from)
}

/// Kernel, stride and pads of a layer.
pub(super) fn spatial(record: &LayerRecord) -> Vec<AttributeProto> {
    window(
        record.kernel.map(usize::from),
        record.stride.map(usize::from),
        record.pads.map(usize::from),
    )
}

/// Whether the second operand of a sum is subtracted, which is so if its table falls.
fn subtracts(terms: &[i32]) -> bool {
    terms.get(256).zip(terms.last()).is_some_and(|(first, last)| first > last)
}
