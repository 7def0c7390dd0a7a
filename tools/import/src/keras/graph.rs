//! Walks the layers of a network's configuration.

use std::collections::HashMap;

use serde_json::Value;

use super::config::Layer;
use super::layers::{self, Map};
use super::weights::{Place, Store};
use super::{EXPORT, corrupt};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{Conv, Network, NodeId, Op, most_elements, too_many_elements};
use crate::rewrite::view::View;

/// Maximum nesting of models.
const MOST_DEPTH: usize = 16;

/// The network while it is built.
pub(super) struct Walk {
    /// The nodes so far; `None` until the input is known.
    pub(super) network: Option<Network>,
    weights: Store,
    /// Number of elements that further layers may have.
    room: usize,
    keras_2: bool,
}

/// A call of a layer, with its inputs and the place of its weights.
pub(super) struct Call<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) inputs: Vec<Map>,
    /// The numbers among its inputs, each with the number of tensors that come before it.
    pub(super) constants: Vec<(usize, f32)>,
    pub(super) place: Place,
}

impl<'a> Call<'a> {
    /// A call of the same layer with another map.
    pub(super) fn of(&self, map: Map) -> Call<'a> {
        let (layer, place) = (self.layer, self.place.clone());
        Call { layer, inputs: vec![map], constants: vec![], place }
    }
}

/// A tensor of the configuration: layer, number of the call, number of the output.
type Key = (String, usize, usize);

impl Walk {
    /// A walk over a file with this number of bytes.
    pub(super) fn new(weights: Store, bytes: usize, keras_2: bool) -> Self {
        Self { network: None, weights, room: most_elements(bytes), keras_2 }
    }

    /// Whether Keras 2 wrote the file.
    pub(super) fn is_keras_2(&self) -> bool {
        self.keras_2
    }

    /// Walks a whole network; returns the nodes that end it, with their names.
    pub(super) fn model(&mut self, config: &Value) -> Result<Vec<(NodeId, String)>, LayerProblem> {
        let model = Layer::of(config)?;
        let maps = self.inner(model, None, None, 0)?;
        let mut ends = Vec::with_capacity(maps.len());
        for (map, name) in maps {
            ends.push((self.settle(&map, &name).at(&name)?, name));
        }
        Ok(ends)
    }

    /// The outputs of a model, with their layers' names. For a model within another, `inputs` are
    /// given.
    fn inner(
        &mut self,
        model: Layer<'_>,
        place: Option<&Place>,
        inputs: Option<&[Map]>,
        depth: usize,
    ) -> Result<Vec<(Map, String)>, LayerProblem> {
        if depth > MOST_DEPTH {
            return Err(corrupt("models are nested too deeply").into());
        }
        let layers = match model.config {
            Value::Array(layers) => layers,
            config => match config.get("layers").and_then(Value::as_array) {
                Some(layers) => layers,
                None => return Err(own_code(model.class).into()),
            },
        };
        let layers = layers.iter().map(Layer::of).collect::<Result<Vec<_>, Problem>>()?;
        let mut numbers = HashMap::<&str, usize>::new();
        let places: Vec<Place> = layers
            .iter()
            .map(|layer| {
                let number = numbers.entry(layer.class).or_default();
                let place = self.weights.place(place, layer.class, *number, layer.name);
                *number += 1;
                place
            })
            .collect();
        match model.class {
            "Sequential" => self.sequential(&layers, &places, inputs, depth),
            "Functional" | "Model" => self.functional(model, &layers, &places, inputs, depth),
            other => Err(own_code(other).into()),
        }
    }

    fn sequential(
        &mut self,
        layers: &[Layer<'_>],
        places: &[Place],
        inputs: Option<&[Map]>,
        depth: usize,
    ) -> Result<Vec<(Map, String)>, LayerProblem> {
        let mut map = inputs.and_then(|inputs| inputs.first().copied());
        let mut last = String::new();
        for (layer, place) in layers.iter().zip(places) {
            last = layer.name.to_owned();
            if map.is_none() {
                map = Some(self.input(layer).at(layer.name)?);
            }
            if layer.class == "InputLayer" {
                continue;
            }
            let call = Call {
                layer: *layer,
                inputs: map.into_iter().collect(),
                constants: vec![],
                place: place.clone(),
            };
            let mut made = self.call(call, depth)?;
            map = Some(made.swap_remove(0));
        }
        match map {
            Some(map) if !last.is_empty() => Ok(vec![(map, last)]),
            _ => Err(corrupt("a network without layers").into()),
        }
    }

    fn functional(
        &mut self,
        model: Layer<'_>,
        layers: &[Layer<'_>],
        places: &[Place],
        inputs: Option<&[Map]>,
        depth: usize,
    ) -> Result<Vec<(Map, String)>, LayerProblem> {
        let begins = keys(&model.config["input_layers"]);
        let mut maps = HashMap::<Key, Map>::new();
        // The remaining calls in the file's order. Later calls of a shared layer read layers that
        // come after it in the file.
        let mut open = Vec::new();
        for (layer, place) in layers.iter().zip(places) {
            if layer.class == "InputLayer" {
                let index = begins.iter().position(|key| key.0 == layer.name).unwrap_or(0);
                let map = match inputs {
                    Some(inputs) => inputs.get(index).copied().ok_or_else(|| missing(layer))?,
                    None => self.input(layer).at(layer.name)?,
                };
                maps.insert((layer.name.to_owned(), 0, 0), map);
                continue;
            }
            let calls = layer.value.get("inbound_nodes").and_then(Value::as_array);
            for (number, call) in calls.into_iter().flatten().enumerate() {
                let mut read = Read::default();
                read.all(call, 0);
                open.push((*layer, place, number, read));
            }
        }
        // In Keras 2, making a model counts as its first call.
        let ends = keys(&model.config["output_layers"]);
        let mut firsts = HashMap::<String, usize>::new();
        for (name, number, _) in open.iter().flat_map(|(.., read)| &read.tensors).chain(&ends) {
            firsts
                .entry(name.clone())
                .and_modify(|first| *first = (*number).min(*first))
                .or_insert(*number);
        }
        for (layer, _, number, _) in &mut open {
            if is_model(layer) {
                *number += firsts.get(layer.name).copied().unwrap_or(0);
            }
        }
        while !open.is_empty() {
            let before = open.len();
            let mut left = Vec::new();
            for (layer, place, number, read) in open {
                let found: Option<Vec<Map>> =
                    read.tensors.iter().map(|key| maps.get(key).copied()).collect();
                let Some(inputs) = found.filter(|inputs| !inputs.is_empty()) else {
                    left.push((layer, place, number, read));
                    continue;
                };
                let (constants, place) = (read.constants, place.clone());
                let call = Call { layer, inputs, constants, place };
                for (output, map) in self.call(call, depth)?.into_iter().enumerate() {
                    maps.insert((layer.name.to_owned(), number, output), map);
                }
            }
            if left.len() == before {
                return Err(missing(&left[0].0).into());
            }
            open = left;
        }
        let ends = ends.into_iter().map(|key| {
            let map = maps.get(&key).copied();
            Ok((map.ok_or_else(|| corrupt("no layer computes the output"))?, key.0))
        });
        let ends: Vec<(Map, String)> = ends.collect::<Result<_, Problem>>()?;
        if ends.is_empty() { Err(corrupt("it has no output").into()) } else { Ok(ends) }
    }

    fn call(&mut self, call: Call<'_>, depth: usize) -> Result<Vec<Map>, LayerProblem> {
        if is_model(&call.layer) {
            let made = self.inner(call.layer, Some(&call.place), Some(&call.inputs), depth + 1)?;
            return Ok(made.into_iter().map(|(map, _)| map).collect());
        }
        let map = layers::run(self, &call).at(call.layer.name)?;
        Ok(vec![map])
    }

    /// Reads the network's input from its layer.
    fn input(&mut self, layer: &Layer<'_>) -> Result<Map, Problem> {
        if self.network.is_some() {
            return Err(unsupported(
                "has several inputs",
                "only one input, the image, is supported",
            ));
        }
        let shape = ["batch_shape", "batch_input_shape"].iter().find_map(|key| {
            layer.config.get(*key).or_else(|| layer.value.get("build_config")?.get("input_shape"))
        });
        let Some(Value::Array(shape)) = shape else {
            return Err(Problem::DynamicShape { shape: "unknown".into() });
        };
        let sizes: Option<Vec<usize>> = shape
            .iter()
            .skip(1)
            .map(|size| size.as_u64().and_then(|size| usize::try_from(size).ok()))
            .collect();
        let map = match sizes.as_deref() {
            Some(&[height, width, channels]) => ([height, width, channels], 3),
            // A single dimension becomes the width.
            Some(&[width, channels]) => ([1, width, channels], 2),
            Some(&[channels]) => ([1, 1, channels], 1),
            _ => {
                let shape = Value::Array(shape.clone()).to_string();
                return Err(Problem::DynamicShape { shape });
            }
        };
        self.network = Some(Network::new(map.0, layer.name)?);
        Ok(Map { view: View::new(0, map.0), dimensions: map.1 })
    }

    pub(super) fn network(&mut self) -> Result<&mut Network, Problem> {
        self.network.as_mut().ok_or_else(|| corrupt("a layer before the input"))
    }

    /// A weight of a layer, by one of its names, or by its number in the layer.
    pub(super) fn weight(
        &mut self,
        call: &Call<'_>,
        names: &[&str],
        number: usize,
    ) -> Result<ndarray::ArrayD<f32>, Problem> {
        let found = self.weights.find(&call.place, names, number)?;
        let weight = found.ok_or_else(|| corrupt(format!("it has no weight `{}`", names[0])))?;
        self.room = self.room.checked_sub(weight.len()).ok_or_else(too_many_elements)?;
        Ok(weight)
    }

    /// The node that computes a map's view.
    pub(super) fn settle(&mut self, map: &Map, name: &str) -> Result<NodeId, Problem> {
        let mut view = map.view;
        let pads = view.take_pads();
        if pads == [0; 4] {
            return Ok(view.node);
        }
        let channels = view.shape()[2];
        self.network()?.push(Op::Conv(Conv::padding(channels, pads)), &[view.node], name)
    }
}

/// Whether a layer is a nested model.
fn is_model(layer: &Layer<'_>) -> bool {
    matches!(layer.class, "Functional" | "Model" | "Sequential")
}

/// The tensors that a call reads, in order, and the numbers among its operands.
#[derive(Default)]
struct Read {
    tensors: Vec<Key>,
    constants: Vec<(usize, f32)>,
}

/// The name that Keras 2 writes instead of a layer's name if the first operand of a call is a number.
const NUMBER: &str = "_CONSTANT_VALUE";

impl Read {
    /// Collects the tensors of a call.
    ///
    /// Keras 3 writes objects with their history. Keras 2 writes lists of layer, call, output and options,
    /// whose option `y` is the second operand of an operator.
    fn all(&mut self, value: &Value, depth: usize) {
        if depth > MOST_DEPTH {
            return;
        }
        match value {
            Value::Object(object) => {
                if object.get("class_name").and_then(Value::as_str) == Some("__keras_tensor__") {
                    self.tensors.extend(key(&value["config"]["keras_history"]));
                } else if let Some(args) = object.get("args") {
                    self.all(args, depth + 1);
                }
            }
            Value::Array(values) => {
                match (values.first().and_then(Value::as_str), values.get(2)) {
                    (Some(NUMBER), Some(number)) => self.number(number),
                    _ => match key(value) {
                        Some(key) => self.tensors.push(key),
                        None => return values.iter().for_each(|value| self.all(value, depth + 1)),
                    },
                }
                if let Some(second) = values.get(3).and_then(|options| options.get("y")) {
                    self.all(second, depth + 1);
                }
            }
            Value::Number(_) => self.number(value),
            _ => {}
        }
    }
}

impl Read {
    fn number(&mut self, value: &Value) {
        let number = value.as_f64().unwrap_or(f64::NAN) as f32;
        self.constants.push((self.tensors.len(), number));
    }
}

/// A tensor: a list of layer, call, output.
fn key(value: &Value) -> Option<Key> {
    let list = value.as_array()?;
    let number = |at: usize| list.get(at)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Some((list.first()?.as_str()?.to_owned(), number(1)?, number(2)?))
}

/// A tensor, or a list of tensors.
fn keys(value: &Value) -> Vec<Key> {
    match key(value) {
        Some(one) => vec![one],
        None => match value {
            Value::Array(values) => values.iter().flat_map(keys).collect(),
            Value::Object(object) => object.values().flat_map(keys).collect(),
            _ => vec![],
        },
    }
}

fn missing(layer: &Layer<'_>) -> Problem {
    corrupt(format!("`{}` reads what no layer computes", layer.name))
}

/// The error for a model or a layer that only its author's code defines.
pub(super) fn own_code(class: &str) -> Problem {
    unsupported(
        format!("`{class}` is a class from custom code, which a Keras file does not contain"),
        EXPORT,
    )
}
