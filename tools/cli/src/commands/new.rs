//! `brooklet new`: writes an untrained network.

use std::fmt;
use std::path::PathBuf;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use schemars::JsonSchema;
use serde::Serialize;
use zerocopy::IntoBytes;

use super::Output;
use super::choice::VariantArgs;
use super::network::{arch, size};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::thousands;
use brooklet_files::OutputPath;
use brooklet_import::{Arch, Variant};

/// Options of `brooklet new`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The architecture.
    #[arg(value_parser = arch(), ignore_case = true)]
    arch: Arch,
    /// The safetensors file to write.
    #[arg(short, long, value_name = "NETWORK.safetensors")]
    output: OutputPath,
    #[command(flatten)]
    variant: VariantArgs,
    /// Height and width of the input. Default: as the architecture was published.
    #[arg(long, value_name = "HxW", value_parser = size)]
    input: Option<[u32; 2]>,
    /// Number of classes. Default: as the architecture was published, 1000 or 10.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    classes: Option<u16>,
    /// Seed of the weights: the same seed gives the same weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file that was written.
    network: PathBuf,
    /// Its architecture.
    arch: &'static str,
    /// Number of parameters that a training would learn.
    parameters: usize,
    /// Number of classes.
    classes: u16,
    /// Rows, columns, channels of the image.
    input: [usize; 3],
    #[serde(skip)]
    variant: Variant,
}

impl Reported for Report {
    const NAME: &str = "new";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, arch) = (self.network.display(), self.arch);
        writeln!(f, "{file}: {arch}, {} parameters, not trained", thousands(self.parameters))?;
        let ([height, width, _], variant) = (self.input, self.variant);
        writeln!(
            f,
            "next: brooklet quantize {file} --arch {arch}{variant} --input {height}x{width} \
             --calibrate random:4 -o {arch}.brook"
        )
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let extension = args.output.extension().unwrap_or_default();
    if !extension.is_empty() && extension != "safetensors" {
        return Err(failure!(
            help = "name it NETWORK.safetensors; other tools write ONNX and TFLite",
            "{}: a network of random weights is written as safetensors, not as `{}`",
            args.output.display(),
            extension.display()
        ));
    }
    let variant = args.variant.into();
    let classes = args.classes.unwrap_or(args.arch.default_classes(&variant));
    let input = args.input.map(|size| size.map(|n| n as usize));
    let weights = args
        .arch
        .new_weights(variant, input, usize::from(classes), args.seed)
        .map_err(|fault| fault.in_file(&args.output))?;
    let views = weights.iter().map(|(name, tensor)| {
        let values = tensor.as_slice().expect("made in standard order");
        let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), values.as_bytes());
        (name, view.expect("as many bytes as the shape has"))
    });
    let file = serialize(views, None).map_err(|error| failure!("{error}"))?;
    args.output.write(&file)?;
    let [rows, columns] = input.unwrap_or(args.arch.default_input(&variant));
    output.print(&Report {
        network: args.output.to_path_buf(),
        arch: args.arch.name(),
        parameters: weights.values().map(|tensor| tensor.len()).sum(),
        classes,
        input: [rows, columns, 3],
        variant: args.variant.into(),
    })
}
