//! The float network's forward pass, for calibration and as the reference for the quantized
//! network.
//!
//! The network is encoded as an ONNX model in memory and run by rten. Graph optimization is off, so
//! no node is fused away, and the output of each node is available.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ndarray::{Array2, Array4, ArrayView1, ArrayView4, Axis, Ix4};
use prost::Message;
use rten::{Model, ModelOptions, Value, ValueOrView};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

use crate::encode::{encode, value};
use crate::error::EngineError;
use crate::fuse::Fused;
use crate::network::{Ending, Function, Network, NodeId, Op, Output, Shape};

/// Maximum number of images that go through the float network at once.
pub const BATCH: usize = 25;

/// The outputs of each unit for a batch, `[images, channels, height, width]`.
pub struct Maps<'b> {
    input: ArrayView4<'b, f32>,
    outputs: Vec<Array4<f32>>,
    logits: usize,
}

impl Maps<'_> {
    /// The output of a unit.
    pub fn of(&self, unit: usize) -> ArrayView4<'_, f32> {
        match unit {
            0 => self.input.view(),
            unit => self.outputs[unit - 1].view(),
        }
    }

    /// The logits.
    pub fn logits(&self) -> ArrayView4<'_, f32> {
        self.of(self.logits)
    }
}

/// The squared error of a map against the right one.
pub fn squared_error(map: ArrayView4<'_, f32>, right: ArrayView4<'_, f32>) -> f64 {
    map.iter().zip(&right).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

/// A float network, ready to run.
pub struct FloatModel {
    model: Model,
    /// The engine's id for each node's output; `None` for nodes that the part does not have.
    ids: Vec<Option<rten::NodeId>>,
    input: Shape,
    outputs: Vec<Output>,
    logits: NodeId,
}

impl FloatModel {
    /// Prepares a network.
    pub fn new(network: &Network) -> Result<FloatModel, EngineError> {
        Self::part(network, 1..=network.nodes.len() - 1)
    }

    /// Prepares only these nodes of a network, to be [continued](Self::continued) from the maps
    /// that they read.
    ///
    /// For a large network this takes much less memory.
    pub fn part(
        network: &Network,
        nodes: RangeInclusive<NodeId>,
    ) -> Result<FloatModel, EngineError> {
        Self::part_with(network, &[], nodes)
    }

    /// [`part`](Self::part), with other operators in place of those of some nodes.
    pub(crate) fn part_with(
        network: &Network,
        others: &[(NodeId, Op)],
        nodes: RangeInclusive<NodeId>,
    ) -> Result<FloatModel, EngineError> {
        let inputs = nodes.clone().flat_map(|node| &network.nodes[node].inputs);
        let read: BTreeSet<NodeId> = inputs.copied().filter(|node| !nodes.contains(node)).collect();
        let bytes = encode(network, others, &nodes, &read).encode_to_vec();
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(false).prepack_weights(true);
        let model = options.load(bytes).map_err(EngineError::new)?;
        let ids = (0..network.nodes.len())
            .map(|id| {
                let known = nodes.contains(&id) || read.contains(&id);
                known.then(|| model.node_id(&value(id)).map_err(EngineError::new)).transpose()
            })
            .collect::<Result<_, _>>()?;
        let (input, outputs) = (network.input, network.outputs.clone());
        Ok(FloatModel { model, ids, input, outputs, logits: network.logits() })
    }

    /// The logits, `[images, classes]`, of a batch `[images, height, width, channels]` of
    /// normalized images; the logits of a map are in the order of rows, columns and classes.
    pub fn run(&self, batch: ArrayView4<'_, f32>) -> Result<Array2<f32>, EngineError> {
        let mut values = self.values(batch, &[self.logits])?;
        let logits = values.pop().ok_or_else(|| EngineError::new("it gave no output"))?;
        let (count, all) = (logits.dim().0, logits.len() / logits.dim().0.max(1));
        let logits = logits.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        logits.into_shape_with_order((count, all)).map_err(EngineError::new)
    }

    /// The network's outputs for a batch `[images, height, width, channels]`, in the order of the
    /// file, with the operators that end the network computed, too.
    ///
    /// Each is `[images, values]`; the values of a map are in the order of rows, columns and channels.
    pub fn answers(&self, batch: ArrayView4<'_, f32>) -> Result<Vec<Array2<f32>>, EngineError> {
        // Several outputs may be of one node.
        let mut nodes: Vec<NodeId> = self.outputs.iter().map(|output| output.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let values = self.values(batch, &nodes)?;
        let answer = |output: &Output| {
            let place = nodes.iter().position(|&node| node == output.node);
            let values = values[place.expect("each output's node is computed")].clone();
            let scores = ended(values, output.ending).permuted_axes([0, 2, 3, 1]);
            let scores = scores.as_standard_layout().into_owned();
            let (count, size) = (scores.dim().0, scores.len() / scores.dim().0.max(1));
            scores.into_shape_with_order((count, size)).map_err(EngineError::new)
        };
        self.outputs.iter().map(answer).collect()
    }

    /// Passes each node's output to `visit`, in the network's order, as
    /// `[images, height, width, channels]`.
    ///
    /// In memory the channels of an image follow one another, so `map.permuted_axes([0, 3, 1, 2])`
    /// is contiguous. All outputs of a batch are in memory at once.
    pub fn run_all(
        &self,
        batch: ArrayView4<'_, f32>,
        mut visit: impl FnMut(NodeId, ArrayView4<'_, f32>),
    ) -> Result<(), EngineError> {
        visit(0, batch.view());
        let nodes: Vec<NodeId> = (1..self.ids.len()).collect();
        for (node, map) in nodes.iter().zip(self.values(batch, &nodes)?) {
            visit(*node, map.view().permuted_axes([0, 2, 3, 1]));
        }
        Ok(())
    }

    /// The outputs of some nodes, `[images, channels, height, width]`.
    fn values(
        &self,
        batch: ArrayView4<'_, f32>,
        nodes: &[NodeId],
    ) -> Result<Vec<Array4<f32>>, EngineError> {
        let (_, height, width, channels) = batch.dim();
        if [height, width, channels] != self.input {
            return Err(EngineError::new(format!(
                "a batch of {:?} for an input of {:?}",
                [height, width, channels],
                self.input
            )));
        }
        self.continued(&[(0, batch.permuted_axes([0, 3, 1, 2]))], nodes)
    }

    /// The outputs of each unit for a batch `[images, height, width, channels]`.
    pub fn maps<'b>(
        &self,
        batch: ArrayView4<'b, f32>,
        fused: &Fused<'_>,
    ) -> Result<Maps<'b>, EngineError> {
        let input = batch.permuted_axes([0, 3, 1, 2]);
        let nodes: Vec<NodeId> = fused.units.iter().skip(1).map(|unit| unit.output).collect();
        let outputs = self.continued(&[(0, input)], &nodes)?;
        let logits = fused.units.iter().position(|unit| unit.output == self.logits);
        Ok(Maps {
            input,
            outputs,
            logits: logits.ok_or_else(|| EngineError::new("no unit makes the logits"))?,
        })
    }

    /// The output of one node, computed from the given outputs of others.
    pub fn output(
        &self,
        given: &[(NodeId, ArrayView4<'_, f32>)],
        node: NodeId,
    ) -> Result<Array4<f32>, EngineError> {
        self.continued(given, &[node])?.pop().ok_or_else(|| EngineError::new("it gave no output"))
    }

    /// The outputs of some nodes, computed from the given outputs of others through the nodes in
    /// between.
    ///
    /// Maps are `[images, channels, height, width]`.
    pub fn continued(
        &self,
        given: &[(NodeId, ArrayView4<'_, f32>)],
        nodes: &[NodeId],
    ) -> Result<Vec<Array4<f32>>, EngineError> {
        let known = given.iter().filter_map(|(node, map)| Some((self.ids[*node]?, map)));
        let maps: Vec<_> = known.map(|(id, map)| (id, map.as_standard_layout())).collect();
        let inputs: Vec<(rten::NodeId, ValueOrView<'_>)> = maps
            .iter()
            .map(|(id, map)| {
                let values = map.as_slice().expect("standard layout is contiguous");
                let view = NdTensorView::from_data(<[usize; 4]>::from(map.dim()), values);
                (*id, view.into())
            })
            .collect();
        let unknown = || EngineError::new("the part that is run does not make this map");
        let outputs = nodes.iter().map(|&node| self.ids[node].ok_or_else(unknown));
        let outputs: Vec<rten::NodeId> = outputs.collect::<Result<_, _>>()?;
        let values = self.model.run(inputs, &outputs, None).map_err(EngineError::new)?;
        values.into_iter().map(array).collect()
    }
}

/// Applies the operator that ends the network to scores, `[images, classes, height, width]`.
fn ended(mut scores: Array4<f32>, ending: Ending) -> Array4<f32> {
    match ending {
        Ending::None => {}
        Ending::Sigmoid => scores.mapv_inplace(|x| Function::Sigmoid.value(x.into()) as f32),
        Ending::LogSoftmax => {
            for mut cell in scores.lanes_mut(Axis(1)) {
                let largest = cell.fold(f32::NEG_INFINITY, |largest, &x| largest.max(x));
                let sum: f64 = cell.iter().map(|&x| f64::from(x - largest).exp()).sum();
                cell.mapv_inplace(|x| (f64::from(x - largest) - sum.ln()) as f32);
            }
        }
        Ending::ArgMax => {
            let best = |cell: ArrayView1<'_, f32>| {
                let best =
                    |best: usize, (at, &x): (usize, &f32)| if x > cell[best] { at } else { best };
                cell.iter().enumerate().fold(0, best) as f32
            };
            scores = scores.map_axis(Axis(1), best).insert_axis(Axis(1));
        }
        Ending::UnitLength => {
            for mut cell in scores.lanes_mut(Axis(1)) {
                let length = cell.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                cell.mapv_inplace(|x| (f64::from(x) / length.max(1e-12)) as f32);
            }
        }
    }
    scores
}

fn array(value: Value) -> Result<Array4<f32>, EngineError> {
    let Value::FloatTensor(tensor) = value else {
        return Err(EngineError::new("an output is not float"));
    };
    let shape = tensor.shape().to_vec();
    let array =
        ndarray::ArrayD::from_shape_vec(shape, tensor.into_data()).map_err(EngineError::new)?;
    array.into_dimensionality::<Ix4>().map_err(EngineError::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks;
    use crate::data::Dataset;
    use crate::fuse::given;
    use crate::network::{Op, Subsample};

    fn conv(outputs: usize, inputs: usize) -> Op {
        let weight = |(o, _, _, i)| ((3 * o + 7 * i) as f32 * 0.7).sin();
        Op::Conv(blocks::conv([outputs, inputs, 1], weight, 0.1))
    }

    #[test]
    fn a_part_goes_on_from_any_unit_to_the_same_logits() {
        let mut network = Network::new([4, 4, 3], "x").unwrap();
        let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
        let stem = push(conv(4, 3), &[0]);
        let first = push(conv(4, 4), &[stem]);
        let first = push(Op::Relu, &[first]);
        let main = push(conv(6, 4), &[first]);
        let projection = push(conv(6, 4), &[stem]);
        let sum = push(Op::Add, &[main, projection]);
        let main = push(conv(8, 6), &[sum]);
        let more = Subsample { stride: [1, 1], channels_before: 1, channels_after: 1 };
        let shortcut = push(Op::Subsample(more), &[sum]);
        let sum = push(Op::Add, &[main, shortcut]);
        let pool = push(Op::GlobalAveragePool, &[sum]);
        let logits = push(conv(2, 8), &[pool]);
        let network = network.canonical(&[(logits, String::new())]).unwrap();

        let fused = Fused::new(&network).unwrap();
        let data = Dataset::open("random:3", network.input, &Default::default()).unwrap();
        let whole = FloatModel::new(&network).unwrap();
        let batch = data.batch(0..3).unwrap();
        let maps = whole.maps(batch.view(), &fused).unwrap();
        let map = |unit| maps.of(unit);
        for unit in 0..fused.units.len() - 1 {
            let part = FloatModel::part(&network, fused.nodes_from(unit + 1)).unwrap();
            let given = given(&fused, unit, map(unit), &map);
            assert_eq!(part.output(&given, network.logits()).unwrap(), maps.logits(), "{unit}");
        }
        let last = FloatModel::part(&network, fused.nodes_from(fused.units.len() - 1)).unwrap();
        assert!(last.output(&[(0, map(0))], 1).is_err(), "what it does not make");
    }
}
