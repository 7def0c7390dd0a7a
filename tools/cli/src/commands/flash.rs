//! `brooklet flash`: firmware and model onto a board, and images to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use brooklet_firmware::{Board, LineErrors, Loaded, Options, Profile, Registry, Spec, Unit};
use serde::Serialize;

use super::fit::Verdict;
use super::run::ImageReport;
use super::{Output, bytes, say, spinner};
use crate::failure::{Result, failure};
use crate::report::count::{keyed, milliseconds, time, unit_name};
use crate::report::thousands;
use brooklet_files::{InputPath, OutputPath, TemporaryFolder};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_plan::packing::packed_into;
use brooklet_quantize::data::read_image;
use brooklet_quantize::evaluate::logits_npy;

/// Options of `brooklet flash`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// The board; `brooklet boards` lists them. An emulated one is started.
    #[arg(long)]
    board: String,
    /// As if the board had only this much RAM, such as 192K: the model's arena, the application's
    /// buffers and the stack must fit into it.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<u32>,
    /// Sends these images, and prints the board's answers.
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    run: Vec<InputPath>,
    /// Compares each answer with the host simulator's, byte for byte, and has the board run the
    /// test images that the model carries; fails on any difference.
    #[arg(long)]
    check: bool,
    /// Writes the board's int8 logits, a row an image.
    #[arg(long, value_name = "FILE.npy", requires = "run")]
    logits: Option<OutputPath>,
}

#[derive(Debug, Serialize)]
struct Report {
    board: String,
    ram_bytes: u32,
    model_bytes: u32,
    arena_bytes: u32,
    session_bytes: u32,
    /// Whether every answer was the host's, if that was asked.
    identical: Option<bool>,
    /// Test images for which the board gave the stored bytes, if that was asked.
    self_test_images: Option<u16>,
    images: Vec<ImageReport>,
    /// What the last image cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    /// What went wrong on the line, if anything did.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<Line>,
}

/// What an image costs, in what the board counts.
#[derive(Debug, Serialize)]
struct Cost {
    #[serde(flatten)]
    total: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    #[serde(skip)]
    text: String,
}

impl Cost {
    fn new(unit: Unit, profile: &Profile, clock_hz: u32) -> Self {
        let total = profile.total;
        let mut text = format!("{} {} an image", thousands(total), unit_name(unit));
        if let Some(time) = time(unit, total, clock_hz) {
            text += &format!(", {time}");
        }
        let milliseconds = milliseconds(unit, total, clock_hz);
        Self { total: keyed("", unit, total), milliseconds, text }
    }
}

/// Errors of the line between host and board.
#[derive(Debug, Serialize)]
struct Line {
    overruns: u32,
    framing: u32,
    no_room: u32,
    #[serde(skip)]
    text: String,
}

impl Line {
    fn new(errors: LineErrors) -> Option<Self> {
        let LineErrors { overruns, framing, no_room } = errors;
        let text = errors.to_string();
        (!errors.is_empty()).then_some(Self { overruns, framing, no_room, text })
    }
}

/// A board that runs a model.
pub(crate) struct Started {
    pub(crate) registry: Registry,
    pub(crate) spec: Spec,
    pub(crate) board: Board,
    pub(crate) loaded: Loaded,
    /// The model, if it had to be packed for the board's kernels.
    pub(crate) packed: Option<ModelFile>,
}

/// Starts a board with a model, with all of its RAM or less, and makes sure that it can run it.
/// Weights that are packed for other kernels are packed for the board's.
pub(crate) fn start(
    file: &ModelFile,
    board: &str,
    ram: Option<u32>,
    options: &Options,
) -> Result<Started> {
    let registry = Registry::find()?;
    let spinner = spinner();
    let folder = TemporaryFolder::new().map_err(|error| failure!("{error}"))?;
    let packed = match packed_into(folder.path(), registry.board(board)?, file)? {
        Some(packed) => {
            let path = file.path().display();
            let remedy =
                format!("`brooklet plan {path} --board {board} --in-place` does it for good");
            say(&spinner, &format!("{path}: packed for the board's kernels; {remedy}"));
            Some(packed)
        }
        None => None,
    };
    let original = file.path();
    let file = packed.as_ref().unwrap_or(file);
    let spec = match ram {
        Some(bytes) => registry.limited(board, bytes, file.model().arena_bytes() as u32)?,
        None => registry.board(board)?.clone(),
    };
    let verdict = Verdict::of_packed(&spec, &file.model());
    if !verdict.fits {
        return Err(verdict.refused(file.path(), ""));
    }
    spinner.set_message(format!("starting {board}"));
    let path = Some(file.path());
    let mut board =
        Board::start_with(&registry, &spec, path, options, &mut |line| say(&spinner, line))
            .map_err(|error| named(error, original))?;
    let loaded = board.link().check()?;
    spinner.finish_and_clear();
    Ok(Started { registry, spec, board, loaded, packed })
}

/// An error that names the file that the user gave, not the one that was packed of it.
fn named(
    mut error: brooklet_firmware::FirmwareError,
    file: &Path,
) -> brooklet_firmware::FirmwareError {
    use brooklet_firmware::FirmwareError as E;
    if let E::ModelTooLarge { path, .. } | E::ArenaTooLarge { path, .. } = &mut error {
        *path = file.to_owned();
    }
    error
}

/// Sends an image, and waits for the answer.
pub(crate) fn infer(board: &mut Board, file: &ModelFile, pixels: &[u8]) -> Result<Answer> {
    let row = file.model().input().row_bytes();
    let answer = board.link().infer(pixels.chunks(row))?;
    Ok(file.answer(&answer.logits, &answer.output))
}

/// Has the board run the test images that the model carries: how many, if it carries some.
fn self_test(board: &mut Board, name: &str) -> Result<Option<u16>> {
    match board.link().self_test()? {
        (0, _) => Ok(None),
        (images, None) => Ok(Some(images)),
        (_, Some(image)) => Err(failure!(
            help = "`brooklet check` runs the same images on the host: if it passes there, this is \
                    a bug in a kernel or in the board's emulation: please report it",
            "{name}: self-test: test image {image} gives other bytes than those that the model has",
        )),
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let (input, preprocess) = (file.input(), file.preprocess());
    // What cannot be read is known before the board is started.
    let images = args
        .run
        .iter()
        .map(|path| read_image(path, input, &preprocess))
        .collect::<Result<Vec<_>, _>>()?;
    if args.check && args.run.is_empty() && file.model().test_images().len() == 0 {
        return Err(failure!(
            help = "add --run IMAGE, or store test images with `brooklet quantize --self-test 2`",
            "{}: there is nothing to check: no images were given, and the model carries no test \
             images",
            args.model.display(),
        ));
    }
    let mut simulator = file.simulator(HostBackend::Reference)?;
    let Started { spec, mut board, loaded, .. } =
        start(&file, &args.board, args.ram, &Options::default())?;
    let mut report = Report {
        board: args.board.clone(),
        ram_bytes: spec.ram.bytes,
        model_bytes: loaded.model_bytes,
        arena_bytes: loaded.arena_bytes,
        session_bytes: loaded.session_bytes,
        identical: None,
        self_test_images: None,
        images: Vec::new(),
        cost: None,
        line: None,
    };
    if args.check {
        report.self_test_images = self_test(&mut board, &args.board)?;
    }
    let mut answers = Vec::new();
    let bar = super::progress(images.len(), "running");
    for (path, pixels) in args.run.iter().zip(&images) {
        let pixels = pixels.as_standard_layout();
        let pixels = pixels.as_slice().unwrap_or(&[]);
        let answer = infer(&mut board, &file, pixels)?;
        if args.check {
            let expected = simulator.run(pixels);
            if answer != expected {
                return Err(failure!(
                    help =
                        "this is a bug in a kernel or in the board's emulation: please report it",
                    "{}: {} answers {:?}, the host {:?}",
                    path.display(),
                    args.board,
                    answer.logits,
                    expected.logits,
                ));
            }
            report.identical = Some(true);
        }
        let name = path.display().to_string();
        report.images.push(ImageReport::new(&file, name, args.board.clone(), &answer));
        answers.push((answer, None));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !args.run.is_empty() {
        let unit = board.link().identify()?.unit;
        report.cost = Some(Cost::new(unit, &board.link().profile()?, spec.clock_hz));
    }
    report.line = Line::new(board.link().line_errors()?);
    if let Some(path) = &args.logits {
        path.write(&logits_npy(&answers, file.logits_int16())?)?;
    }
    output.print(&report)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} bytes of RAM: {} bytes of model, {} of arena, {} of session: checked by the board",
            self.board,
            thousands(self.ram_bytes),
            thousands(self.model_bytes),
            thousands(self.arena_bytes),
            self.session_bytes,
        )?;
        if let Some(images) = self.self_test_images {
            writeln!(f, "self-test: {images} images gave the stored bytes on the board")?;
        }
        self.images.iter().try_for_each(|image| image.fmt(f))?;
        if self.identical == Some(true) {
            let count = self.images.len();
            writeln!(f, "{count} answers, all the same bytes as the host's")?;
        }
        if let Some(cost) = &self.cost {
            writeln!(f, "{}", cost.text)?;
        }
        if let Some(line) = &self.line {
            writeln!(f, "the line between host and board had {}", line.text)?;
        }
        Ok(())
    }
}
