//! The model file of a program, and its accuracy.

use brooklet_plan::model_file::{HostBackend, ModelFile, ModelProblem};
use brooklet_plan::packing::packed_for_simulator;
use brooklet_plan::plan::Plan;
use brooklet_plan::program::Program;
use brooklet_plan::self_test;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::error::DataError;
use brooklet_quantize::evaluate::{FloatAnswers, Score, answers, score};
use ndarray::Array2;

use super::args::Args;
use crate::commands::progress;
use crate::failure::{Result, failure};

/// Chooses the test images that the model file will carry: from the whole of the data if there is
/// some, else noise.
pub(super) fn set_test_images(
    program: &mut Program,
    args: &Args,
    data: Option<&Dataset>,
    preprocess: &Preprocess,
) -> Result<()> {
    let count = usize::from(args.self_test);
    if count == 0 {
        return Ok(());
    }
    let shape = program.layers[0].record.shape();
    let input = [shape.rows, shape.columns, shape.channels].map(usize::from);
    let noise = match data {
        Some(_) => None,
        None => Some(Dataset::open(&format!("random:{count}"), input, preprocess)?),
    };
    let Some(data) = data.or(noise.as_ref()) else { return Ok(()) };
    if data.len() < count {
        return Err(failure!(
            help = format!("--self-test {}, or more calibration data", data.len()),
            "--self-test {count}: the calibration data has {} images",
            data.len(),
        ));
    }
    let pixels = |index| Ok(data.get(index)?.pixels.as_standard_layout().iter().copied().collect());
    let images: Result<_, DataError> = data.spread(count).into_iter().map(pixels).collect();
    program.set_test_images(images?);
    Ok(())
}

/// Refuses a list of names that is not one per class, before the long work if possible.
pub(super) fn check_names(args: &Args, classes: usize, names: &[String]) -> Result<()> {
    // A single score tells two classes apart.
    if names.is_empty() || names.len() == classes || (names.len(), classes) == (2, 1) {
        return Ok(());
    }
    Err(failure!(
        help = "give --labels FILE.txt with one class per line",
        "{}: has {classes} classes, but {} has {} names",
        args.network.display(),
        args.names(),
        names.len(),
    ))
}

/// The model file of a program, checked by the core.
pub(in crate::commands) fn build(program: &Program, plan: &Plan, args: &Args) -> Result<ModelFile> {
    check_names(args, program.classes(), &program.labels)?;
    let file = self_test::build(program, plan, &args.output);
    file.map_err(|error| match error.problem {
        ModelProblem::Refused { error: brooklet::Error::Layer { layer, fault } } => failure!(
            help =
                "check the network's weights and ranges in this layer, and the size of its input",
            "{}: `{}`: {fault}",
            args.network.display(),
            program.layers[usize::from(layer)].name,
        ),
        _ => error.into(),
    })
}

/// Scores the model on the first images of the data, against the float network's logits for them.
pub(in crate::commands) fn judge(
    file: &ModelFile,
    data: &Dataset,
    float: Array2<f32>,
) -> Result<Score> {
    let packed = packed_for_simulator(file, HostBackend::Auto)?;
    let simulator = packed.simulator(HostBackend::Auto)?;
    let count = float.nrows();
    let bar = progress(count, "evaluating");
    let answers = answers(&simulator, data, 0..count, || bar.inc(1))?;
    bar.finish_and_clear();
    let quantization = file.model().logits_quantization();
    let float = FloatAnswers::Logits(float);
    let classes = file.model().classes();
    Ok(score(&answers, Some(&float), |q| quantization.dequantize(q), classes, 0.0))
}
