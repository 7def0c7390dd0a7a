//! `brooklet export`: a model as an ONNX network, for viewers and other engines.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::{percent, thousands};
use brooklet_files::{InputData, InputPath, OutputPath};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::program::Program;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::export::{Agreement, agreement, export};

/// Options of `brooklet export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// The ONNX file to write.
    #[arg(short, long, value_name = "NET.onnx")]
    output: OutputPath,
    /// Images on which the exported network is compared with the simulator.
    #[arg(long, value_name = "DATA", default_value = "random:32")]
    compare: InputData,
    /// Compares on up to this number of these images.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file that was written.
    file: PathBuf,
    /// Its length.
    bytes: usize,
    /// Rows, columns, channels of the image.
    input: [usize; 3],
    /// The form in which the network takes pixels, in words.
    pixels: String,
    /// Names of the network's outputs.
    outputs: Vec<String>,
    /// How an engine's answers agree with the simulator's.
    agreement: Agreement,
    /// Whether the images were noise.
    noise: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let is_onnx = args.output.extension().is_some_and(|ending| ending == "onnx");
    if !is_onnx {
        return Err(failure!(
            help = "name a file that ends in .onnx",
            "{}: a model can only be exported as ONNX",
            args.output.display()
        ));
    }
    let file = ModelFile::open(&args.model)?;
    let data = Dataset::open(&args.compare, file.input(), &file.preprocess())?;
    let images = data.spread(args.limit.max(1));
    let exported = export(&Program::read(&file.model()));
    let simulator = file.simulator(HostBackend::Auto)?;
    let agreement = agreement(&file, &simulator, &data, &images)?;
    args.output.write(&exported.bytes)?;
    output.print(&Report {
        file: args.output.to_path_buf(),
        bytes: exported.bytes.len(),
        input: file.input(),
        pixels: exported.input,
        outputs: exported.outputs,
        agreement,
        noise: data.is_noise(),
    })
}

impl Reported for Report {
    const NAME: &str = "export";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, bytes, pixels, outputs, agreement, noise, .. } = self;
        writeln!(f, "{}: ONNX, quantized (QDQ), {} bytes", file.display(), thousands(*bytes))?;
        writeln!(f, "input       image, [N, channels, rows, columns]: {pixels}")?;
        writeln!(f, "output      {}", outputs.join(", "))?;
        let Agreement { images, same_class, sqnr_db } = agreement;
        let of = if *noise { " of noise" } else { "" };
        let same = percent(*same_class);
        let sqnr = sqnr_db.map_or("the same numbers".into(), |sqnr| format!("{sqnr:.1} dB"));
        writeln!(f, "agreement   {same} same class, {sqnr} ({images} images{of}; engine: rten)")?;
        writeln!(f, "            close to the device's answers, not equal bit for bit")
    }
}
