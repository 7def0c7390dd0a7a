//! Functions of one number: exported by name if the table is that of a known function, otherwise as
//! a table.

use crate::network::Function;

use super::graph::{Kind, Scale};
use super::layers::{Exporter, Map, pre, scale};
use crate::lower::elements::nearest;
use crate::onnx::{Computed, Data, computed};
use crate::program::{Layer, Table};

impl Exporter<'_> {
    /// Adds a table lookup of each number.
    pub(super) fn lookup(&mut self, layer: &Layer, name: &str, read: &Map) -> Map {
        let to = scale(&layer.record);
        let tables: &[i8] = match &layer.table {
            Some(Table::Bytes(tables)) => tables,
            _ => &[],
        };
        let (tables_of, _) = tables.as_chunks::<256>();
        let value = read.value.clone();
        let known = match tables_of {
            [table] => known(table, read.scale, to).map(|found| self.known(found, &value, name)),
            many => slopes(many, read.scale, to).map(|slopes| {
                let channels = layer.weights.iter();
                let slopes: Vec<f32> =
                    channels.map(|&number| slopes[usize::from(number.cast_unsigned())]).collect();
                let dims = if read.flat { vec![slopes.len()] } else { vec![slopes.len(), 1, 1] };
                let slopes =
                    self.graph.constant(&format!("{name}.slopes"), &dims, Data::Floats(&slopes));
                self.graph.node("PRelu", &[&value, &slopes], &pre(name), vec![])
            }),
        };
        let integers = match known {
            Some(value) => self.graph.quantized(&value, name, to),
            None => self.gathered(name, read, tables, &layer.weights),
        };
        let value = self.graph.dequantized(&integers, name, to);
        read.with(value, integers, to)
    }

    fn known(&mut self, known: Known, value: &str, name: &str) -> String {
        let function = match known {
            Known::Same => return value.to_owned(),
            Known::Relu => return self.graph.node("Relu", &[value], &pre(name), vec![]),
            Known::Function(function) => function,
        };
        match computed(function) {
            Computed::By(op, attributes) => self.graph.node(op, &[value], &pre(name), attributes),
            Computed::Gated(operators) => {
                let mut gate = value.to_owned();
                for (step, op) in operators.iter().enumerate() {
                    gate = self.graph.node(op, &[&gate], &format!("{name}.gate{step}"), vec![]);
                }
                self.graph.node("Mul", &[value, &gate], &pre(name), vec![])
            }
            Computed::Power(exponent) => {
                let exponent = self.graph.float(&format!("{name}.exponent"), exponent);
                let positive =
                    self.graph.node("Relu", &[value], &format!("{name}.positive"), vec![]);
                self.graph.node("Pow", &[&positive, &exponent], &pre(name), vec![])
            }
            Computed::Clip { min, max } => {
                let [min, max] = [("min", min), ("max", max)]
                    .map(|(part, bound)| self.graph.float(&format!("{name}.{part}"), bound));
                self.graph.node("Clip", &[value, &min, &max], &pre(name), vec![])
            }
        }
    }
}

/// A function that a table computes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// The number itself, at another scale.
    Same,
    Relu,
    Function(Function),
}

/// The known function that has this table.
fn known(table: &[i8; 256], from: Scale, to: Scale) -> Option<Known> {
    if is_of(table, from, to, |real| real) {
        return Some(Known::Same);
    }
    if is_of(table, from, to, |real| real.max(0.0)) {
        return Some(Known::Relu);
    }
    let mut functions = vec![
        Function::Sigmoid,
        Function::Tanh,
        Function::HardSwish,
        Function::Silu,
        Function::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 },
        Function::HardSigmoid { slope: 0.2, offset: 0.5 },
        Function::Elu { alpha: 1.0 },
        Function::Gelu,
        Function::GeluTanh,
        Function::Erf,
        Function::Mish,
        Function::Softplus,
    ];
    functions.extend(slope(table, from, to).map(|slope| Function::LeakyRelu { slope }));
    let found = |function: &Function| is_of(table, from, to, |real| function.value(real));
    functions.into_iter().find(found).map(Known::Function)
}

/// The slopes of a PReLU with these tables, if there are any.
fn slopes(tables: &[[i8; 256]], from: Scale, to: Scale) -> Option<Vec<f32>> {
    tables.iter().map(|table| slope(table, from, to)).collect()
}

/// The slope for negative numbers of a leaky ReLU with this table, if there is one.
fn slope(table: &[i8; 256], from: Scale, to: Scale) -> Option<f32> {
    let leaky = |slope: f64| move |real: f64| if real < 0.0 { real * slope } else { real };
    // Each entry below zero bounds the slope from both sides.
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    for (index, &entry) in table.iter().enumerate() {
        let real = f64::from(from.real(index as i32 - 128));
        if real >= 0.0 {
            continue;
        }
        let steps = f64::from(i32::from(entry) - i32::from(to.zero)) * f64::from(to.scale) / real;
        let half = (0.5 * f64::from(to.scale) / real).abs();
        let (mut from_here, mut to_here) = (steps - half, steps + half);
        // A saturated entry bounds the slope from one side only.
        match entry {
            i8::MIN => to_here = f64::INFINITY,
            i8::MAX => from_here = f64::NEG_INFINITY,
            _ => {}
        }
        (low, high) = (low.max(from_here), high.min(to_here));
    }
    let middle = (low + high) / 2.0;
    // Short decimal numbers are tried first: they are probably the network's.
    let short = (1..=6).map(|digits| {
        let unit = 10f64.powi(digits);
        (middle * unit).round() / unit
    });
    let fits = |slope: &f64| slope.is_finite() && is_of(table, from, to, leaky(*slope));
    short.chain([middle]).find(fits).map(|slope| slope as f32)
}

fn is_of(table: &[i8; 256], from: Scale, to: Scale, function: impl Fn(f64) -> f64) -> bool {
    if [from.kind, to.kind] != [Kind::Int8; 2] {
        return false;
    }
    let of = |scale: Scale| (scale.scale, i32::from(scale.zero));
    nearest(of(from), of(to), function) == *table
}

impl Map {
    /// A map of the same form with other values.
    fn with(&self, value: String, integers: String, scale: Scale) -> Self {
        Self { value, integers, scale, upper: None, flat: self.flat }
    }
}
