//! Untrained networks of other families, for building, planning and measuring.
//!
//! | name | source |
//! |---|---|
//! | `densenet40` | Huang et al. 2017, DenseNet-BC, L = 40, k = 12, compression ½ |
//! | `highway20` | Srivastava et al. 2015, convolutions whose output is gated by another's |
//! | `mobilenetv2-35` | Sandler et al. 2018, width 0.35 |
//! | `resnet18d` | He et al. 2019, "Bag of Tricks", section 4.2: a stem of three, averages in shortcuts |
//! | `se-resnet20` | Hu et al. 2018: each block's output weighed by channel |
//! | `resnext20` | Xie et al. 2017: bottlenecks with eight groups |

use super::builder::{Builder, Layer};
use crate::error::LayerProblem;
use crate::network::{AveragePool, BatchNorm, Function, NodeId, Op, Window};

/// Number of channels that a layer of a DenseNet adds.
const GROWTH: usize = 12;
/// Number of groups of a ResNeXt's convolutions.
const GROUPS: usize = 8;
/// Factor by which squeeze-and-excite reduces the channels inside.
const REDUCTION: usize = 4;

/// The stages of MobileNetV2: expansion, channels at width 1, blocks, stride.
const MOBILE: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// Number of channels at a width of 0.35: a multiple of eight, and not less than nine tenths of
/// that.
fn narrow(channels: usize) -> usize {
    let exact = channels as f64 * 0.35;
    let rounded = ((exact + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * exact { rounded + 8 } else { rounded }
}

impl Builder {
    /// Three blocks with transitions in between; each layer reads the outputs of all layers before
    /// it in its block.
    pub(super) fn dense(&mut self, width: usize, stages: &[usize]) -> Result<NodeId, LayerProblem> {
        let mut x = self.layer(0, "conv1", None, Layer::new(width, 3))?;
        for (stage, &layers) in stages.iter().enumerate() {
            for layer in 0..layers {
                let key = |part: &str| format!("block{}.{layer}.{part}", stage + 1);
                let inner = self.norm_relu(x, &key("bn1"))?;
                let inner = self.layer(inner, &key("conv1"), None, Layer::new(4 * GROWTH, 1))?;
                let inner = self.norm_relu(inner, &key("bn2"))?;
                let inner = self.layer(inner, &key("conv2"), None, Layer::new(GROWTH, 3))?;
                x = self.push(Op::Concat, &[x, inner], &key("concat"))?;
            }
            if stage + 1 < stages.len() {
                let key = |part: &str| format!("trans{}.{part}", stage + 1);
                let out = self.channels(x) / 2;
                let inner = self.norm_relu(x, &key("bn1"))?;
                let inner = self.layer(inner, &key("conv1"), None, Layer::new(out, 1))?;
                x = self.halved(inner, &key("pool"))?;
            }
        }
        self.norm_relu(x, "bn")
    }

    /// Layers x + T · (H − x), where H is a convolution, and T the sigmoid of another.
    pub(super) fn highway(
        &mut self,
        width: usize,
        stages: &[usize],
    ) -> Result<NodeId, LayerProblem> {
        let mut x = 0;
        for (stage, &layers) in stages.iter().enumerate() {
            let stride = if stage == 0 { 1 } else { 2 };
            let (conv, norm) = (format!("conv{}", stage + 1), format!("bn{}", stage + 1));
            let into = Layer { stride, ..Layer::new(width << stage, 3) };
            let inner = self.layer(x, &conv, Some(&norm), into)?;
            x = self.relu(inner)?;
            for layer in 0..layers {
                x = self.highway_layer(x, &format!("layer{}.{layer}", stage + 1))?;
            }
        }
        Ok(x)
    }

    fn highway_layer(&mut self, x: NodeId, prefix: &str) -> Result<NodeId, LayerProblem> {
        let key = |part: &str| format!("{prefix}.{part}");
        let channels = self.channels(x);
        let made = self.layer(x, &key("conv"), Some(&key("bn")), Layer::new(channels, 3))?;
        let made = self.relu(made)?;
        let gate = self.layer(x, &key("gate"), Some(&key("gate_bn")), Layer::new(channels, 3))?;
        let gate = self.push(Op::Function(Function::Sigmoid), &[gate], &key("sigmoid"))?;
        let negative = BatchNorm::affine_of(&[-1.0], &[0.0], channels);
        let negative = self.push(Op::BatchNorm(negative), &[x], &key("negative"))?;
        let change = self.push(Op::Add, &[made, negative], &key("change"))?;
        let carried = self.push(Op::Multiply, &[change, gate], &key("carried"))?;
        self.push(Op::Add, &[carried, x], &key("add"))
    }

    /// Inverted residuals.
    pub(super) fn mobile(&mut self) -> Result<NodeId, LayerProblem> {
        let stem = Layer { stride: 2, ..Layer::new(narrow(32), 3) };
        let stem = self.layer(0, "features.0.0", Some("features.0.1"), stem)?;
        let mut x = self.relu6(stem)?;
        let mut number = 1;
        for [expansion, channels, blocks, stride] in MOBILE {
            for block in 0..blocks {
                let stride = if block == 0 { stride } else { 1 };
                let prefix = format!("features.{number}");
                x = self.inverted(x, &prefix, expansion, narrow(channels), stride)?;
                number += 1;
            }
        }
        let (conv, norm) = (format!("features.{number}.0"), format!("features.{number}.1"));
        // The width of the last layer is not reduced.
        let last = self.layer(x, &conv, Some(&norm), Layer::new(1280, 1))?;
        self.relu6(last)
    }

    fn inverted(
        &mut self,
        x: NodeId,
        prefix: &str,
        expansion: usize,
        out: usize,
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        let key = |part: &str| format!("{prefix}.{part}");
        let channels = self.channels(x);
        let inner = expansion * channels;
        let mut main = x;
        if expansion > 1 {
            main = self.layer(main, &key("expand"), Some(&key("bn1")), Layer::new(inner, 1))?;
            main = self.relu6(main)?;
        }
        let depthwise = Layer { stride, groups: inner, ..Layer::new(inner, 3) };
        main = self.layer(main, &key("depthwise"), Some(&key("bn2")), depthwise)?;
        main = self.relu6(main)?;
        main = self.layer(main, &key("project"), Some(&key("bn3")), Layer::new(out, 1))?;
        match stride == 1 && channels == out {
            true => self.push(Op::Add, &[main, x], &key("add")),
            false => Ok(main),
        }
    }

    /// A stem of three convolutions instead of a large one.
    pub(super) fn deep_stem(&mut self, width: usize) -> Result<NodeId, LayerProblem> {
        let mut x = 0;
        for (index, channels) in [width / 2, width / 2, width].into_iter().enumerate() {
            let stride = if index == 0 { 2 } else { 1 };
            let (conv, norm) = (format!("conv1.{}", 3 * index), format!("conv1.{}", 3 * index + 1));
            x = self.layer(x, &conv, Some(&norm), Layer { stride, ..Layer::new(channels, 3) })?;
            x = self.relu(x)?;
        }
        Ok(x)
    }

    /// Means of two by two pixels.
    pub(super) fn halved(&mut self, x: NodeId, name: &str) -> Result<NodeId, LayerProblem> {
        let window = Window { kernel: [2, 2], stride: [2, 2], pads: [0; 4] };
        self.push(Op::AveragePool(AveragePool { window, counted: [0; 4] }), &[x], name)
    }

    /// Squeeze-and-excite: scales each channel by a factor that is computed from the means of all
    /// channels.
    pub(super) fn squeezed(&mut self, x: NodeId, prefix: &str) -> Result<NodeId, LayerProblem> {
        let key = |part: &str| format!("{prefix}.{part}");
        let channels = self.channels(x);
        let mean = self.push(Op::GlobalAveragePool, &[x], &key("pool"))?;
        let inner = self.layer(mean, &key("fc1"), None, Layer::new(channels / REDUCTION, 1))?;
        let inner = self.relu(inner)?;
        let gate = self.layer(inner, &key("fc2"), None, Layer::new(channels, 1))?;
        let gate = self.push(Op::Function(Function::Sigmoid), &[gate], &key("sigmoid"))?;
        self.push(Op::Multiply, &[x, gate], &key("scale"))
    }

    /// A bottleneck with groups, which has half as many channels inside.
    pub(super) fn aggregated(
        &mut self,
        x: NodeId,
        prefix: &str,
        out: usize,
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        let key = |part: &str| format!("{prefix}.{part}");
        let inner = out / 2;
        let main = self.layer(x, &key("conv1"), Some(&key("bn1")), Layer::new(inner, 1))?;
        let main = self.relu(main)?;
        let grouped = Layer { stride, groups: GROUPS, ..Layer::new(inner, 3) };
        let main = self.layer(main, &key("conv2"), Some(&key("bn2")), grouped)?;
        let main = self.relu(main)?;
        let main = self.layer(main, &key("conv3"), Some(&key("bn3")), Layer::new(out, 1))?;
        let mut shortcut = x;
        if stride > 1 || self.channels(x) != out {
            let projection = Layer { stride, ..Layer::new(out, 1) };
            let (conv, norm) = (key("downsample.0"), key("downsample.1"));
            shortcut = self.layer(x, &conv, Some(&norm), projection)?;
        }
        let sum = self.push(Op::Add, &[main, shortcut], &key("add"))?;
        self.relu(sum)
    }

    fn relu6(&mut self, x: NodeId) -> Result<NodeId, LayerProblem> {
        let name = format!("{}.relu6", self.network_so_far().nodes[x].source);
        self.push(Op::Relu6, &[x], &name)
    }

    fn channels(&self, x: NodeId) -> usize {
        self.network_so_far().nodes[x].shape[2]
    }
}
