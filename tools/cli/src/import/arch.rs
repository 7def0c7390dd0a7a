//! The structures that `--arch` names, to be filled with named weights.
//!
//! torchvision's ImageNet ResNets and the CIFAR ResNets of the paper's section 4.2, with the keys
//! that torchvision and akamaster's pytorch_resnet_cifar10 give to their tensors. Whether a CIFAR
//! network's shortcuts are option A (subsampling, no weights) or B (projections) is read from the
//! keys.

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
    /// Blocks in each stage.
    stages: &'static [usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// With a shortcut around each.
    Residual,
    /// The plain networks that the paper compares with: no shortcuts.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// 3×3 stem, stages of 16, 32, 64 channels.
    Cifar,
    /// 7×7 stem and pooling, basic blocks of 64 to 512 channels.
    Basic,
    /// The same stem, bottleneck blocks of 256 to 2048 channels.
    Bottleneck,
}

macro_rules! table {
    ($($name:literal $family:ident $blocks:ident $stages:expr),* $(,)?) => {
        &[$(Arch {
            name: $name,
            family: Family::$family,
            blocks: Blocks::$blocks,
            stages: &$stages,
        }),*]
    };
}

impl Arch {
    /// All that are known.
    pub const ALL: &'static [Arch] = table! {
        "resnet18" Basic Residual [2, 2, 2, 2],
        "resnet34" Basic Residual [3, 4, 6, 3],
        "resnet50" Bottleneck Residual [3, 4, 6, 3],
        "resnet101" Bottleneck Residual [3, 4, 23, 3],
        "resnet152" Bottleneck Residual [3, 8, 36, 3],
        "resnet20" Cifar Residual [3, 3, 3],
        "resnet32" Cifar Residual [5, 5, 5],
        "resnet44" Cifar Residual [7, 7, 7],
        "resnet56" Cifar Residual [9, 9, 9],
        "resnet110" Cifar Residual [18, 18, 18],
        "resnet1202" Cifar Residual [200, 200, 200],
        "plain18" Basic Plain [2, 2, 2, 2],
        "plain34" Basic Plain [3, 4, 6, 3],
        "plain20" Cifar Plain [3, 3, 3],
        "plain32" Cifar Plain [5, 5, 5],
        "plain44" Cifar Plain [7, 7, 7],
        "plain56" Cifar Plain [9, 9, 9],
    };

    /// Name, as `--arch` takes it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Height and width of the pictures that it was published for.
    pub fn default_input(self) -> [usize; 2] {
        match self.family {
            Family::Cifar => [32, 32],
            Family::Basic | Family::Bottleneck => [224, 224],
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
    /// with batch norms that do nothing yet. Only the last of each residual block scales by
    /// 1 / √blocks: without training, nothing else keeps a thousand blocks from adding up.
    pub(crate) fn new_weights(self, classes: usize, seed: u64) -> Result<Weights, Fault> {
        let [height, width] = self.default_input();
        let maker = Maker {
            classes,
            random: ChaCha8Rng::seed_from_u64(seed),
            last_scale: (self.stages.iter().sum::<usize>() as f32).sqrt().recip(),
            last_norm: match (self.blocks, self.family) {
                (Blocks::Plain, _) => "none",
                (Blocks::Residual, Family::Bottleneck) => "bn3.weight",
                (Blocks::Residual, _) => "bn2.weight",
            },
            made: Weights::new(),
        };
        let tensors = Tensors { map: Weights::new(), maker: Some(maker) };
        let network = Network::new([height, width, 3], "input")?;
        let mut builder = Builder { arch: self, tensors, network };
        builder.network(self)?;
        Ok(builder.tensors.maker.map(|maker| maker.made).unwrap_or_default())
    }

    /// The network with these weights, in canonical form.
    pub(super) fn build(
        self,
        tensors: Tensors,
        input: Option<[usize; 2]>,
    ) -> Result<Network, Fault> {
        let [height, width] = input.unwrap_or(self.default_input());
        let mut builder =
            Builder { arch: self, tensors, network: Network::new([height, width, 3], "input")? };
        let output = builder.network(self)?;
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
    /// How the keys of blocks' last batch norms end, and their scale.
    last_norm: &'static str,
    last_scale: f32,
    made: Weights,
}

impl Maker {
    fn make(&mut self, key: &str, shape: &[usize]) -> ArrayD<f32> {
        let part = key.rsplit('.').next().unwrap_or(key);
        let tensor = match (shape.len(), part) {
            (1, "weight") if key.ends_with(self.last_norm) => {
                ArrayD::from_elem(shape, self.last_scale)
            }
            (1, "weight" | "running_var") => ArrayD::ones(shape),
            (1, _) => ArrayD::zeros(shape),
            _ => {
                let inputs: usize = shape[1..].iter().product();
                let deviation = (2.0 / inputs as f32).sqrt();
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

struct Builder {
    arch: Arch,
    tensors: Tensors,
    network: Network,
}

impl Builder {
    fn network(&mut self, arch: Arch) -> Result<NodeId, Fault> {
        let (stem, stride, first) = match arch.family {
            Family::Cifar => (3, 1, 16),
            Family::Basic | Family::Bottleneck => (7, 2, 64),
        };
        let mut x = self.conv_norm(0, "conv1", "bn1", first, stem, stride)?;
        x = self.relu(x)?;
        if arch.family != Family::Cifar {
            let pool = Window { kernel: [3, 3], stride: [2, 2], pads: [1, 1, 1, 1] };
            x = self.network.push(Op::MaxPool(pool), &[x], "maxpool").at("maxpool")?;
        }
        for (stage, &blocks) in arch.stages.iter().enumerate() {
            for block in 0..blocks {
                let prefix = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block(x, &prefix, first << stage, stride)?;
            }
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
        let bottleneck = self.arch.family == Family::Bottleneck;
        let out = if bottleneck { 4 * width } else { width };
        // torchvision puts a bottleneck's stride into its 3×3 convolution.
        let layers: &[(usize, usize, usize)] = if bottleneck {
            &[(width, 1, 1), (width, 3, stride), (out, 1, 1)]
        } else {
            &[(width, 3, stride), (width, 3, 1)]
        };
        let mut main = x;
        for (i, &(channels, kernel, stride)) in layers.iter().enumerate() {
            let (conv, norm) = (key(&format!("conv{}", i + 1)), key(&format!("bn{}", i + 1)));
            main = self.conv_norm(main, &conv, &norm, channels, kernel, stride)?;
            if i + 1 < layers.len() {
                main = self.relu(main)?;
            }
        }
        if self.arch.blocks == Blocks::Plain {
            return self.relu(main);
        }
        let channels = self.network.nodes[x].shape[2];
        let shortcut = if stride == 1 && channels == out {
            x
        } else {
            let projection = ["downsample", "shortcut"]
                .map(&key)
                .into_iter()
                .find(|name| self.tensors.has(&format!("{name}.0.weight")));
            match (projection, self.arch.family) {
                (None, Family::Cifar) => {
                    let pad = (out - channels) / 2;
                    let subsample = Subsample {
                        stride: [stride, stride],
                        channels_before: pad,
                        channels_after: out - channels - pad,
                    };
                    let name = key("shortcut");
                    self.network.push(Op::Subsample(subsample), &[x], &name).at(&name)?
                }
                (projection, _) => {
                    let name = projection.unwrap_or_else(|| key("downsample"));
                    let (conv, norm) = (format!("{name}.0"), format!("{name}.1"));
                    self.conv_norm(x, &conv, &norm, out, 1, stride)?
                }
            }
        };
        let name = key("add");
        let sum = self.network.push(Op::Add, &[main, shortcut], &name).at(&name)?;
        self.relu(sum)
    }

    fn relu(&mut self, x: NodeId) -> Result<NodeId, Fault> {
        let name = format!("{}.relu", self.network.nodes[x].source);
        self.network.push(Op::Relu, &[x], &name).at(&name)
    }

    /// A convolution without bias, padded to keep the size (at stride 1), and its batch norm.
    fn conv_norm(
        &mut self,
        x: NodeId,
        conv: &str,
        norm: &str,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<NodeId, Fault> {
        let channels = self.network.nodes[x].shape[2];
        let weights = self.take(&format!("{conv}.weight"), &[out, channels, kernel, kernel])?;
        let op = Op::Conv(Conv {
            weights: ohwi(weights),
            bias: vec![0.0; out],
            stride: [stride, stride],
            pads: [kernel / 2; 4],
            fully_connected: false,
        });
        let y = self.network.push(op, &[x], conv).at(conv)?;
        let mut vector = |part: &str| {
            let tensor = self.take(&format!("{norm}.{part}"), &[out])?;
            Ok::<_, Fault>(tensor.into_raw_vec_and_offset().0)
        };
        let op = Op::BatchNorm(BatchNorm {
            scale: vector("weight")?,
            shift: vector("bias")?,
            mean: vector("running_mean")?,
            var: vector("running_var")?,
            eps: EPS,
        });
        self.network.push(op, &[y], norm).at(norm)
    }

    fn fully_connected(&mut self, x: NodeId) -> Result<NodeId, Fault> {
        let channels = self.network.nodes[x].shape[2];
        let names = ["fc", "linear"];
        let name = names.into_iter().find(|name| self.tensors.has(&format!("{name}.weight")));
        let name = name.unwrap_or(match self.arch.family {
            Family::Cifar => "linear",
            Family::Basic | Family::Bottleneck => "fc",
        });
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
