//! `brooklet compare`: a network and its model, side by side.

use brooklet_firmware::Registry;
use ndarray::{Array2, Axis, concatenate};

use super::choice::choice;
use super::quantize::{arch, size};
use super::{Output, inspect, progress};
use crate::commands::choice::VariantArgs;
use crate::failure::{Result, failed, failure};
use crate::report::comparison::{Comparison, Parted};
use crate::report::contents::Contents;
use crate::report::page;
use brooklet_files::text;
use brooklet_files::{InputData, InputPath, OutputPath};
use brooklet_import as import;
use brooklet_import::Channels;
use brooklet_import::network::Network;
use brooklet_import::{Arch, Imported};
use brooklet_plan::cost;
use brooklet_plan::memory_map::MemoryMap;
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::Goal;
use brooklet_plan::program::Program;
use brooklet_quantize::advice::advice;
use brooklet_quantize::compare;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::error::EngineError;
use brooklet_quantize::evaluate::{self, FloatAnswers, answers, score};
use brooklet_quantize::forward::BATCH;
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::units;

/// Options of `brooklet compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The float network that the model was made of.
    network: InputPath,
    /// The model file.
    model: InputPath,
    /// Images: a folder with a subfolder a class, a CIFAR-10 binary file, .npy, .npz, random:N.
    data: InputData,
    /// Architecture of bare weights.
    #[arg(long, value_name = "NAME", value_parser = arch(), ignore_case = true)]
    arch: Option<Arch>,
    #[command(flatten)]
    variant: VariantArgs,
    /// Height and width of the input of bare weights.
    #[arg(long, value_name = "HxW", value_parser = size)]
    input: Option<[u32; 2]>,
    /// Outputs of a network that has several, as `quantize` was told.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Vec<String>,
    /// Order of the channels that the network takes, as `quantize` was told.
    #[arg(long, value_parser = choice::<Channels>(), default_value_t)]
    channels: Channels,
    /// Takes up to this number of images.
    #[arg(long)]
    limit: Option<usize>,
    /// Images of these that the layers are compared on.
    #[arg(long, value_name = "IMAGES", default_value_t = 100)]
    layers_on: usize,
    /// Packs the model for that board and predicts its instructions, on the page; `brooklet boards`
    /// lists them.
    #[arg(long, value_name = "NAME", requires = "html")]
    board: Option<String>,
    /// Writes a page that shows it all, with no need of a network.
    #[arg(long, value_name = "FILE.html")]
    html: Option<OutputPath>,
}

/// The float logits of the first `count` images.
fn float_logits(
    network: &Network,
    data: &Dataset,
    count: usize,
    args: &Args,
) -> Result<Array2<f32>> {
    let at = |error: EngineError| failed(&args.network, error.into());
    let model = FloatModel::new(network).map_err(at)?;
    let bar = progress(count, "in float");
    let mut parts = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let batch = data.batch(start..count.min(start + BATCH))?;
        parts.push(model.run(batch.view()).map_err(at)?);
        bar.inc(batch.len_of(Axis(0)) as u64);
    }
    bar.finish_and_clear();
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &views)?)
}

/// The model with its weights packed for a board's kernels.
fn planned(file: &ModelFile, program: Program, board: &str) -> Result<ModelFile> {
    let registry = Registry::find()?;
    let spec = registry.board(board)?;
    let kernels = Kernels::of(spec)?;
    let costs = cost::similar(spec, kernels.packing());
    let (program, plan) = kernels
        .plan(program, Goal::Size, usize::MAX, &costs)
        .map_err(|error| failure!("{}: {error}", file.path().display()))?;
    Ok(ModelFile::new(file.path(), program.write(&plan))?)
}

/// The float network, which must be the one that the model was made of.
fn load(args: &Args, file: &ModelFile) -> Result<Network> {
    let options = import::Options {
        arch: args.arch,
        variant: args.variant.into(),
        input: args.input.map(|size| size.map(|n| n as usize)),
        outputs: args.outputs.clone(),
    };
    let network = match import::load(&args.network, &options)? {
        Imported::Float(network) => {
            // The model file says how pixels are normalized, as `quantize` found it in the network.
            let (network, _) = units::normalization_outside(network, &file.preprocess());
            network.for_rgb(args.channels).map_err(|problem| problem.in_file(&args.network))?
        }
        Imported::Quantized(_) => {
            return Err(failure!(
                help = "give the float network that it was made of",
                "{}: is int8 itself: there is nothing to compare with",
                args.network.display(),
            ));
        }
    };
    if file.input() != network.input {
        return Err(failure!(
            help = "give the network that the model was made of",
            "{}: takes {:?}, but {} takes {:?} (height, width, channels)",
            args.model.display(),
            file.input(),
            args.network.display(),
            network.input,
        ));
    }
    Ok(network)
}

/// The images on which float network and model have different answers.
fn parted(
    file: &ModelFile,
    data: &Dataset,
    answers: &[(Answer, Option<usize>)],
    best: &[usize],
) -> Vec<Parted> {
    let quantization = file.model().logits_quantization();
    let parted = |(index, ((answer, label), &float)): (usize, (&(Answer, _), &usize))| {
        let logits: Vec<f32> = answer.logits.iter().map(|&q| quantization.dequantize(q)).collect();
        let model = evaluate::best(&logits, 0.0);
        let label: &Option<usize> = label;
        (model != float).then(|| Parted {
            image: data.name(index),
            label: label.map(|label| file.label(label)),
            float: file.label(float),
            model: file.label(model),
        })
    };
    answers.iter().zip(best).enumerate().filter_map(parted).collect()
}

/// Writes the page.
fn write_page(
    args: &Args,
    path: &OutputPath,
    file: &ModelFile,
    program: Program,
    report: &Comparison,
) -> Result<()> {
    let planned = match &args.board {
        Some(board) => Some(planned(file, program, board)?),
        None => None,
    };
    let model = planned.as_ref().unwrap_or(file).model();
    let mut contents = Contents::new(&model);
    if let Some(board) = &args.board {
        contents = contents.on(&model, &inspect::costs(Registry::find()?.board(board)?)?);
    }
    let map = MemoryMap::new(model).svg();
    let title = format!("{} and {}", args.network.display(), args.model.display());
    let page = page::page(&title, report, &contents, args.board.as_deref(), &map);
    Ok(path.write(text::page(&page).as_bytes())?)
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let network = load(args, &file)?;
    let preprocess = file.preprocess();
    let mut data = Dataset::open(&args.data, network.input, &preprocess)?;
    if let Some(names) = file.labels() {
        data.number_by(&names)?;
    }
    let count = args.limit.map_or(data.len(), |limit| data.len().min(limit)).max(1);
    let layers_on = count.min(args.layers_on.max(1));
    let program = Program::read(&model);
    data.check_labels(0..count, model.classes())?;

    let batches = layers_on.div_ceil(BATCH);
    let bar = progress(batches * program.layers.len().saturating_sub(1), "layers");
    let layers = compare::layers(&network, &program, &preprocess, &data, layers_on, || bar.inc(1));
    bar.finish_and_clear();
    let layers = layers.map_err(|error| failed(&args.network, error))?;

    let float = float_logits(&network, &data, count, args)?;
    let simulator = file.simulator(HostBackend::Auto)?;
    let bar = progress(count, "in int8");
    let answers = answers(&simulator, &data, 0..count, || bar.inc(1))?;
    bar.finish_and_clear();
    let best: Vec<usize> =
        float.outer_iter().map(|row| evaluate::best(&row.to_vec(), 0.0)).collect();
    let labels =
        answers.iter().zip(&best).filter_map(|((_, label), best)| Some((*label)? == *best));
    let (right, known) =
        labels.fold((0, 0), |(right, all), is| (right + u32::from(is), all + 1u32));
    let parted = parted(&file, &data, &answers, &best);
    let float = FloatAnswers::Logits(float);
    let quantization = model.logits_quantization();
    let score = score(&answers, Some(&float), |q| quantization.dequantize(q), 0.0);
    let advice = advice(&layers, score.sqnr_db);
    let float_top1 = (known > 0).then(|| f64::from(right) / f64::from(known));
    let report = Comparison { float_top1, score, parted, layers_on, layers, advice };
    if let Some(path) = &args.html {
        write_page(args, path, &file, program, &report)?;
    }
    output.print(&report)
}
