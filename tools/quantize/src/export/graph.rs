//! An ONNX graph under construction: values, constants, and quantization.

use std::collections::HashSet;

use crate::onnx::{self, Data};
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
};

/// The use of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A file in opset 21, which has integers of 16 and of 4 bits.
    File,
    /// The float engine, which has neither: it rounds to 16 bits by float arithmetic.
    Engine,
}

/// The integer type of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int8,
    Int16,
}

/// Scale and zero point of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) scale: f32,
    pub(super) zero: i16,
    pub(super) kind: Kind,
}

impl Scale {
    pub(super) fn int8(scale: f32, zero: i8) -> Self {
        Self { scale, zero: zero.into(), kind: Kind::Int8 }
    }

    /// The real that an integer stands for.
    pub(super) fn real(self, q: i32) -> f32 {
        (q - i32::from(self.zero)) as f32 * self.scale
    }

    /// The integer of a real, before saturation.
    pub(super) fn level(self, real: f32) -> i32 {
        (f64::from(real / self.scale).round() + f64::from(self.zero)) as i32
    }
}

/// A graph under construction.
pub(super) struct Graph {
    pub(super) dialect: Dialect,
    proto: GraphProto,
    taken: HashSet<String>,
}

impl Graph {
    pub(super) fn new(dialect: Dialect) -> Self {
        let proto = GraphProto { name: Some("brooklet".into()), ..GraphProto::default() };
        Self { dialect, proto, taken: HashSet::new() }
    }

    /// An unused name: `wanted`, if it is free.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}.{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let free = names.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }

    pub(super) fn constant(&mut self, wanted: &str, dims: &[usize], data: Data<'_>) -> String {
        let name = self.name(wanted);
        self.proto.initializer.push(onnx::constant(&name, dims, data));
        name
    }

    pub(super) fn float(&mut self, wanted: &str, value: f32) -> String {
        self.constant(wanted, &[], Data::Floats(&[value]))
    }

    pub(super) fn sizes(&mut self, wanted: &str, sizes: &[i64]) -> String {
        self.constant(wanted, &[sizes.len()], Data::Int64(sizes))
    }

    /// Adds a node, and returns the name of its output.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        wanted: &str,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = self.name(wanted);
        let inputs = inputs.iter().map(|&input| input.into()).collect();
        self.proto.node.push(onnx::node(op, inputs, &output, attribute));
        output
    }

    fn zero(&mut self, name: &str, scale: Scale) -> String {
        match scale.kind {
            Kind::Int8 => self.constant(name, &[], Data::Int8(&[scale.zero as i8])),
            Kind::Int16 => self.constant(name, &[], Data::Int16(&[scale.zero])),
        }
    }

    /// Quantizes a float map; for 16 bits in the engine, rounds it to the reals of the integers.
    pub(super) fn quantized(&mut self, value: &str, name: &str, scale: Scale) -> String {
        let step = self.float(&format!("{name}.scale"), scale.scale);
        if (self.dialect, scale.kind) == (Dialect::Engine, Kind::Int16) {
            let bounds = [i16::MIN, i16::MAX].map(|q| f32::from(q) - f32::from(scale.zero));
            let [low, high] = bounds.map(|bound| self.float(&format!("{name}.bound"), bound));
            let steps = self.node("Div", &[value, &step], &format!("{name}.steps"), vec![]);
            let whole = self.node("Round", &[&steps], &format!("{name}.whole"), vec![]);
            let inputs = [&whole, &low, &high].map(|input| input.as_str());
            let whole = self.node("Clip", &inputs, &format!("{name}.clip"), vec![]);
            return self.node("Mul", &[&whole, &step], &format!("{name}.reals"), vec![]);
        }
        let zero = self.zero(&format!("{name}.zero_point"), scale);
        self.node("QuantizeLinear", &[value, &step, &zero], &format!("{name}.quantized"), vec![])
    }

    /// Dequantizes integers.
    pub(super) fn dequantized(&mut self, integers: &str, name: &str, scale: Scale) -> String {
        if (self.dialect, scale.kind) == (Dialect::Engine, Kind::Int16) {
            return integers.to_owned();
        }
        let step = self.float(&format!("{name}.scale"), scale.scale);
        let zero = self.zero(&format!("{name}.zero_point"), scale);
        self.node("DequantizeLinear", &[integers, &step, &zero], name, vec![])
    }

    /// Dequantizes integers that have a zero point per channel.
    pub(super) fn dequantized_by_channel(
        &mut self,
        integers: &str,
        name: &str,
        (scale, zeros): (f32, &[i8]),
    ) -> String {
        let scales = vec![scale; zeros.len()];
        let count = [zeros.len()];
        let scales = self.constant(&format!("{name}.scale"), &count, Data::Floats(&scales));
        let zeros = self.constant(&format!("{name}.zero_point"), &count, Data::Int8(zeros));
        let axis = vec![AttributeProto::int("axis", 1)];
        self.node("DequantizeLinear", &[integers, &scales, &zeros], name, axis)
    }

    /// Adds constant integers, and multiplies them by a scale for each index of the first axis.
    pub(super) fn scaled(
        &mut self,
        name: &str,
        dims: &[usize],
        data: Data<'_>,
        scales: &[f32],
    ) -> String {
        let integers = self.constant(&format!("{name}.quantized"), dims, data);
        let count = [scales.len()];
        let scales = self.constant(&format!("{name}.scale"), &count, Data::Floats(scales));
        let axis = vec![AttributeProto::int("axis", 0)];
        self.node("DequantizeLinear", &[&integers, &scales], name, axis)
    }

    /// Adds a float input with an open batch size, channels first.
    pub(super) fn input(&mut self, wanted: &str, [rows, columns, channels]: [usize; 3]) -> String {
        let name = self.name(wanted);
        self.proto.input.push(onnx::float_value(&name, &[channels, rows, columns]));
        name
    }

    pub(super) fn output(&mut self, name: &str, sizes: &[usize]) {
        self.proto.output.push(onnx::float_value(name, sizes));
    }

    /// The names of the outputs.
    pub(super) fn outputs(&self) -> Vec<String> {
        self.proto.output.iter().filter_map(|output| output.name.clone()).collect()
    }

    /// The file's message.
    pub(super) fn model(self, about: String, metadata: Vec<(&str, String)>) -> ModelProto {
        let opset = match self.dialect {
            Dialect::File => 21,
            Dialect::Engine => 17,
        };
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        ModelProto {
            ir_version: Some(10),
            producer_name: Some("brooklet".into()),
            doc_string: Some(about),
            graph: Some(self.proto),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(opset),
            }],
            metadata_props: metadata.into_iter().map(entry).collect(),
            ..Default::default()
        }
    }
}
