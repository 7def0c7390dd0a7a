//! Fills a structure with weights.

use ndarray::{ArrayD, Ix1, Ix2};

use super::table::{Arch, Blocks, Family};
use super::variant::{ShortcutOption, Stem, StrideIn, Variant};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::network::{BatchNorm, Conv, Network, NodeId, Op, Subsample, Window, ohwi};
use crate::weights::{Maker, Tensors, Weights};

/// PyTorch's default epsilon of batch norms.
const EPS: f32 = 1e-5;

impl Arch {
    /// Names and weights of an untrained network for `classes` classes, for building, planning and
    /// measuring without trained weights.
    ///
    /// The same seed gives the same weights.
    ///
    /// Weights are normally distributed after He et al. 2015 ("Delving Deep into Rectifiers",
    /// section 2.2), with batch norms that change nothing. Only the last layer of each residual
    /// block scales by 1 / √blocks: without training, nothing else keeps the outputs of a thousand
    /// blocks from adding up.
    pub fn new_weights(
        self,
        variant: Variant,
        input: Option<[usize; 2]>,
        classes: usize,
        seed: u64,
    ) -> Result<Weights, LayerProblem> {
        // In pre-activation networks it is the last convolution of a block, as no batch norm
        // follows it.
        let last = if self.family.has_bottlenecks() { 3 } else { variant.convs() };
        let part = if self.blocks == Blocks::PreActivation { "conv" } else { "bn" };
        let last_of_blocks =
            (self.blocks != Blocks::Plain).then(|| format!(".{part}{last}.weight"));
        let blocks = self.stages.iter().sum();
        let tensors = Tensors::made(Maker::new(classes, seed, blocks, last_of_blocks));
        let mut builder = Builder::new(self, variant, tensors, input)?;
        builder.network()?;
        Ok(builder.tensors.into_made())
    }

    /// The network with these weights, in canonical form.
    pub(crate) fn build(
        self,
        variant: Variant,
        tensors: Tensors,
        input: Option<[usize; 2]>,
    ) -> Result<Network, LayerProblem> {
        let mut builder = Builder::new(self, variant, tensors, input)?;
        let output = builder.network()?;
        if let Some(key) = builder.tensors.names().next() {
            let others = builder.tensors.names().len() - 1;
            return Err(Problem::LeftOver { arch: self.name.into(), others }).at(key);
        }
        builder.network.canonical(&[(output, "logits".to_owned())])
    }
}

/// A convolution to build.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    /// Output channels.
    pub(super) out: usize,
    /// Rows and columns of the kernel.
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) groups: usize,
}

impl Layer {
    /// A convolution with stride 1 and one group.
    pub(super) fn new(out: usize, kernel: usize) -> Self {
        Self { out, kernel, stride: 1, groups: 1 }
    }
}

/// A network that is being built from the tensors of a file, or from new ones.
pub(super) struct Builder {
    arch: Arch,
    variant: Variant,
    tensors: Tensors,
    network: Network,
}

impl Builder {
    fn new(
        arch: Arch,
        mut variant: Variant,
        tensors: Tensors,
        input: Option<[usize; 2]>,
    ) -> Result<Self, LayerProblem> {
        arch.check(&variant)?;
        let has = |conv: &u8| tensors.has(&format!("layer1.0.conv{conv}.weight"));
        let named = (1..=u8::MAX).take_while(has).count() as u8;
        if variant.block_convs.is_none() && named > 0 {
            variant.block_convs = Some(named);
        }
        if variant.stem.is_none() && arch.has_stems() && tensors.rows("conv1.weight") == Some(3) {
            variant.stem = Some(Stem::Small);
        }
        let [height, width] = input.unwrap_or(arch.default_input(&variant));
        // Colours, or grey.
        let channels = tensors.image_channels().filter(|&channels| channels == 1).unwrap_or(3);
        let network = Network::new([height, width, channels], "input")?;
        Ok(Self { arch, variant, tensors, network })
    }

    fn network(&mut self) -> Result<NodeId, LayerProblem> {
        let Arch { family, width, stages, .. } = self.arch;
        let x = match family {
            Family::Dense => self.dense(width, stages)?,
            Family::Highway => self.highway(width, stages)?,
            Family::Mobile => self.mobile()?,
            _ => self.residual()?,
        };
        let x = self.network.push(Op::GlobalAveragePool, &[x], "avgpool").at("avgpool")?;
        self.fully_connected(x)
    }

    /// A stem, and stages of blocks.
    fn residual(&mut self) -> Result<NodeId, LayerProblem> {
        let Arch { family, width, stages, .. } = self.arch;
        let large = family.is_imagenet() && self.variant.stem != Some(Stem::Small);
        let (stem, stride) = if large { (7, 2) } else { (3, 1) };
        let before = self.arch.blocks == Blocks::PreActivation;
        let norm = if before { None } else { Some("bn1") };
        let mut x = match family {
            Family::Averaged => self.deep_stem(width)?,
            _ => self.conv_norm(0, "conv1", norm, width, stem, stride)?,
        };
        if !before && family != Family::Averaged {
            x = self.relu(x)?;
        }
        if large {
            let pool = Window { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1] };
            x = self.network.push(Op::MaxPool(pool), &[x], "maxpool").at("maxpool")?;
        }
        for (stage, &blocks) in stages.iter().enumerate() {
            for block in 0..blocks {
                let prefix = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = match family {
                    Family::Aggregated => self.aggregated(x, &prefix, width << stage, stride)?,
                    _ => self.block(x, &prefix, width << stage, stride)?,
                };
            }
        }
        // Some repositories end in the last sum.
        if before
            && (self.tensors.is_made() || self.tensors.names().any(|name| name.starts_with("bn.")))
        {
            x = self.norm_relu(x, "bn")?;
        }
        Ok(x)
    }

    /// A residual block of `width` channels; the output of a bottleneck has four times as many.
    fn block(
        &mut self,
        x: NodeId,
        prefix: &str,
        width: usize,
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        let key = |part: &str| format!("{prefix}.{part}");
        let bottleneck = self.arch.family.has_bottlenecks();
        let out = if bottleneck { 4 * width } else { width };
        let layers: Vec<(usize, usize, usize)> = if bottleneck {
            let [first, second] = match self.variant.stride_in {
                Some(StrideIn::First) => [stride, 1],
                Some(StrideIn::Second) => [1, stride],
                // The authors' pre-activation networks have it in the first convolution,
                // torchvision's others in the second.
                None if self.arch.blocks == Blocks::PreActivation => [stride, 1],
                None => [1, stride],
            };
            vec![(width, 1, first), (width, 3, second), (out, 1, 1)]
        } else {
            let stride = |conv| if conv == 0 { stride } else { 1 };
            (0..self.variant.convs()).map(|conv| (width, 3, stride(conv))).collect()
        };
        if self.arch.blocks == Blocks::PreActivation {
            return self.pre_activation_block(x, &key, &layers, stride);
        }
        let mut main = x;
        for (i, &(channels, kernel, stride)) in layers.iter().enumerate() {
            let (conv, norm) = (key(&format!("conv{}", i + 1)), key(&format!("bn{}", i + 1)));
            main = self.conv_norm(main, &conv, Some(&norm), channels, kernel, stride)?;
            if i + 1 < layers.len() {
                main = self.relu(main)?;
            }
        }
        if self.arch.blocks == Blocks::Plain {
            return self.relu(main);
        }
        if self.arch.family == Family::Squeezed {
            main = self.squeezed(main, &key("se"))?;
        }
        let shortcut = self.shortcut(x, &key, out, stride)?;
        let name = key("add");
        let sum = self.network.push(Op::Add, &[main, shortcut], &name).at(&name)?;
        self.relu(sum)
    }

    /// A block with a batch norm and a ReLU before each convolution. If the shape changes, the
    /// shortcut begins after the first ReLU, as in the authors' code.
    fn pre_activation_block(
        &mut self,
        x: NodeId,
        key: &impl Fn(&str) -> String,
        layers: &[(usize, usize, usize)],
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        let out = layers.last().map_or(0, |layer| layer.0);
        let changes = stride != 1 || self.network.nodes[x].shape[2] != out;
        let (mut main, mut fork) = (x, x);
        for (i, &(channels, kernel, stride)) in layers.iter().enumerate() {
            main = self.norm_relu(main, &key(&format!("bn{}", i + 1)))?;
            if i == 0 && changes {
                fork = main;
            }
            let conv = key(&format!("conv{}", i + 1));
            main = self.conv_norm(main, &conv, None, channels, kernel, stride)?;
        }
        let shortcut = self.shortcut(fork, key, out, stride)?;
        let name = key("add");
        self.network.push(Op::Add, &[main, shortcut], &name).at(&name)
    }

    /// The shortcut of a block.
    fn shortcut(
        &mut self,
        x: NodeId,
        key: &impl Fn(&str) -> String,
        out: usize,
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        let family = self.arch.family;
        let channels = self.network.nodes[x].shape[2];
        let changes = stride != 1 || channels != out;
        let named = ["downsample", "shortcut"]
            .map(key)
            .into_iter()
            .find(|name| self.tensors.has(&format!("{name}.0.weight")));
        let projects = match self.variant.shortcut {
            Some(ShortcutOption::A) => false,
            Some(ShortcutOption::B) => changes,
            Some(ShortcutOption::C) => true,
            None => {
                let options = [Family::Cifar, Family::Squeezed];
                named.is_some() || changes && !options.contains(&family)
            }
        };
        if projects {
            let name = named.unwrap_or_else(|| key("downsample"));
            let (mut x, mut stride) = (x, stride);
            if family == Family::Averaged && stride > 1 {
                (x, stride) = (self.halved(x, &format!("{name}.pool"))?, 1);
            }
            let normalized = family != Family::MlPerf && self.arch.blocks == Blocks::Residual;
            let norm = normalized.then(|| format!("{name}.1"));
            return self.conv_norm(x, &format!("{name}.0"), norm.as_deref(), out, 1, stride);
        }
        if !changes {
            return Ok(x);
        }
        let before = (out - channels) / 2;
        let subsample = Subsample {
            stride: [stride, stride],
            channels_before: before,
            channels_after: out - channels - before,
        };
        let name = key("shortcut");
        self.network.push(Op::Subsample(subsample), &[x], &name).at(&name)
    }

    pub(super) fn relu(&mut self, x: NodeId) -> Result<NodeId, LayerProblem> {
        let name = format!("{}.relu", self.network.nodes[x].source);
        self.network.push(Op::Relu, &[x], &name).at(&name)
    }

    /// The network so far.
    pub(super) fn network_so_far(&self) -> &Network {
        &self.network
    }

    /// Appends a node.
    pub(super) fn push(
        &mut self,
        op: Op,
        inputs: &[NodeId],
        name: &str,
    ) -> Result<NodeId, LayerProblem> {
        self.network.push(op, inputs, name).at(name)
    }

    /// A convolution of one group, and its batch norm.
    fn conv_norm(
        &mut self,
        x: NodeId,
        conv: &str,
        norm: Option<&str>,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<NodeId, LayerProblem> {
        self.layer(x, conv, norm, Layer { stride, ..Layer::new(out, kernel) })
    }

    /// A convolution, padded to keep the size (at stride 1), and its batch norm.
    pub(super) fn layer(
        &mut self,
        x: NodeId,
        conv: &str,
        norm: Option<&str>,
        Layer { out, kernel, stride, groups }: Layer,
    ) -> Result<NodeId, LayerProblem> {
        let channels = self.network.nodes[x].shape[2] / groups;
        let weights = self.take(&format!("{conv}.weight"), &[out, channels, kernel, kernel])?;
        let bias = if self.arch.family.has_biases() {
            self.take(&format!("{conv}.bias"), &[out])?.into_raw_vec_and_offset().0
        } else {
            vec![0.0; out]
        };
        let op = Op::Conv(Conv {
            weights: ohwi(weights),
            bias,
            stride: [stride, stride],
            pads: [kernel / 2; 4],
            dilation: [1, 1],
            groups,
            fully_connected: false,
        });
        let y = self.network.push(op, &[x], conv).at(conv)?;
        match norm {
            Some(norm) => self.norm(y, norm),
            None => Ok(y),
        }
    }

    pub(super) fn norm_relu(&mut self, x: NodeId, norm: &str) -> Result<NodeId, LayerProblem> {
        let y = self.norm(x, norm)?;
        self.relu(y)
    }

    fn norm(&mut self, x: NodeId, norm: &str) -> Result<NodeId, LayerProblem> {
        let channels = self.network.nodes[x].shape[2];
        let mut vector = |part: &str| {
            let tensor = self.take(&format!("{norm}.{part}"), &[channels])?;
            Ok::<_, LayerProblem>(tensor.into_raw_vec_and_offset().0)
        };
        let op = Op::BatchNorm(BatchNorm {
            scale: vector("weight")?,
            shift: vector("bias")?,
            mean: vector("running_mean")?,
            var: vector("running_var")?,
            eps: EPS,
        });
        self.network.push(op, &[x], norm).at(norm)
    }

    fn fully_connected(&mut self, x: NodeId) -> Result<NodeId, LayerProblem> {
        let channels = self.network.nodes[x].shape[2];
        let names = ["fc", "linear"];
        let name = names.into_iter().find(|name| self.tensors.has(&format!("{name}.weight")));
        let name = name.unwrap_or(if self.arch.family.is_imagenet() { "fc" } else { "linear" });
        let key = format!("{name}.weight");
        // The file gives the number of classes.
        let classes = self.tensors.outputs(&key).unwrap_or(0);
        let weights = self.take(&key, &[classes, channels])?;
        let weights = weights.into_dimensionality::<Ix2>().expect("its shape was checked");
        let bias = self.take(&format!("{name}.bias"), &[classes])?;
        let bias = bias.into_dimensionality::<Ix1>().expect("its shape was checked");
        let op = Op::Conv(Conv {
            weights: weights
                .into_shape_with_order((classes, 1, 1, channels))
                .expect("as many elements"),
            bias: bias.to_vec(),
            stride: [1, 1],
            pads: [0; 4],
            dilation: [1, 1],
            groups: 1,
            fully_connected: true,
        });
        self.network.push(op, &[x], name).at(name)
    }

    /// Takes the tensor of this key, which must have this shape.
    fn take(&mut self, key: &str, shape: &[usize]) -> Result<ArrayD<f32>, LayerProblem> {
        let arch = self.arch.name.to_owned();
        let Some(tensor) = self.tensors.take(key, shape) else {
            let mut names: Vec<_> = self.tensors.names().take(4).cloned().collect();
            if self.tensors.names().len() > names.len() {
                names.push("…".into());
            }
            let holds = if names.is_empty() { "nothing more".into() } else { names.join(", ") };
            return Err(Problem::MissingTensor { arch, holds }).at(key);
        };
        if tensor.shape() != shape {
            let (found, expected) = (tensor.shape().to_vec(), format!("{shape:?}"));
            return Err(Problem::TensorShape { arch, found, expected }).at(key);
        }
        Ok(tensor)
    }
}
