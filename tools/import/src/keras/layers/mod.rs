//! Layers, with one function each.

mod activation;
mod conv;
mod layout;
mod norm;
mod pool;
mod sums;

use super::EXPORT;
use super::config::Layer;
use super::graph::{Call, Walk, own_code};
use crate::error::{Problem, unsupported};
use crate::network::{Network, NodeId, Op};
use crate::rewrite::view::View;

/// A tensor of the network: a map, and the number of dimensions that the tensor has besides the
/// batch.
///
/// A tensor with two dimensions is a map with a height of one, or, at the end of the network, a map
/// whose rows and columns are joined; one with a single dimension has the map's values in order.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) view: View,
    pub(super) dimensions: usize,
}

/// Computes the output of a layer from its inputs.
type Function = fn(&mut Walk, &Call<'_>) -> Result<Map, Problem>;

/// The layers, by class.
const LAYERS: [(&str, Function); 60] = [
    ("Activation", activation::activation),
    ("ActivityRegularization", layout::same),
    ("Add", sums::add),
    ("Average", sums::average),
    ("AveragePooling1D", pool::pool),
    ("AveragePooling2D", pool::pool),
    ("BatchNormalization", norm::batch_norm),
    ("CenterCrop", layout::resize),
    ("Concatenate", sums::concatenate),
    ("Conv1D", conv::conv),
    ("Conv2D", conv::conv),
    ("Cropping1D", layout::crop),
    ("Cropping2D", layout::crop),
    ("Dense", conv::dense),
    ("DepthwiseConv1D", conv::depthwise),
    ("DepthwiseConv2D", conv::depthwise),
    ("Dropout", layout::same),
    ("ELU", activation::elu),
    ("Flatten", layout::flatten),
    ("GaussianDropout", layout::same),
    ("GaussianNoise", layout::same),
    ("GlobalAveragePooling1D", pool::global),
    ("GlobalAveragePooling2D", pool::global),
    ("GlobalMaxPooling1D", pool::global),
    ("GlobalMaxPooling2D", pool::global),
    ("LeakyReLU", activation::leaky_relu),
    ("MaxPooling1D", pool::pool),
    ("MaxPooling2D", pool::pool),
    ("Maximum", sums::larger),
    ("Minimum", sums::larger),
    ("Multiply", sums::multiply),
    ("Normalization", norm::normalization),
    ("PReLU", activation::prelu),
    ("Permute", layout::permute),
    ("RandomBrightness", layout::same),
    ("RandomContrast", layout::same),
    ("RandomFlip", layout::same),
    ("RandomHeight", layout::same),
    ("RandomRotation", layout::same),
    ("RandomTranslation", layout::same),
    ("RandomWidth", layout::same),
    ("RandomZoom", layout::same),
    ("ReLU", activation::relu),
    ("Relu", activation::operator),
    ("Relu6", activation::operator),
    ("Rescaling", norm::rescaling),
    ("Reshape", layout::reshape),
    ("Resizing", layout::resize),
    ("SeparableConv1D", conv::separable),
    ("SeparableConv2D", conv::separable),
    ("Sigmoid", activation::operator),
    ("Silu", activation::operator),
    ("Softmax", activation::softmax),
    ("SpatialDropout1D", layout::same),
    ("SpatialDropout2D", layout::same),
    ("Subtract", sums::subtract),
    ("Tanh", activation::operator),
    ("UnitNormalization", activation::unit_length),
    ("ZeroPadding1D", layout::pad),
    ("ZeroPadding2D", layout::pad),
];

/// The layers that take each pixel, or each value, by itself.
const BY_PIXEL: [&str; 8] = [
    "Activation",
    "ActivityRegularization",
    "Dropout",
    "Flatten",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "UnitNormalization",
];

/// The output of a call of a layer.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let class = call.layer.class;
    if call.layer.registered().is_some() {
        return Err(own_code(class));
    }
    let is_joined = |map: &Map| map.dimensions == 2 && map.view.shape()[0] > 1;
    if call.inputs.iter().any(is_joined) && !BY_PIXEL.contains(&class) {
        return Err(unsupported(
            format!("{class} of a map whose rows and columns are joined"),
            "only a softmax or an activation may follow, at the end of the network",
        ));
    }
    if class == "TFOpLambda" {
        return operator(walk, call);
    }
    if !call.constants.is_empty() {
        return sums::with_number(walk, call);
    }
    match LAYERS.iter().find(|(name, _)| *name == class) {
        Some((_, function)) => function(walk, call),
        None => Err(unknown(class)),
    }
}

/// An operator of TensorFlow, which Keras 2 writes as a layer. It is read as the same layer of Keras 3.
fn operator(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let function = call.layer.text("function").unwrap_or("");
    let class = match function {
        "__operators__.add" | "math.add" => "Add",
        "math.subtract" => "Subtract",
        "math.multiply" => "Multiply",
        "math.truediv" | "math.divide" => "TrueDivide",
        "math.maximum" => "Maximum",
        "math.minimum" => "Minimum",
        "nn.relu" => "Relu",
        "nn.relu6" => "Relu6",
        "math.sigmoid" | "nn.sigmoid" => "Sigmoid",
        "math.tanh" | "nn.tanh" => "Tanh",
        "nn.silu" => "Silu",
        _ => {
            return Err(Problem::UnsupportedOperator {
                op: format!("tf.{function}"),
                remedy: EXPORT.into(),
            });
        }
    };
    let layer = Layer { class, ..call.layer };
    let (inputs, constants) = (call.inputs.clone(), call.constants.clone());
    run(walk, &Call { layer, inputs, constants, place: call.place.clone() })
}

fn unknown(class: &str) -> Problem {
    let remedy = match class {
        "Conv2DTranspose" | "Conv1DTranspose" | "UpSampling1D" | "UpSampling2D" => {
            "brooklet runs residual networks, whose maps only shrink: no decoders that enlarge maps; \
             save the encoder alone"
        }
        "LSTM" | "GRU" | "SimpleRNN" | "RNN" | "Bidirectional" | "TimeDistributed" => {
            "brooklet runs networks that only go forward: no recurrent layers"
        }
        "Attention" | "AdditiveAttention" | "MultiHeadAttention" => {
            "brooklet runs residual networks of convolutions: no attention"
        }
        "LayerNormalization" | "GroupNormalization" => {
            "it normalizes by each image's own mean and deviation, which constant factors per \
             channel cannot replace: train the network with batch norms"
        }
        "Lambda" | "TFOpLambda" => return own_code(class),
        _ => EXPORT,
    };
    Problem::UnsupportedOperator { op: class.into(), remedy: remedy.into() }
}

impl Walk {
    /// The input of a call that has only one.
    fn only<'c>(&self, call: &'c Call<'_>) -> Result<&'c Map, Problem> {
        match &call.inputs[..] {
            [one] => Ok(one),
            several => {
                Err(super::corrupt(format!("{} with {} inputs", call.layer.class, several.len())))
            }
        }
    }

    /// Appends a node, whose output has as many dimensions as the input.
    fn push(
        &mut self,
        op: Op,
        inputs: &[NodeId],
        call: &Call<'_>,
        dimensions: usize,
    ) -> Result<Map, Problem> {
        let network: &mut Network = self.network()?;
        let node = network.push(op, inputs, call.layer.name)?;
        Ok(Map { view: View::new(node, network.nodes[node].shape), dimensions })
    }

    /// Appends an operator that keeps the shape.
    fn elementwise(&mut self, op: Op, map: &Map, call: &Call<'_>) -> Result<Map, Problem> {
        let node = self.settle(map, call.layer.name)?;
        self.push(op, &[node], call, map.dimensions)
    }
}
