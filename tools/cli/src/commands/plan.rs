//! `brooklet plan`: plans a model's memory for a board, and shows it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use brooklet::format::{Packing, WEIGHTS_ALIGN};
use brooklet_firmware::Spec;
use schemars::JsonSchema;
use serde::Serialize;

use super::chip::Device;
use super::choice::kernels;
use super::fit::Verdict;
use super::{Output, Stage, bytes, detail};
use crate::failure::{Failure, Result, failure};
use crate::report::count::Time;
use crate::report::schema::Reported;
use crate::report::{self, thousands};
use brooklet_files::text;
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::cost;
use brooklet_plan::figure;
use brooklet_plan::memory_map::MemoryMap;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::{Goal, Plan, Uncuttable, plan};
use brooklet_plan::program::{Layer, Program};

/// Options of `brooklet plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// The model file to write. Without it, and without --in-place, the plan is only shown.
    #[arg(short, long, value_name = "MODEL.brook", conflicts_with = "in_place")]
    output: Option<OutputPath>,
    /// Writes the plan into the given model file itself.
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    budget: Budget,
    /// Draws the memory map as SVG.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<OutputPath>,
    /// Draws as SVG which rows of each layer are in memory at the step that takes the most.
    #[arg(long, value_name = "FILE.svg")]
    rows_svg: Option<OutputPath>,
}

/// Options that say what to plan for.
#[derive(Debug, clap::Args)]
pub(super) struct Budget {
    #[command(flatten)]
    pub(super) device: Device,
    /// Size of the window through which weights in flash behind a driver are read. The weights are
    /// then written last in the file. Default: the board's window, if its slot is behind a driver.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    weights_window: Option<u32>,
    /// Kernels to pack the weights for. Default: the board's, or those that the weights are packed
    /// for already.
    #[arg(long, value_parser = kernels())]
    backend: Option<Kernels>,
    /// Plans for the smallest arena, or for the fewest cycles that the board's RAM and flash allow.
    #[arg(long, value_enum, default_value_t)]
    optimize: Optimize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Optimize {
    #[default]
    Size,
    Speed,
}

impl Budget {
    /// The board, with as much memory as the options say.
    pub(super) fn board(&self) -> Result<Option<Spec>> {
        let board = self.device.spec()?;
        if board.is_none() && self.optimize == Optimize::Speed {
            return Err(failure!(
                help = "add --board NAME, `brooklet boards` lists them, or --chip CORE",
                "--optimize speed needs to know how much RAM is available"
            ));
        }
        Ok(board)
    }

    /// The limit of the model file's bytes, if the user gives one.
    pub(super) fn flash(&self) -> Option<usize> {
        self.device.flash.map(|bytes| bytes as usize)
    }

    /// Size in bytes of the window that weights are read through, if there is one.
    fn weights_window(&self, board: Option<&Spec>) -> Option<u32> {
        let of_board = || Some(board?.weights_window?.bytes);
        self.weights_window.or_else(of_board)
    }

    fn kernels(&self, board: Option<&Spec>) -> Result<Option<Kernels>> {
        match (self.backend, board) {
            (Some(kernels), _) => Ok(Some(kernels)),
            (None, Some(spec)) => Ok(Some(Kernels::of(spec)?)),
            (None, None) => Ok(None),
        }
    }

    /// The size of the program's smallest model file, and the sizes of each layer's weights, one for
    /// each number of bits that they can have.
    ///
    /// All sizes are in bytes.
    pub(super) fn smallest(
        &self,
        program: Program,
        board: Option<&Spec>,
        network: &Path,
    ) -> Result<(usize, Vec<BTreeMap<u32, usize>>)> {
        let packing = self.kernels(board)?.map_or(Packing::Ohwi, Kernels::packing);
        let program = program.packed(packing);
        let plan = plan(&program, Goal::Size).map_err(|error| uncuttable(&error, network))?;
        // Weights in the file are aligned.
        let bytes =
            |layer: &Layer, packing| layer.bytes_as(packing).next_multiple_of(WEIGHTS_ALIGN);
        let of_widths = |layer: &Layer| {
            let narrow = !layer.record.has_int16() && !layer.record.is_stream16();
            let widths = Packing::WIDTHS.into_iter().filter(|&bits| narrow || bits == 8);
            let packings = widths.filter_map(|bits| Some((bits, packing.in_bits(bits)?)));
            packings.map(|(bits, packing)| (bits, bytes(layer, packing))).collect()
        };
        Ok((program.write(&plan).len(), program.layers.iter().map(of_widths).collect()))
    }

    /// The program packed for the kernels that will run it, and its plan.
    pub(super) fn plan(
        &self,
        mut program: Program,
        board: Option<&Spec>,
        network: &Path,
    ) -> Result<(Program, Plan)> {
        let _stage = Stage::new("planning");
        program.weights_last |= self.weights_window(board).is_some();
        let kernels = self.kernels(board)?;
        let (goal, file_bytes) = match (self.optimize, board) {
            (Optimize::Speed, Some(spec)) => {
                // Weights that are read through a window for every image must not grow to be
                // faster.
                let window = self.weights_window(board);
                let file_bytes = if window.is_some() { 0 } else { spec.slot.bytes as usize };
                (Goal::Speed { arena_bytes: spec.arena_bytes as usize }, file_bytes)
            }
            _ => (Goal::Size, usize::MAX),
        };
        let planned = match kernels {
            Some(kernels) => {
                let costs = board.map(|spec| cost::similar(spec, kernels.packing()));
                kernels.plan(program, goal, file_bytes, &costs.unwrap_or_default())
            }
            None => plan(&program, goal).map(|plan| (program, plan)),
        };
        let (program, plan) = planned.map_err(|error| uncuttable(&error, network))?;
        detail(|| decided(&program, &plan));
        Ok((program, plan))
    }
}

/// What the planner decided, in words.
fn decided(program: &Program, plan: &Plan) -> String {
    let mut packings: BTreeMap<&str, usize> = BTreeMap::new();
    for record in program.layers.iter().map(|layer| &layer.record) {
        if record.operator().has_packing() {
            *packings.entry(record.packing().name()).or_default() += 1;
        }
    }
    let packings: Vec<String> =
        packings.iter().map(|(name, layers)| format!("{layers} layers {name}")).collect();
    format!(
        "plan: {} segments, arena {} bytes; weights are packed: {}",
        plan.segments.len(),
        thousands(plan.arena_bytes),
        packings.join(", ")
    )
}

fn uncuttable(error: &Uncuttable, network: &Path) -> Failure {
    failure!(help = "brooklet runs networks of residual blocks", "{}: {error}", network.display())
}

/// Sizes are in bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The model file.
    model: PathBuf,
    /// Whether the plan was written into that file.
    written: bool,
    /// Size of the model file.
    model_bytes: usize,
    /// Size of the arena of this plan.
    arena_bytes: usize,
    /// Size of the arena if it held the whole maps of each layer.
    whole_bytes: usize,
    /// Parts of the network that run one after the other.
    segments: Vec<Segment>,
    /// The moment at which the arena is fullest.
    peak: Peak,
    /// The costs of reading weights through a window, if they are read through one.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_window: Option<Window>,
    /// Predicted time of an image on the board.
    #[serde(flatten)]
    time: Option<Time>,
    /// Clock of the board's core.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_hz: Option<u32>,
    /// Whether it fits the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip)]
    map: String,
}

/// The costs of reading weights through a window.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Window {
    /// Size of the window.
    pub(super) bytes: usize,
    /// Size of the smallest possible window.
    smallest_bytes: usize,
    /// RAM for the part of the file before the weights.
    pub(super) resident_bytes: usize,
    /// Size of the weights in the file.
    weight_bytes: usize,
    /// Size of the weights that are read for each image.
    read_bytes: u64,
}

impl Window {
    /// Fails if the window is too small for the file's weights.
    pub(super) fn new(file: &ModelFile, bytes: u32) -> Result<Self> {
        let (model, bytes) = (file.model(), bytes as usize);
        let smallest_bytes = brooklet::smallest_window(model.graph());
        let resident_bytes = brooklet::resident_bytes(file.bytes());
        let read_bytes = brooklet::weight_bytes_read(model.graph(), bytes).map_err(|error| {
            let help = format!("--weights-window {smallest_bytes} is the smallest");
            failure!(help = help, "{}: {error}", file.path().display())
        })?;
        let weight_bytes = file.bytes().len() - resident_bytes;
        Ok(Self { bytes, smallest_bytes, resident_bytes, weight_bytes, read_bytes })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Segment {
    /// Its first layer.
    first: String,
    /// Its last layer.
    last: String,
    /// Number of its steps.
    steps: usize,
    /// The largest number of bytes that it holds at a time.
    bytes: usize,
}

/// The fullest moment.
#[derive(Debug, Serialize, JsonSchema)]
struct Peak {
    /// The segment in which it is.
    segment: usize,
    /// The step, numbered over all segments.
    step: usize,
    /// The layer that runs in this step.
    layer: String,
    /// Number of bytes of the arena that are in use.
    bytes: usize,
    /// What uses them.
    holds: Vec<Holds>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Holds {
    #[serde(skip)]
    letter: char,
    /// The layer that made it.
    layer: String,
    /// Number of rows of its output.
    rows: usize,
    /// Size of these rows.
    bytes: usize,
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let board = args.budget.board()?;
    if board.is_none() && args.budget.flash().is_some() {
        return Err(failure!(
            help = "add --board NAME, `brooklet boards` lists them, or --chip CORE",
            "--flash needs a board or chip, whose kernels the weights are packed for"
        ));
    }
    let written = match args.in_place {
        true => Some(OutputPath::in_place(&args.model)?),
        false => args.output.clone(),
    };
    let program = Program::read(&file.model());
    let (program, planned) = args.budget.plan(program, board.as_ref(), &args.model)?;
    let whole = plan(&program, Goal::Speed { arena_bytes: usize::MAX })
        .map_err(|error| uncuttable(&error, &args.model))?;
    let path = written.as_ref().map_or(args.model.as_path(), |path| path.as_path());
    let file = ModelFile::new(path, program.write(&planned))?;
    let map = MemoryMap::new(file.model());
    if let Some(path) = &args.svg {
        path.write(text::page(&map.svg()).as_bytes())?;
    }
    if let Some(path) = &args.rows_svg {
        path.write(text::page(&figure::rows(file.model(), map.peak())).as_bytes())?;
    }
    if let Some(path) = &written {
        path.write(file.bytes())?;
    }
    let window = args.budget.weights_window(board.as_ref());
    let window = window.map(|bytes| Window::new(&file, bytes)).transpose()?;
    let verdict = board.as_ref().map(|spec| Verdict::new(spec, &file)).transpose()?;
    let mut report = Report::new(&file, written.is_some(), &map, whole.arena_bytes, verdict);
    report.weights_window = window;
    if let Some((spec, costs)) = board.as_ref().zip(board.as_ref().and_then(cost::of)) {
        report.time = Time::of(spec, &costs, file.model().layers());
        report.clock_hz = report.time.map(|_| spec.clock_hz);
    }
    output.print(&report)
}

impl Report {
    fn new(
        file: &ModelFile,
        written: bool,
        map: &MemoryMap<'_>,
        whole_bytes: usize,
        verdict: Option<Verdict>,
    ) -> Self {
        let model = file.model();
        let name = |layer: usize| model.name(layer).to_owned();
        let layers = (0..model.graph().segments.len()).map(|index| model.graph().segment(index));
        let segment = |(layers, steps): (std::ops::Range<usize>, std::ops::Range<usize>)| Segment {
            first: name(layers.start),
            last: name(layers.end - 1),
            steps: steps.len(),
            bytes: steps.map(|step| map.bytes_at(step)).max().unwrap_or(0),
        };
        let peak = map.peak();
        let holds = map.held(peak).into_iter().map(|held| Holds {
            letter: MemoryMap::letter(held.layer),
            layer: name(held.layer),
            rows: held.rows,
            bytes: held.bytes,
        });
        Self {
            model: file.path().to_owned(),
            written,
            model_bytes: file.bytes().len(),
            arena_bytes: model.arena_bytes(),
            whole_bytes,
            segments: layers.zip(map.segments()).map(segment).collect(),
            peak: Peak {
                segment: map.segments().position(|steps| steps.contains(&peak)).unwrap_or(0),
                step: peak,
                layer: name(map.layer_at(peak)),
                bytes: map.bytes_at(peak),
                holds: holds.collect(),
            },
            weights_window: None,
            time: None,
            clock_hz: None,
            verdict,
            map: map.text(),
        }
    }
}

impl Reported for Report {
    const NAME: &str = "plan";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} bytes, arena {} bytes (each layer whole: {})\n",
            self.model.display(),
            thousands(self.model_bytes),
            thousands(self.arena_bytes),
            thousands(self.whole_bytes),
        )?;
        writeln!(
            f,
            "The arena: bytes run downwards, time runs to the right; | begins a segment:\n"
        )?;
        writeln!(f, "{}", self.map)?;
        let mut table = report::table(["segment", "layers", "", "steps", "bytes"], &[1, 2]);
        for (index, segment) in self.segments.iter().enumerate() {
            let numbers = [thousands(segment.steps), thousands(segment.bytes)];
            let names = [segment.first.clone(), segment.last.clone()];
            table.add_row([vec![index.to_string()], names.into(), numbers.into()].concat());
        }
        writeln!(f, "{table}\n")?;
        let Peak { segment, step, layer, bytes, .. } = &self.peak;
        let bytes = thousands(bytes);
        writeln!(f, "{bytes} bytes at step {step}, in segment {segment}, when {layer} runs:\n")?;
        let mut table = report::table(["", "of layer", "rows", "bytes"], &[0, 1]);
        for holds in &self.peak.holds {
            table.add_row([
                holds.letter.to_string(),
                holds.layer.clone(),
                thousands(holds.rows),
                thousands(holds.bytes),
            ]);
        }
        writeln!(f, "{table}")?;
        if let Some(window) = &self.weights_window {
            let Window { bytes, smallest_bytes, resident_bytes, weight_bytes, read_bytes } = window;
            let [ram, bytes, smallest, resident, weights] =
                [bytes + resident_bytes, *bytes, *smallest_bytes, *resident_bytes, *weight_bytes]
                    .map(thousands);
            let read = thousands(read_bytes);
            writeln!(
                f,
                "\nweights behind a driver: {ram} bytes of RAM besides the arena: {bytes} for the \
                 window (at least {smallest}), {resident} for the file up to the weights; each image \
                 reads {read} bytes from {weights} bytes of weights"
            )?;
        }
        if let (Some(time), Some(hz)) = (self.time, self.clock_hz) {
            writeln!(f, "\ntime: {}", time.at(hz))?;
        }
        if let Some(verdict) = &self.verdict {
            write!(f, "\n{verdict}")?;
        }
        match self.written {
            true => Ok(()),
            false => writeln!(f, "\nthe plan is not written: add -o MODEL.brook, or --in-place"),
        }
    }
}
