//! `brooklet compare`: a network and its model, side by side.

use super::choice::choice;
use super::float::float_logits;
use super::network::NetworkArgs;
use super::{Output, progress};
use crate::failure::{Result, failed, failure};
use crate::report::comparison::{Comparison, Parted};
use brooklet_files::{InputData, InputPath};
use brooklet_import::Channels;
use brooklet_import::Imported;
use brooklet_import::network::Network;
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_plan::packing::packed_for_simulator;
use brooklet_plan::program::Program;
use brooklet_quantize::advice::advice;
use brooklet_quantize::compare;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::evaluate::{self, FloatAnswers, answers, score};
use brooklet_quantize::forward::BATCH;
use brooklet_quantize::units;

/// A network, its model, and the images that they are compared on.
#[derive(Debug, clap::Args)]
#[group(id = "compared")]
pub struct Args {
    /// The float network that the model was made from.
    pub(super) network: InputPath,
    /// The model file.
    pub(super) model: InputPath,
    /// Images: a folder with a subfolder per class, a CIFAR-10 binary file, .npy, .npz, random:N.
    data: InputData,
    #[command(flatten)]
    pub(super) source: NetworkArgs,
    /// Order of the channels that the network takes, as it was given to `quantize`.
    #[arg(long, value_parser = choice::<Channels>(), default_value_t)]
    pub(super) channels: Channels,
    /// Uses up to this number of images.
    #[arg(long)]
    limit: Option<usize>,
    /// Number of these images on which the layers are compared.
    #[arg(long, value_name = "IMAGES", default_value_t = 100)]
    layers_on: usize,
}

/// A comparison, with the model, the data and the answers that it was made from.
pub(super) struct Compared {
    pub(super) file: ModelFile,
    pub(super) data: Dataset,
    pub(super) comparison: Comparison,
    /// The model's answers, and the labels.
    pub(super) answers: Vec<(Answer, Option<usize>)>,
    /// The float network's best classes; none if it ends in a map.
    pub(super) float: Vec<usize>,
}

/// The float network, which must be the one that the model was made from.
fn load(args: &Args, file: &ModelFile) -> Result<Network> {
    let network = match args.source.load(&args.network)? {
        Imported::Float(network) => {
            // The model file says how pixels are normalized, as `quantize` found it in the network.
            let (network, _) = units::normalization_outside(network, &file.preprocess());
            network.for_rgb(args.channels).map_err(|problem| problem.in_file(&args.network))?
        }
        Imported::Quantized(_) => {
            return Err(failure!(
                help = "give the float network that it was made from",
                "{}: is itself int8: there is no float network to compare with",
                args.network.display(),
            ));
        }
    };
    if file.input() != network.input {
        return Err(failure!(
            help = "give the network that the model was made from",
            "{}: takes {:?}, but {} takes {:?} (height, width, channels)",
            args.model.display(),
            file.input(),
            args.network.display(),
            network.input,
        ));
    }
    Ok(network)
}

/// The images that float network and model classify differently.
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
            index,
            image: data.name(index),
            label: label.map(|label| file.label(label)),
            float: file.label(float),
            model: file.label(model),
        })
    };
    answers.iter().zip(best).enumerate().filter_map(parted).collect()
}

/// Compares a network with its model.
pub(super) fn compare(args: &Args) -> Result<Compared> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let network = load(args, &file)?;
    let preprocess = file.preprocess();
    let mut data = Dataset::open(&args.data, network.input, &preprocess)?;
    match file.labels() {
        _ if model.ends_in_map() => data.drop_labels(),
        Some(names) => data.number_by(&names)?,
        None => {}
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

    let float = float_logits(&args.network, &network, &data, count)?;
    let packed = packed_for_simulator(&file, HostBackend::Auto)?;
    let simulator = packed.simulator(HostBackend::Auto)?;
    let bar = progress(count, "in int8");
    let answers = answers(&simulator, &data, 0..count, || bar.inc(1))?;
    bar.finish_and_clear();
    // The cells of a map have a class each, but an image has none.
    let whole = float.outer_iter().filter(|_| !model.ends_in_map());
    let best: Vec<usize> = whole.map(|row| evaluate::best(&row.to_vec(), 0.0)).collect();
    let labels =
        answers.iter().zip(&best).filter_map(|((_, label), best)| Some((*label)? == *best));
    let (right, known) =
        labels.fold((0, 0), |(right, all), is| (right + u32::from(is), all + 1u32));
    let parted = parted(&file, &data, &answers, &best);
    let float = FloatAnswers::Logits(float);
    let quantization = model.logits_quantization();
    let score = score(&answers, Some(&float), |q| quantization.dequantize(q), model.classes(), 0.0);
    let advice = advice(&layers, score.sqnr_db);
    let float_top1 = (known > 0).then(|| f64::from(right) / f64::from(known));
    let comparison = Comparison { float_top1, score, parted, layers_on, layers, advice };
    Ok(Compared { file, data, comparison, answers, float: best })
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    output.print(&compare(args)?.comparison)
}
