//! `brooklet flash`: writes firmware and model onto a board, and sends images to it.

use std::fmt;

use brooklet_firmware::{Board, FlashImage, LineErrors, Options, Profile, Spec, Unit, uf2};
use schemars::JsonSchema;
use serde::Serialize;

use super::device::{DeviceArgs, Started, Target, Way, check_probe, start};
use super::run::ImageReport;
use super::{Output, spinner};
use crate::failure::{Result, failure};
use crate::report::count::{Counted, Time, milliseconds, time, unit_name};
use crate::report::schema::Reported;
use crate::report::{table, thousands};
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_quantize::data::read_image;
use brooklet_quantize::evaluate::logits_npy;

/// Options of `brooklet flash`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    #[command(flatten)]
    device: DeviceArgs,
    /// Prints what would be written, and where, without writing it.
    #[arg(long, conflicts_with_all = ["run", "check", "logits"])]
    dry_run: bool,
    /// Only writes firmware and model as a UF2 file, for the drive of the board's boot loader.
    #[arg(long, value_name = "FILE.uf2", conflicts_with_all = ["run", "check", "logits", "dry_run"])]
    uf2: Option<OutputPath>,
    /// Sends these images, and prints the board's answers.
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    run: Vec<InputPath>,
    /// Compares each answer with the host simulator's, byte for byte, and has the board run the
    /// test images that the model carries; fails on any difference.
    #[arg(long)]
    check: bool,
    /// Writes the board's int8 logits, one row per image; if the network ends in a map, [images, rows,
    /// columns, classes].
    #[arg(long, value_name = "FILE.npy", requires = "run")]
    logits: Option<OutputPath>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the board.
    board: String,
    /// RAM of the board.
    ram_bytes: u32,
    /// Size of the model file.
    model_bytes: u32,
    /// RAM for the model's rows and scratch memory.
    arena_bytes: u32,
    /// Size of the session, without the arena.
    session_bytes: u32,
    /// Whether every answer was the same as the host's, if they were compared.
    identical: Option<bool>,
    /// Number of test images for which the board computed the stored bytes, if it ran them.
    self_test_images: Option<u16>,
    /// The network's answer for each image.
    images: Vec<ImageReport>,
    /// The costs of the last image.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    /// Errors on the serial line, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<Line>,
}

/// The costs of an image, in the unit in which the board counts.
#[derive(Debug, Serialize, JsonSchema)]
struct Cost {
    #[serde(flatten)]
    total: Counted,
    /// Time of the image at the board's clock, unless the board counts instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    /// Time that the planner predicts, if the board counts instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_milliseconds: Option<f64>,
    /// Clock of the board's core.
    clock_hz: u32,
    #[serde(skip)]
    text: String,
}

impl Cost {
    fn new(unit: Unit, profile: &Profile, spec: &Spec, file: &ModelFile) -> Self {
        let (total, clock_hz) = (profile.total, spec.clock_hz);
        let mut text = format!("{} {} an image", thousands(total), unit_name(unit));
        let predicted = Time::without_cycles(unit, spec, file.model().layers());
        let time = time(unit, total, clock_hz).or(predicted.map(|time| time.at(clock_hz)));
        if let Some(time) = time {
            text += &format!(", {time}");
        }
        let milliseconds = milliseconds(unit, total, clock_hz);
        let predicted_milliseconds = predicted.map(|time| time.milliseconds);
        let total = Counted::new(unit, total);
        Self { total, milliseconds, predicted_milliseconds, clock_hz, text }
    }
}

/// Errors of the line between host and board.
#[derive(Debug, Serialize, JsonSchema)]
struct Line {
    /// Number of times that bytes were lost because they were not taken out of the UART in time.
    overruns: u32,
    /// Number of bytes without a proper end, or with wrong parity.
    framing: u32,
    /// Number of bytes for which the ring had no room.
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

/// Sends an image, and waits for the answer.
pub(crate) fn infer(board: &mut Board, file: &ModelFile, pixels: &[u8]) -> Result<Answer> {
    let row = file.model().input().row_bytes();
    let answer = board.link().infer(pixels.chunks(row))?;
    Ok(file.answer(&answer.logits, &answer.output))
}

/// Has the board run the test images that the model carries. Returns their number, if there are any.
fn self_test(board: &mut Board, name: &str) -> Result<Option<u16>> {
    match board.link().self_test()? {
        (0, _) => Ok(None),
        (images, None) => Ok(Some(images)),
        (_, Some(image)) => Err(failure!(
            help = "`brooklet check` runs the same images on the host: if it passes there, this is \
                    a bug in a kernel or in the board's emulation: please report it",
            "{name}: self-test: test image {image} gives other bytes than the model stores",
        )),
    }
}

/// What is written to a board, or would be written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// Name of the board.
    board: String,
    /// How it is written, in words.
    way: String,
    /// The parts that are written, and their addresses.
    parts: Vec<Part>,
}

/// A part of what is written.
#[derive(Debug, Serialize, JsonSchema)]
struct Part {
    /// Boot loader, partition table, firmware or model.
    what: &'static str,
    /// Address of the first byte: in memory, or, for an Espressif chip, in its flash.
    address: u32,
    /// Number of bytes.
    bytes: usize,
}

/// The kind of the bytes at an address: in memory, or, for an Espressif chip, in its flash.
fn what(spec: &Spec, address: u32) -> &'static str {
    let Some(espflash) = &spec.espflash else {
        return if spec.slot.contains(address) { "model" } else { "firmware" };
    };
    match address {
        0 => "boot loader",
        _ if address < espflash.firmware_offset => "partition table",
        _ if address < espflash.slot_offset => "firmware",
        _ => "model",
    }
}

impl Written {
    fn new(spec: &Spec, way: String, image: &FlashImage) -> Self {
        let part = |(address, bytes): (u32, &[u8])| Part {
            what: what(spec, address),
            address,
            bytes: bytes.len(),
        };
        Self { board: spec.name.clone(), way, parts: image.parts().map(part).collect() }
    }
}

impl Reported for Written {
    const NAME: &str = "flash-dry-run";
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(["what", "from", "to", "bytes"], &[0]);
        for part in &self.parts {
            let end = part.address as usize + part.bytes - 1;
            table.add_row([
                part.what.to_owned(),
                format!("{:#010x}", part.address),
                format!("{end:#010x}"),
                thousands(part.bytes),
            ]);
        }
        writeln!(f, "{}: {}\n\n{table}", self.board, self.way)
    }
}

/// Writes a UF2 file, or reports what would be written.
fn written(args: &Args, file: &ModelFile, output: Output) -> Result<()> {
    let spinner = spinner();
    let target = Target::new(file, &args.device, &spinner)?;
    let image = target.image(&args.device, file, &spinner)?;
    spinner.finish_and_clear();
    let spec = &target.spec;
    let way = match &args.uf2 {
        Some(path) => {
            let Some(format) = &spec.uf2 else {
                return Err(failure!(
                    help = "boards that take such files have `uf2` in their board.toml",
                    "--uf2: the boot loader of {} does not take UF2 files",
                    spec.name
                ));
            };
            path.write(&uf2::encode(&image, format))?;
            format!("{} is written, for the drive {}", path.display(), format.drive)
        }
        None => match (&spec.uf2, args.device.way(spec)) {
            // Only its boot loader can write to this board, and its drive is not mounted.
            (Some(format), Err(_)) if args.device.is_any() => {
                format!("as a UF2 file, to the drive {}, once it is mounted", format.drive)
            }
            (_, way) => match way? {
                Way::Emulator => "in the emulator, which would load".to_owned(),
                Way::Probe(_) => {
                    check_probe(spec, &image)?;
                    let chip = spec.probe.as_ref().map_or("", |probe| &probe.chip);
                    format!("by a debug probe, which knows {chip} and its flash")
                }
                way @ (Way::Drive(_) | Way::Espflash(_)) => way.to_string(),
                Way::Attached(port) => {
                    format!("nothing is written: the board at {port} must already have")
                }
            },
        },
    };
    output.print(&Written::new(spec, way, &image))
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let (input, preprocess) = (file.input(), file.preprocess());
    // Images are read first, so that their errors are reported before the board is started.
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
    if args.dry_run || args.uf2.is_some() {
        return written(args, &file, output);
    }
    let name = &args.device.board;
    let mut simulator = file.simulator(HostBackend::Reference)?;
    let started = start(&file, &args.device, &Options::default())?;
    let Started { spec, mut board, loaded, packed, .. } = started;
    let model = packed.as_ref().unwrap_or(&file);
    let mut report = Report {
        board: name.clone(),
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
        report.self_test_images = self_test(&mut board, name)?;
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
                    name,
                    answer.logits,
                    expected.logits,
                ));
            }
            report.identical = Some(true);
        }
        let image = path.display().to_string();
        report.images.push(ImageReport::new(&file, image, name.clone(), &answer));
        answers.push((answer, None));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !args.run.is_empty() {
        let unit = board.link().identify()?.unit;
        report.cost = Some(Cost::new(unit, &board.link().profile()?, &spec, model));
    }
    report.line = Line::new(board.link().line_errors()?);
    if let Some(path) = &args.logits {
        path.write(&logits_npy(&answers, file.logits_int16(), file.map())?)?;
    }
    output.print(&report)
}

impl Reported for Report {
    const NAME: &str = "flash";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} bytes of RAM: model {} bytes, arena {}, session {}, checked by the board",
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
