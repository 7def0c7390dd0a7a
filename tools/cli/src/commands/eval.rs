//! `brooklet eval`: how good a model's answers are on many pictures.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use miette::miette;
use ndarray::{Array1, Array2, s};
use ndarray_npy::ReadNpyExt;
use serde::Serialize;

use super::choice::choice;
use super::{Output, percent, progress, read};
use crate::write::{writable, write_logits};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_quantize::data::Dataset;
use brooklet_quantize::evaluate::{FloatAnswers, Score, answers, logits, score};

/// Options of `brooklet eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: PathBuf,
    /// Pictures: a folder with a subfolder a class, a CIFAR-10 binary file, .npy, .npz, random:N.
    data: String,
    /// Evaluates at most so many pictures.
    #[arg(long)]
    limit: Option<usize>,
    /// Leaves out so many pictures at the start.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Writes the int8 logits, a row a picture, in the data's order.
    #[arg(long, value_name = "FILE.npy")]
    logits: Option<PathBuf>,
    /// Float logits of the same pictures, in the data's order: adds agreement and
    /// signal-to-noise. Numbers of the best classes alone add the agreement.
    #[arg(long, value_name = "LOGITS.npy")]
    float: Option<PathBuf>,
    /// The kernels that compute.
    #[arg(long, value_parser = choice::<HostBackend>(), default_value_t)]
    backend: HostBackend,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    score: Score,
    images_per_second: f64,
    /// The kernels, and how many pictures are computed at a time.
    backend: &'static str,
    threads: usize,
}

/// What the float network said of the pictures `range`, from a file of logits (float32,
/// `[pictures, classes]`) or of best classes (uint8 or int64, `[pictures]`).
fn float_answers(path: &Path, range: Range<usize>, classes: usize) -> miette::Result<FloatAnswers> {
    let bytes = read(path)?;
    let enough = |rows: usize| {
        (rows >= range.end).then_some(()).ok_or_else(|| {
            miette!(
                help = "--limit the pictures, or give answers for all",
                "{}: has answers for {rows} pictures, but pictures {} to {} are evaluated",
                path.display(),
                range.start,
                range.end - 1,
            )
        })
    };
    let best = Array1::<i64>::read_npy(&bytes[..])
        .or_else(|_| Array1::<u8>::read_npy(&bytes[..]).map(|best| best.mapv(i64::from)));
    if let Ok(best) = best {
        enough(best.len())?;
        let best = best.slice(s![range]).iter().map(|&class| class as usize).collect();
        return Ok(FloatAnswers::Best(best));
    }
    let logits = Array2::<f32>::read_npy(&bytes[..]).map_err(|error| {
        miette!(
            help = "give an .npy file of float32 logits [pictures, classes], or of the best \
                    classes as uint8 or int64 [pictures]",
            "{}: does not hold float logits: {error}",
            path.display(),
        )
    })?;
    enough(logits.nrows())?;
    if logits.ncols() != classes {
        return Err(miette!(
            help = "give the float logits of the same network",
            "{}: has {} logits a picture, the model {classes}",
            path.display(),
            logits.ncols(),
        ));
    }
    Ok(FloatAnswers::Logits(logits.slice(s![range, ..]).to_owned()))
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> miette::Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    args.logits.as_deref().map_or(Ok(()), writable)?;
    let data = Dataset::open(&args.data, file.input(), &file.preprocess())?;
    let end =
        args.limit.map_or(data.len(), |limit| data.len().min(args.skip.saturating_add(limit)));
    if args.skip >= end {
        return Err(miette!(
            help = "lower --skip or raise --limit",
            "{}: has {} pictures, and none is left to evaluate",
            args.data,
            data.len(),
        ));
    }
    let range = args.skip..end;
    let float = match &args.float {
        Some(path) => Some(float_answers(path, range.clone(), model.classes())?),
        None => None,
    };
    let simulator = file.simulator(args.backend)?;
    let bar = progress(range.len(), "evaluating");
    let start = Instant::now();
    let answers = answers(&simulator, &data, range, || bar.inc(1))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    if let Some(path) = &args.logits {
        write_logits(path, logits(&answers).view(), file.logits_int16())?;
    }
    let quantization = model.logits_quantization();
    let score = score(&answers, float.as_ref(), |q| quantization.dequantize(q));
    let images_per_second = score.images as f64 / seconds;
    let (backend, threads) = (simulator.backend(), rayon::current_num_threads());
    output.print(&Report { score, images_per_second, backend, threads })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { images, top1, top5, agreement, sqnr_db } = self.score;
        writeln!(f, "pictures      {images}")?;
        for (name, share) in [("top-1", top1), ("top-5", top5), ("agreement", agreement)] {
            if let Some(share) = share {
                writeln!(f, "{name:13} {}", percent(share))?;
            }
        }
        if let Some(sqnr_db) = sqnr_db {
            writeln!(f, "logits' SQNR  {sqnr_db:.2} dB")?;
        }
        let Self { images_per_second, backend, threads, .. } = self;
        writeln!(
            f,
            "speed         {images_per_second:.0} pictures a second: backend {backend}, {threads} at a time"
        )
    }
}
