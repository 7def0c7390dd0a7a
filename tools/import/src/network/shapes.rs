//! Infers the shapes of outputs, and checks those of operands.

use ndarray::Array4;

use super::float::{Conv, Network, Node, Op};
use super::function::Function;
use super::geometry::{
    Border, MAX_KERNEL, MAX_NODES, NodeId, Repeats, Shape, Window, check_extents, mismatch,
    window_output,
};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};

impl Network {
    /// Appends a node and returns its id; refuses shapes that do not match.
    ///
    /// A residual block of one convolution, and a classifier:
    ///
    /// ```
    /// use brooklet_import::network::{Conv, Network, Op};
    /// use ndarray::Array4;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let conv = |outputs, kernel, inputs, pad| {
    ///     Op::Conv(Conv {
    ///         weights: Array4::from_elem((outputs, kernel, kernel, inputs), 0.125), // OHWI
    ///         bias: vec![0.5; outputs],
    ///         stride: [1, 1],
    ///         pads: [pad; 4],
    ///         dilation: [1, 1],
    ///         groups: 1,
    ///         fully_connected: false,
    ///     })
    /// };
    /// let mut network = Network::new([16, 16, 3], "image")?; // node 0
    /// let stem = network.push(conv(8, 3, 3, 1), &[0], "stem")?;
    /// let inner = network.push(conv(8, 3, 8, 1), &[stem], "inner")?;
    /// let sum = network.push(Op::Add, &[inner, stem], "sum")?;
    /// let pool = network.push(Op::GlobalAveragePool, &[sum], "pool")?;
    /// let logits = network.push(conv(10, 1, 8, 0), &[pool], "logits")?;
    /// assert_eq!(network.nodes[sum].shape, [16, 16, 8]);
    /// // An addition of other shapes is refused.
    /// assert!(network.push(Op::Add, &[sum, pool], "wrong").is_err());
    ///
    /// let network = network.canonical(&[(logits, "scores".into())]);
    /// let network = network.map_err(|problem| problem.in_file("made by hand".as_ref()))?;
    /// assert_eq!(network.nodes[network.logits()].shape, [1, 1, 10]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn push(&mut self, op: Op, inputs: &[NodeId], source: &str) -> Result<NodeId, Problem> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.nodes[id].shape).collect();
        let shape = output_shape(&op, &shapes)?;
        if self.nodes.len() >= MAX_NODES {
            return Err(unsupported(
                format!("the network has more than {MAX_NODES} layers"),
                "the model format cannot number more layers",
            ));
        }
        self.nodes.push(Node {
            name: source.into(),
            source: source.into(),
            op,
            inputs: inputs.to_vec(),
            shape,
            statistics: None,
        });
        Ok(self.nodes.len() - 1)
    }
}

impl Network {
    /// The map `part`, repeated along the axes in which it has one row, column or channel, to the shape
    /// of the map `whole`.
    pub(crate) fn enlarged(
        &mut self,
        part: NodeId,
        whole: NodeId,
        source: &str,
    ) -> Result<NodeId, Problem> {
        let to = self.nodes[whole].shape;
        let from = self.nodes[part].shape;
        if from == to {
            return Ok(part);
        }
        let refuse = || {
            unsupported(
                format!("combines maps of shapes {to:?} and {from:?} (height, width, channels)"),
                "maps of one shape can be combined, or a map with one row, column or channel",
            )
        };
        if (0..3).any(|axis| from[axis] != to[axis] && from[axis] != 1) {
            return Err(refuse());
        }
        let mut node = part;
        if from[2] != to[2] {
            node = self.push(Op::Conv(Conv::spreading(to[2])), &[node], source)?;
        }
        if from[..2] == to[..2] {
            return Ok(node);
        }
        if from[..2] == [1, 1] {
            // A map of ones, times one value per channel.
            let ones = Op::Function(Function::Clip { min: 1.0, max: 1.0 });
            let ones = self.push(ones, &[whole], source)?;
            return self.push(Op::Multiply, &[ones, node], source);
        }
        // A kernel of ones that meets the row or column at each place.
        let kernel = [0, 1].map(|axis| match from[axis] == to[axis] {
            true => 1,
            false => to[axis].min(MAX_KERNEL),
        });
        let [below, right] = kernel.map(|size| size - 1);
        let weights = Array4::ones((to[2], kernel[0], kernel[1], 1));
        let pads = [below, right, below, right];
        let conv = Conv { weights, ..Conv::padding(to[2], pads) };
        node = self.push(Op::Conv(conv), &[node], source)?;
        // Maxima on padding repeat the rows and columns further.
        while self.nodes[node].shape != to {
            let size = self.nodes[node].shape;
            let more = [0, 1].map(|axis| (to[axis] - size[axis]).min(MAX_KERNEL - 1));
            let kernel = more.map(|more| more + 1);
            let window =
                Window { kernel, stride: [1, 1], pads: [more[0], more[1], more[0], more[1]] };
            node = self.push(Op::MaxPool(window), &[node], source)?;
        }
        Ok(node)
    }

    /// The same network for images of another height and width; pads stay as they are.
    ///
    /// # Errors
    ///
    /// An error for the first layer that the maps no longer fit, or for an output that would have
    /// another shape, as that of a layer whose kernel is as large as its map.
    pub fn resized(mut self, [height, width]: [usize; 2]) -> Result<Network, LayerProblem> {
        let remedy = "export the network again with another input, or leave out --input";
        self.input = [height, width, self.input[2]];
        check_extents(&self.input, "input size")?;
        for id in 0..self.nodes.len() {
            let shapes: Vec<Shape> =
                self.nodes[id].inputs.iter().map(|&input| self.nodes[input].shape).collect();
            let node = &self.nodes[id];
            let shape = match node.op {
                Op::Input => self.input,
                _ => output_shape(&node.op, &shapes).at(&node.source)?,
            };
            if shape != node.shape && self.outputs.iter().any(|output| output.node == id) {
                let what = format!(
                    "the output is {:?} (height, width, channels), and with an input of \
                     {height}×{width} would be {shape:?}",
                    node.shape,
                );
                return Err(unsupported(what, remedy)).at(&node.source);
            }
            self.nodes[id].shape = shape;
        }
        Ok(self)
    }
}

/// Shape of the output of `op` for inputs of these shapes.
fn output_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, Problem> {
    let arity = match op {
        Op::Input => 0,
        Op::Add | Op::Multiply => 2,
        Op::Concat => inputs.len().max(1),
        _ => 1,
    };
    if inputs.len() != arity {
        return Err(mismatch(format!("takes {arity} inputs, but has {}", inputs.len())));
    }
    let Some(&input) = inputs.first() else {
        return Err(mismatch("a network has one input".into()));
    };
    let [height, width, channels] = input;
    match op {
        Op::Conv(conv) => {
            let (out, kernel_height, kernel_width, depth) = conv.weights.dim();
            let groups = conv.groups;
            if groups == 0 || channels != depth.saturating_mul(groups) {
                let of = if groups == 1 { String::new() } else { format!("{groups} groups of ") };
                return Err(mismatch(format!(
                    "its weights are for {of}{depth} input channels, but the input has {channels}"
                )));
            }
            if out % groups != 0 {
                return Err(mismatch(format!("has {out} output channels in {groups} groups")));
            }
            if conv.bias.len() != out {
                return Err(mismatch(format!(
                    "has {out} output channels, but {} biases",
                    conv.bias.len()
                )));
            }
            check_extents(&conv.dilation, "dilation")?;
            let kernel = [kernel_height, kernel_width];
            let kernel = std::array::from_fn(|side| dilated(kernel[side], conv.dilation[side]));
            window_output(input, out, kernel, conv.stride, conv.pads)
        }
        Op::BatchNorm(norm) => {
            let lengths = [&norm.scale, &norm.shift, &norm.mean, &norm.var].map(Vec::len);
            if lengths.iter().any(|&length| length != channels) {
                return Err(mismatch(format!(
                    "has parameters for {lengths:?} channels, but the input has {channels}"
                )));
            }
            Ok(input)
        }
        Op::Add if inputs[0] != inputs[1] => Err(mismatch(format!(
            "adds maps of different shapes, {:?} and {:?} (height, width, channels)",
            inputs[0], inputs[1]
        ))),
        Op::PRelu(slopes) if slopes.len() != channels => Err(mismatch(format!(
            "has {} slopes, but the input has {channels} channels",
            slopes.len()
        ))),
        Op::Multiply if inputs[1] != input && inputs[1] != [1, 1, channels] => {
            Err(mismatch(format!(
                "multiplies maps of shapes {input:?} and {:?} (height, width, channels)",
                inputs[1]
            )))
        }
        Op::Concat => {
            if let Some(other) = inputs.iter().find(|other| other[..2] != input[..2]) {
                return Err(mismatch(format!(
                    "joins channels of maps of shapes {input:?} and {other:?} (height, width, \
                     channels)"
                )));
            }
            let channels = inputs.iter().fold(0usize, |sum, map| sum.saturating_add(map[2]));
            check_extents(&[channels], "output")?;
            Ok([height, width, channels])
        }
        Op::Border(Border { pads, repeats }) => {
            let [top, left, bottom, right] = *pads;
            let most = usize::from(*repeats == Repeats::Mirrored);
            if top.max(bottom) + most > height || left.max(right) + most > width {
                return Err(mismatch(format!(
                    "a border of {pads:?} (top, left, bottom, right) repeats more than the map of \
                     {height}×{width} has"
                )));
            }
            let shape = [height + top + bottom, width + left + right, channels];
            check_extents(&shape, "output")?;
            Ok(shape)
        }
        Op::AveragePool(pool) => {
            let window = pool.window;
            window_output(input, channels, window.kernel, window.stride, window.pads)
        }
        Op::Subsample(subsample) => {
            check_extents(&subsample.stride, "stride")?;
            let added = [subsample.channels_before, subsample.channels_after, channels];
            let shape = [
                height.div_ceil(subsample.stride[0]),
                width.div_ceil(subsample.stride[1]),
                added.iter().fold(0usize, |sum, &n| sum.saturating_add(n)),
            ];
            check_extents(&shape, "output")?;
            Ok(shape)
        }
        Op::MaxPool(window) => {
            window_output(input, channels, window.kernel, window.stride, window.pads)
        }
        Op::GlobalAveragePool => Ok([1, 1, channels]),
        _ => Ok(input),
    }
}

/// Rows or columns that a dilated kernel covers.
pub(crate) fn dilated(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Imported, Options, load};

    /// A network that is resized equals one that is built for that size.
    #[test]
    fn another_input_is_another_network_of_the_same_weights() {
        let made = |input| {
            let arch = Some("resnet20".parse::<Arch>().unwrap());
            let options = Options { arch, input, ..Options::default() };
            match load("../demo/resnet20.safetensors", &options).unwrap() {
                Imported::Float(network) => network,
                Imported::Quantized(_) => panic!("its weights are float"),
            }
        };
        let resized = made(None).resized([24, 20]).unwrap();
        assert!(resized == made(Some([24, 20])));
        assert_eq!(resized.nodes[1].shape, [24, 20, 16]);
        // After a kernel without padding nothing is left of an image this small.
        let mut alone = Network::new([8, 8, 1], "x").unwrap();
        let window = Window { kernel: [8, 8], stride: [1, 1], pads: [0; 4] };
        alone.push(Op::MaxPool(window), &[0], "pool").unwrap();
        let alone = alone.canonical(&[(1, "pool".into())]).unwrap();
        assert!(alone.clone().resized([8, 8]).unwrap() == alone);
        for size in [[4, 8], [9, 9]] {
            let refused = alone.clone().resized(size).unwrap_err();
            assert_eq!(refused.layer.as_deref(), Some("pool"), "{refused:?}");
        }
    }
}
