//! `brooklet report`: shows a network and its model on a page in which the model runs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use brooklet_files::{OutputPath, text};
use brooklet_firmware::{Registry, Spec};
use schemars::JsonSchema;
use serde::Serialize;

use super::compare::{self, Compared, compare};
use super::images::resize_word;
use super::{Output, inspect};
use crate::failure::{Result, failure};
use crate::report::contents::Contents;
use crate::report::page::answers::Answers;
use crate::report::page::live::{Live, Sample, Shown};
use crate::report::page::{Page, page};
use crate::report::schema::Reported;
use brooklet_import::Channels;
use brooklet_plan::cost;
use brooklet_plan::memory_map::MemoryMap;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::Goal;
use brooklet_plan::program::Program;
use brooklet_plan::replay::Replay;

/// The core for web pages, which `cargo xtask wasm` builds from `boards/page`.
const CORE: &[u8] = include_bytes!("../report/page/core.wasm");

/// Limits of the core for pages, as in `boards/page`: bytes of the model file, an image and the arena.
const ROOM: [usize; 3] = [4 << 20, 1 << 20, 1 << 20];

/// Maximum number of images that the page carries, and of their bytes.
const SAMPLES: usize = 12;
const SAMPLE_BYTES: usize = 400_000;

/// Maximum number of thumbnails of images that float and model classify differently, and of their
/// bytes.
const THUMBNAILS: usize = 48;
const THUMBNAIL_BYTES: usize = 400_000;

/// Options of `brooklet report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    compared: compare::Args,
    /// The page to write: one file, which needs no internet connection.
    #[arg(short, long, value_name = "FILE.html")]
    output: OutputPath,
    /// Packs the model for that board, and shows its costs there; `brooklet boards` lists them.
    /// Default: $BROOKLET_BOARD.
    #[arg(long, env = "BROOKLET_BOARD", value_name = "NAME")]
    board: Option<String>,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file that was written.
    page: std::path::PathBuf,
    /// Its length.
    page_bytes: usize,
    /// Whether the model runs in the page: it does not if it exceeds a limit of the page's core.
    runs: bool,
    #[serde(flatten)]
    comparison: crate::report::comparison::Comparison,
}

impl Reported for Report {
    const NAME: &str = "report";
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.comparison)?;
        let bytes = crate::report::thousands(self.page_bytes);
        let runs =
            if self.runs { "the model runs in it" } else { "the model is too large to run in it" };
        writeln!(f, "\n{}: {bytes} bytes, {runs}", self.page.display())
    }
}

/// The model with its weights packed for a board's kernels.
fn planned(file: &ModelFile, spec: &Spec) -> Result<ModelFile> {
    let kernels = Kernels::of(spec)?;
    let costs = cost::similar(spec, kernels.packing());
    let (program, plan) = kernels
        .plan(Program::read(&file.model()), Goal::Size, usize::MAX, &costs)
        .map_err(|error| failure!("{}: {error}", file.path().display()))?;
    Ok(ModelFile::new(file.path(), program.write(&plan))?)
}

/// The command that follows the advice.
fn command(args: &Args, file: &ModelFile, options: &str) -> String {
    let preprocess = file.preprocess();
    let name = |path: &std::path::Path| {
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    let mut words =
        vec!["brooklet".to_owned(), "quantize".to_owned(), name(&args.compared.network)];
    words.extend(args.compared.source.words());
    let pair = |[height, width]: [u32; 2]| format!("{height}x{width}");
    let triple = |[red, green, blue]: [f32; 3]| format!("{red},{green},{blue}");
    let channels = Some(args.compared.channels).filter(|&order| order != Channels::default());
    for (option, value) in [
        ("--input", args.compared.source.input.map(pair)),
        ("--resize", preprocess.resize.map(resize_word)),
        ("--crop", preprocess.crop.map(pair)),
        ("--mean", preprocess.mean.map(triple)),
        ("--std", preprocess.std.map(triple)),
        ("--channels", channels.map(|order| order.to_string())),
    ] {
        words.extend(value.map(|value| [option.to_owned(), value]).into_iter().flatten());
    }
    let line = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    format!("{line} --calibrate DATA {options} -o {}", name(&args.compared.model))
}

/// An image for the page.
fn sample(compared: &Compared, index: usize) -> Result<Sample> {
    let Compared { file, data, answers, float, .. } = compared;
    let pixels = data.get(index)?.pixels.as_standard_layout().iter().copied().collect::<Vec<u8>>();
    let name = data.name(index);
    let name = name.rsplit(['/', '\\']).next().unwrap_or(&name).to_owned();
    let (answer, label) = &answers[index];
    Ok(Sample {
        name,
        label: label.map(|label| file.label(label)),
        float: file.label(float[index]),
        logits: answer.logits.clone(),
        pixels: BASE64.encode(pixels),
    })
}

/// The samples of the first of these images, up to `most` of them and up to `bytes`.
fn samples(
    compared: &Compared,
    images: impl IntoIterator<Item = usize>,
    most: usize,
    bytes: usize,
) -> Result<Vec<Sample>> {
    let each: usize = compared.file.input().iter().product();
    let most = most.min(bytes / each.max(1));
    images.into_iter().take(most).map(|index| sample(compared, index)).collect()
}

/// What the page needs to run the model; `None` if the model exceeds a limit.
fn live(compared: &Compared, packed: &ModelFile) -> Result<Option<Live>> {
    let model = packed.model();
    let sizes = [packed.bytes().len(), model.input().bytes(), model.arena_bytes()];
    if sizes.iter().zip(ROOM).any(|(&size, room)| size > room) {
        return Ok(None);
    }
    let layer = model.layer(model.logits());
    let quantization = model.logits_quantization();
    let shown = match layer {
        _ if layer.has_probabilities() => Shown::Itself,
        _ if layer.has_sigmoid() => Shown::Sigmoid,
        _ if model.classes() == 1 => Shown::Itself,
        _ => Shown::Softmax,
    };
    // Some of the samples are images that float and model classify differently.
    let parted = compared.comparison.parted.iter().map(|parted| parted.index).take(SAMPLES / 3);
    let mut images: Vec<usize> = parted.collect();
    let count = compared.answers.len();
    let others = (0..SAMPLES).map(|nth| nth * count / SAMPLES);
    images.extend(others.filter(|index| *index < count));
    images.sort_unstable();
    images.dedup();
    Ok(Some(Live {
        model: BASE64.encode(packed.bytes()),
        core: BASE64.encode(CORE),
        input: packed.input(),
        arena_bytes: model.arena_bytes(),
        labels: (0..model.classes()).map(|class| packed.label(class)).collect(),
        scale: quantization.scale,
        zero_point: quantization.zero_point.into(),
        shown,
        samples: samples(compared, images, SAMPLES, SAMPLE_BYTES)?,
        replay: Replay::new(&model),
    }))
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let spec = match &args.board {
        Some(board) => Some(Registry::find()?.board(board)?.clone()),
        None => None,
    };
    let file = ModelFile::open(&args.compared.model)?;
    if let Some([rows, columns, _]) = file.map() {
        return Err(failure!(
            help = "`brooklet compare` compares its layers with those of the float network",
            "{}: ends in a map of {rows}x{columns} cells: the page shows answers that are classes",
            args.compared.model.display(),
        ));
    }
    let compared = compare(&args.compared)?;
    let packed = spec.as_ref().map(|spec| planned(&compared.file, spec)).transpose()?;
    let packed = packed.as_ref().unwrap_or(&compared.file);
    let model = packed.model();
    let mut contents = Contents::new(&model);
    if let Some(spec) = &spec {
        contents = contents.on(&model, spec, &inspect::costs(spec)?);
    }
    let live = live(&compared, packed)?;
    let parted = compared.comparison.parted.iter().map(|parted| parted.index);
    let thumbnails = samples(&compared, parted, THUMBNAILS, THUMBNAIL_BYTES)?;
    let names = [&args.compared.network, &args.compared.model]
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let options = compared.comparison.advice.options.as_deref();
    let runs = live.is_some();
    let page = page(&Page {
        names,
        report: &compared.comparison,
        contents: &contents,
        board: spec.as_ref(),
        time: contents.time,
        command: options.map(|options| command(args, &compared.file, options)),
        answers: Answers::new(&compared.file, &compared.answers, &compared.float),
        live: live.as_ref(),
        thumbnails: &thumbnails,
        map: &MemoryMap::new(model).svg(),
    });
    let page = text::page(&page);
    args.output.write(page.as_bytes())?;
    let comparison = compared.comparison;
    let path = args.output.to_path_buf();
    output.print(&Report { page: path, page_bytes: page.len(), runs, comparison })
}
