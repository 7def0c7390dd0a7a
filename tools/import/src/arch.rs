//! The structures that `--arch` names, to be filled with named weights.
//!
//! The ImageNet and CIFAR ResNets of He et al. 2015 (sections 4.1 and 4.2), MXNet's
//! `resnet-28-small` and MLPerf Tiny's, with the keys that torchvision and akamaster's
//! pytorch_resnet_cifar10 give to their tensors. Whether shortcuts are projections, and how many
//! convolutions a block has, is read from the keys.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ndarray::{Array4, ArrayD, Ix1, Ix2, Ix4};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{AtLayer, Fault, Problem};
use crate::network::{BatchNorm, Conv, Network, NodeId, Op, Subsample, Window};

/// What PyTorch adds to a variance unless told otherwise.
const EPS: f32 = 1e-5;

/// A known network structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    name: &'static str,
    family: Family,
    blocks: Blocks,
    /// Channels of the first stage; they double from stage to stage.
    width: usize,
    /// Blocks in each stage.
    stages: &'static [usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// With a shortcut around each.
    Residual,
    /// The same, with batch norm and ReLU before the convolutions: the authors' follow-up.
    PreActivation,
    /// The plain networks that the paper compares with: no shortcuts.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// 3×3 stem, basic blocks, 32×32.
    Cifar,
    /// The same with bottleneck blocks, of four times as many channels.
    CifarBottleneck,
    /// The same for 28×28, with biases before the batch norms and 1×1 projections.
    Mxnet,
    /// The same for 32×32, and no batch norm after the projections.
    MlPerf,
    /// 7×7 stem and pooling, basic blocks.
    Basic,
    /// The same stem, bottleneck blocks, of four times as many channels.
    Bottleneck,
}

impl Family {
    fn has_bottlenecks(self) -> bool {
        matches!(self, Self::Bottleneck | Self::CifarBottleneck)
    }

    fn is_imagenet(self) -> bool {
        matches!(self, Self::Basic | Self::Bottleneck)
    }

    /// Whether convolutions have biases, batch norm or not.
    fn has_biases(self) -> bool {
        matches!(self, Self::Mxnet | Self::MlPerf)
    }
}

/// What a network may do otherwise than its architecture was published with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// Shortcuts of the paper's section 3.3: a: where shapes change, subsampled, with channels of
    /// zeros; b: projections there; c: projections everywhere. Default: as published, or as
    /// the weights' names say.
    pub shortcut: Option<ShortcutOption>,
    /// Where a bottleneck has its stride: in the first 1x1 as in the paper, or in the 3x3 as in
    /// torchvision.
    pub stride_in: Option<StrideIn>,
    /// Convolutions under a shortcut. Default: two, or as the weights' names say.
    pub block_convs: Option<u8>,
}

/// Shortcuts, as the paper's section 3.3 tells them apart.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumMessage,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case", ascii_case_insensitive)]
pub enum ShortcutOption {
    /// No weights: every so-many-th pixel, and channels of zeros.
    A,
    /// Projections where shapes change.
    B,
    /// Projections everywhere.
    C,
}

/// The convolution of a bottleneck that has its stride.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumMessage,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum StrideIn {
    /// The first, as in the paper.
    #[strum(serialize = "1x1")]
    First,
    /// The second, as in torchvision.
    #[strum(serialize = "3x3")]
    Second,
}

impl fmt::Display for Variant {
    /// As options of the command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shortcut) = self.shortcut {
            write!(f, " --shortcut {shortcut}")?;
        }
        if let Some(stride_in) = self.stride_in {
            write!(f, " --stride-in {stride_in}")?;
        }
        if let Some(convs) = self.block_convs {
            write!(f, " --block-convs {convs}")?;
        }
        Ok(())
    }
}

macro_rules! table {
    ($($name:literal $family:ident $blocks:ident $width:literal $stages:expr),* $(,)?) => {
        &[$(Arch {
            name: $name,
            family: Family::$family,
            blocks: Blocks::$blocks,
            width: $width,
            stages: &$stages,
        }),*]
    };
}

impl Arch {
    /// All that are known.
    pub const ALL: &'static [Arch] = table! {
        "resnet18" Basic Residual 64 [2, 2, 2, 2],
        "resnet34" Basic Residual 64 [3, 4, 6, 3],
        "resnet50" Bottleneck Residual 64 [3, 4, 6, 3],
        "resnet101" Bottleneck Residual 64 [3, 4, 23, 3],
        "resnet152" Bottleneck Residual 64 [3, 8, 36, 3],
        "resnet20" Cifar Residual 16 [3, 3, 3],
        "resnet32" Cifar Residual 16 [5, 5, 5],
        "resnet44" Cifar Residual 16 [7, 7, 7],
        "resnet56" Cifar Residual 16 [9, 9, 9],
        "resnet110" Cifar Residual 16 [18, 18, 18],
        "resnet1202" Cifar Residual 16 [200, 200, 200],
        "plain18" Basic Plain 64 [2, 2, 2, 2],
        "plain34" Basic Plain 64 [3, 4, 6, 3],
        "plain20" Cifar Plain 16 [3, 3, 3],
        "plain32" Cifar Plain 16 [5, 5, 5],
        "plain44" Cifar Plain 16 [7, 7, 7],
        "plain56" Cifar Plain 16 [9, 9, 9],
        "preact-resnet20" Cifar PreActivation 16 [3, 3, 3],
        "preact-resnet110" Cifar PreActivation 16 [18, 18, 18],
        "preact-resnet164" CifarBottleneck PreActivation 16 [18, 18, 18],
        "preact-resnet1001" CifarBottleneck PreActivation 16 [111, 111, 111],
        "mxnet-small20" Mxnet Residual 16 [3, 3, 3],
        "mxnet-small56" Mxnet Residual 16 [9, 9, 9],
        "resnet8" MlPerf Residual 16 [1, 1, 1],
        "resnet8-26" MlPerf Residual 26 [1, 1, 1],
    };

    /// Name, as `--arch` takes it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Height and width of the images that it was published for.
    pub fn default_input(self) -> [usize; 2] {
        match self.family {
            Family::Cifar | Family::CifarBottleneck | Family::MlPerf => [32, 32],
            Family::Mxnet => [28, 28],
            Family::Basic | Family::Bottleneck => [224, 224],
        }
    }

    /// Classes that it was published with.
    pub fn default_classes(self) -> u16 {
        if self.family.is_imagenet() { 1000 } else { 10 }
    }

    /// Whether there is such a variant.
    pub(crate) fn check(self, variant: &Variant) -> Result<(), Problem> {
        let bottleneck = self.family.has_bottlenecks();
        let wrong = |option, why| Err(Problem::NoVariant { arch: self.name.into(), option, why });
        match variant {
            Variant { shortcut: Some(_), .. } if self.blocks == Blocks::Plain => {
                wrong("--shortcut", "has no shortcuts")
            }
            Variant { stride_in: Some(_), .. } if !bottleneck => {
                wrong("--stride-in", "has no bottlenecks")
            }
            Variant { block_convs: Some(_), .. } if bottleneck => {
                wrong("--block-convs", "has bottlenecks, of three convolutions")
            }
            _ => Ok(()),
        }
    }

    /// All names, for messages.
    pub(crate) fn list() -> String {
        Arch::ALL.iter().map(|arch| arch.name).collect::<Vec<_>>().join(", ")
    }

    /// Names and weights of a network that was not trained, for `classes` classes: for building,
    /// planning and measuring where no trained weights are at hand. The same for the same seed.
    ///
    /// Normally distributed after He et al. 2015 ("Delving Deep into Rectifiers", section 2.2),
    /// with batch norms that do nothing yet. Only what is last in each residual block scales by
    /// 1 / √blocks: without training, nothing else keeps a thousand blocks from adding up.
    pub fn new_weights(
        self,
        variant: Variant,
        input: Option<[usize; 2]>,
        classes: usize,
        seed: u64,
    ) -> Result<Weights, Fault> {
        // A block's last convolution, of pre-activation networks: nothing scales behind it.
        let last = if self.family.has_bottlenecks() { 3 } else { variant.convs() };
        let part = if self.blocks == Blocks::PreActivation { "conv" } else { "bn" };
        let maker = Maker {
            classes,
            random: ChaCha8Rng::seed_from_u64(seed),
            last_scale: (self.stages.iter().sum::<usize>() as f32).sqrt().recip(),
            last_of_blocks: (self.blocks != Blocks::Plain).then(|| format!(".{part}{last}.weight")),
            made: Weights::new(),
        };
        let tensors = Tensors { map: Weights::new(), maker: Some(maker) };
        let mut builder = Builder::new(self, variant, tensors, input)?;
        builder.network()?;
        Ok(builder.tensors.maker.map(|maker| maker.made).unwrap_or_default())
    }

    /// The network with these weights, in canonical form.
    pub(super) fn build(
        self,
        variant: Variant,
        tensors: Tensors,
        input: Option<[usize; 2]>,
    ) -> Result<Network, Fault> {
        let mut builder = Builder::new(self, variant, tensors, input)?;
        let output = builder.network()?;
        if let Some(key) = builder.tensors.map.keys().next() {
            let others = builder.tensors.map.len() - 1;
            return Err(Problem::LeftOver { arch: self.name.into(), others }).at(key);
        }
        builder.network.canonical(output)
    }
}

impl FromStr for Arch {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Arch, Problem> {
        let known = Arch::ALL.iter().find(|arch| arch.name.eq_ignore_ascii_case(name));
        known.copied().ok_or_else(|| Problem::UnknownArch { name: name.into() })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Counters that PyTorch keeps with its batch norms and inference does not need.
pub(super) fn ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// Named weights.
pub(crate) type Weights = BTreeMap<String, ArrayD<f32>>;

/// Named weights, used up as the structure is filled; or made as it asks for them.
pub(super) struct Tensors {
    map: Weights,
    maker: Option<Maker>,
}

/// Makes the weights of [`Arch::new_weights`].
struct Maker {
    classes: usize,
    random: ChaCha8Rng,
    /// How the keys of what scales a block last end, and its scale.
    last_of_blocks: Option<String>,
    last_scale: f32,
    made: Weights,
}

impl Maker {
    fn make(&mut self, key: &str, shape: &[usize]) -> ArrayD<f32> {
        let part = key.rsplit('.').next().unwrap_or(key);
        let is_last = self.last_of_blocks.as_ref().is_some_and(|last| key.ends_with(last));
        let scale = if is_last { self.last_scale } else { 1.0 };
        let tensor = match (shape.len(), part) {
            (1, "weight") => ArrayD::from_elem(shape, scale),
            (1, "running_var") => ArrayD::ones(shape),
            (1, _) => ArrayD::zeros(shape),
            _ => {
                let inputs: usize = shape[1..].iter().product();
                let deviation = scale * (2.0 / inputs as f32).sqrt();
                ArrayD::from_shape_simple_fn(shape, || {
                    let number: f32 = StandardNormal.sample(&mut self.random);
                    deviation * number
                })
            }
        };
        self.made.insert(key.to_owned(), tensor.clone());
        tensor
    }
}

impl Tensors {
    /// Names lose the prefixes that PyTorch's wrappers (data parallel, compiled) put before all.
    pub(super) fn new(mut map: Weights) -> Tensors {
        for prefix in ["module.", "_orig_mod."] {
            if !map.is_empty() && map.keys().all(|name| name.starts_with(prefix)) {
                map = map.into_iter().map(|(name, t)| (name[prefix.len()..].into(), t)).collect();
            }
        }
        Tensors { map, maker: None }
    }

    fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }
}

impl Variant {
    fn convs(&self) -> usize {
        self.block_convs.map_or(2, usize::from)
    }
}

struct Builder {
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
    ) -> Result<Self, Fault> {
        arch.check(&variant)?;
        let has = |conv: &u8| tensors.has(&format!("layer1.0.conv{conv}.weight"));
        let named = (1..=u8::MAX).take_while(has).count() as u8;
        if variant.block_convs.is_none() && named > 0 {
            variant.block_convs = Some(named);
        }
        let [height, width] = input.unwrap_or(arch.default_input());
        Ok(Self { arch, variant, tensors, network: Network::new([height, width, 3], "input")? })
    }

    fn network(&mut self) -> Result<NodeId, Fault> {
        let Arch { family, width, stages, .. } = self.arch;
        let (stem, stride) = if family.is_imagenet() { (7, 2) } else { (3, 1) };
        let before = self.arch.blocks == Blocks::PreActivation;
        let norm = if before { None } else { Some("bn1") };
        let mut x = self.conv_norm(0, "conv1", norm, width, stem, stride)?;
        if !before {
            x = self.relu(x)?;
        }
        if family.is_imagenet() {
            let pool = Window { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1] };
            x = self.network.push(Op::MaxPool(pool), &[x], "maxpool").at("maxpool")?;
        }
        for (stage, &blocks) in stages.iter().enumerate() {
            for block in 0..blocks {
                let prefix = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block(x, &prefix, width << stage, stride)?;
            }
        }
        if before {
            x = self.norm_relu(x, "bn")?;
        }
        x = self.network.push(Op::GlobalAveragePool, &[x], "avgpool").at("avgpool")?;
        self.fully_connected(x)
    }

    /// A residual block of `width` channels (its output has four times as many in a bottleneck).
    fn block(
        &mut self,
        x: NodeId,
        prefix: &str,
        width: usize,
        stride: usize,
    ) -> Result<NodeId, Fault> {
        let key = |part: &str| format!("{prefix}.{part}");
        let bottleneck = self.arch.family.has_bottlenecks();
        let out = if bottleneck { 4 * width } else { width };
        let layers: Vec<(usize, usize, usize)> = if bottleneck {
            let [first, second] = match self.variant.stride_in {
                Some(StrideIn::First) => [stride, 1],
                Some(StrideIn::Second) => [1, stride],
                // As the authors' pre-activation networks, and as torchvision's others.
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
        let shortcut = self.shortcut(x, &key, out, stride)?;
        let name = key("add");
        let sum = self.network.push(Op::Add, &[main, shortcut], &name).at(&name)?;
        self.relu(sum)
    }

    /// Batch norm and ReLU stand before each convolution. Where the shape changes, the shortcut
    /// begins behind the first of them, as in the authors' code.
    fn pre_activation_block(
        &mut self,
        x: NodeId,
        key: &impl Fn(&str) -> String,
        layers: &[(usize, usize, usize)],
        stride: usize,
    ) -> Result<NodeId, Fault> {
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

    /// What is added to a block's main path.
    fn shortcut(
        &mut self,
        x: NodeId,
        key: &impl Fn(&str) -> String,
        out: usize,
        stride: usize,
    ) -> Result<NodeId, Fault> {
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
            None => named.is_some() || changes && family != Family::Cifar,
        };
        if projects {
            let name = named.unwrap_or_else(|| key("downsample"));
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

    fn relu(&mut self, x: NodeId) -> Result<NodeId, Fault> {
        let name = format!("{}.relu", self.network.nodes[x].source);
        self.network.push(Op::Relu, &[x], &name).at(&name)
    }

    /// A convolution, padded to keep the size (at stride 1), and its batch norm.
    fn conv_norm(
        &mut self,
        x: NodeId,
        conv: &str,
        norm: Option<&str>,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<NodeId, Fault> {
        let channels = self.network.nodes[x].shape[2];
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
            fully_connected: false,
        });
        let y = self.network.push(op, &[x], conv).at(conv)?;
        match norm {
            Some(norm) => self.norm(y, norm),
            None => Ok(y),
        }
    }

    fn norm_relu(&mut self, x: NodeId, norm: &str) -> Result<NodeId, Fault> {
        let y = self.norm(x, norm)?;
        self.relu(y)
    }

    fn norm(&mut self, x: NodeId, norm: &str) -> Result<NodeId, Fault> {
        let channels = self.network.nodes[x].shape[2];
        let mut vector = |part: &str| {
            let tensor = self.take(&format!("{norm}.{part}"), &[channels])?;
            Ok::<_, Fault>(tensor.into_raw_vec_and_offset().0)
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

    fn fully_connected(&mut self, x: NodeId) -> Result<NodeId, Fault> {
        let channels = self.network.nodes[x].shape[2];
        let names = ["fc", "linear"];
        let name = names.into_iter().find(|name| self.tensors.has(&format!("{name}.weight")));
        let name = name.unwrap_or(if self.arch.family.is_imagenet() { "fc" } else { "linear" });
        let key = format!("{name}.weight");
        // The number of classes is the file's.
        let classes = self.tensors.map.get(&key).and_then(|t| t.shape().first()).copied();
        let made = self.tensors.maker.as_ref().map(|maker| maker.classes);
        let classes = classes.or(made).unwrap_or(0);
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
            fully_connected: true,
        });
        self.network.push(op, &[x], name).at(name)
    }

    /// The tensor of this key, which must have this shape; it is used up.
    fn take(&mut self, key: &str, shape: &[usize]) -> Result<ArrayD<f32>, Fault> {
        if let Some(maker) = &mut self.tensors.maker {
            return Ok(maker.make(key, shape));
        }
        let arch = self.arch.name.to_owned();
        let Some(tensor) = self.tensors.map.remove(key) else {
            let mut names: Vec<_> = self.tensors.map.keys().take(4).cloned().collect();
            if self.tensors.map.len() > names.len() {
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

/// PyTorch's and ONNX's OIHW weights as OHWI, in memory order.
pub(super) fn ohwi(weights: ArrayD<f32>) -> Array4<f32> {
    let weights = weights.into_dimensionality::<Ix4>().expect("four dimensions, checked before");
    weights.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned()
}
