//! `brooklet bench`: what an image costs on a board, counted by the board.

use std::fmt;

use brooklet::Feature;
use brooklet_firmware::{Options, Registry, Unit, size};
use schemars::JsonSchema;
use serde::Serialize;

use super::device::{DeviceArgs, Started, start};
use super::flash::infer;
use super::{Output, say, spinner};
use crate::failure::{Result, failure};
use crate::report::count::{Counted, Time, milliseconds, time, unit_name};
use crate::report::schema::Reported;
use crate::report::{percent, table, thousands};
use brooklet_files::InputPath;
use brooklet_firmware::cycles;
use brooklet_firmware::cycles::{Core, Cycles, Share};
use brooklet_plan::cost;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::records::kind;
use brooklet_quantize::data::Dataset;

/// Options of `brooklet bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    #[command(flatten)]
    device: DeviceArgs,
    /// Also estimates the cycles of the board's core, function by function. With a name, the
    /// estimate is for another core that runs the same code, such as Cortex-M0+.
    #[arg(long, value_name = "CORE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    cycles: Option<String>,
    /// Does not build the runtime alone, whose size is the report's size of code.
    #[arg(long)]
    no_code_size: bool,
}

/// What an image costs. Sizes are in bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the board.
    board: String,
    /// The board's processor core.
    core: String,
    /// The kernels that its firmware has.
    backend: String,
    /// The unit in which the board counts.
    unit: &'static str,
    /// The count from the first row pushed until the logits are ready, keyed by its unit.
    #[serde(flatten)]
    total: Counted,
    /// Time of an image at the board's clock, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    /// The instructions that the planner's cost model predicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_instructions: Option<u64>,
    /// The predicted time of an image at the board's clock, if the board counts instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_milliseconds: Option<f64>,
    #[serde(skip)]
    predicted: Option<Time>,
    /// The time of the estimated cycles at the board's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_milliseconds: Option<f64>,
    /// The cycles estimated from the core's timings.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_cycles: Option<Cycles>,
    /// Number of multiply-accumulates for an image.
    macs: u64,
    /// The count for checking the model file, which happens once at start-up.
    #[serde(flatten)]
    check: Check,
    /// Clock of the board's core.
    clock_hz: u32,
    /// Size of the model file.
    model_bytes: u32,
    /// RAM of the board.
    ram_bytes: u32,
    /// RAM for the model's rows and scratch memory.
    arena_bytes: u32,
    /// Size of the session, without the arena.
    session_bytes: u32,
    /// The greatest depth of the stack of the whole firmware.
    stack_bytes: u32,
    /// Code of the runtime that this model needs; known only in a checkout of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_bytes: Option<u64>,
    /// Read-only data of the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    rodata_bytes: Option<u64>,
    /// The layers that the board has room to count.
    layers: Vec<LayerProfile>,
    #[serde(skip)]
    count: u64,
    #[serde(skip)]
    check_count: u64,
    #[serde(skip)]
    kind_of_count: Unit,
}

/// What a layer costs.
#[derive(Debug, Serialize, JsonSchema)]
struct LayerProfile {
    /// Name of the layer.
    name: String,
    /// Kind of the layer.
    kind: &'static str,
    /// Number of multiply-accumulates for an image.
    macs: u64,
    #[serde(skip)]
    count: u64,
    /// The count, keyed by its unit.
    #[serde(flatten)]
    counted: Counted,
}

/// The count for checking the model file, keyed by its unit.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Check {
    /// The instructions, if the board counts them.
    #[serde(rename = "check_instructions", skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
    /// The cycles, if the board counts them.
    #[serde(rename = "check_cycles", skip_serializing_if = "Option::is_none")]
    cycles: Option<u64>,
    /// The microseconds, if the board counts them.
    #[serde(rename = "check_microseconds", skip_serializing_if = "Option::is_none")]
    microseconds: Option<u64>,
}

impl From<Counted> for Check {
    fn from(counted: Counted) -> Self {
        let Counted { instructions, cycles, microseconds } = counted;
        Self { instructions, cycles, microseconds }
    }
}

/// The core whose timings the user wants: the named core, or the board's if the name is empty.
fn core(board: &str, name: &str) -> Result<Core> {
    let registry = Registry::find()?;
    let spec = registry.board(board)?;
    let (own, other) = (Core::of(spec), Core::instead(spec, name));
    match own {
        Some(own) if name.is_empty() => Ok(own),
        Some(own) => other.ok_or_else(|| {
            failure!(
                help = format!("cores are {}", Core::ALL.map(Core::name).join(", ")),
                "--cycles: the timings of {name} are not known, or it cannot run the code of {}",
                own.name()
            )
        }),
        None => {
            let known = registry.boards().iter().filter(|spec| Core::of(spec).is_some());
            let known: Vec<&str> = known.map(|spec| spec.name.as_str()).collect();
            Err(failure!(
                help = format!("boards whose core's timings are known: {}", known.join(", ")),
                "--cycles: the timings of {board}'s core are not known, or its emulator does not \
                 count instructions one by one",
            ))
        }
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let core = args.cycles.as_ref().map(|name| core(&args.device.board, name)).transpose()?;
    let options = Options { count: core.is_some(), ..Options::default() };
    let Started { registry, spec, mut board, loaded, packed } =
        start(&file, &args.device, &options)?;
    let model = packed.as_ref().unwrap_or(&file).model();
    let spinner = spinner();
    spinner.set_message("running an image");
    // The content of the image changes the counts by a few hundredths of a percent only.
    let noise = Dataset::open("random:1", file.input(), &file.preprocess())?.get(0)?.pixels;
    infer(&mut board, &file, noise.as_slice().unwrap_or(&[]))?;
    let profile = board.link().profile()?;
    let unit = board.link().identify()?.unit;
    if profile.stack_bytes > spec.stack_bytes {
        let (taken, kept) = (profile.stack_bytes, spec.stack_bytes);
        return Err(
            brooklet_firmware::FirmwareError::Stack { board: spec.name, taken, kept }.into()
        );
    }
    let cycles = match core {
        Some(core) => Some(cycles::estimate(core, &board.counts()?)),
        None => None,
    };
    let needed = |feature: &Feature| model.layers().iter().any(|l| feature.is_needed_by(l));
    let features: Vec<&str> = Feature::ALL.into_iter().filter(needed).map(Feature::name).collect();
    let sizes = match registry.is_checkout() && !args.no_code_size {
        true => {
            spinner.set_message("measuring the runtime's size");
            let report = &mut |line: &str| say(&spinner, line);
            Some(size::runtime(&registry, &spec, &features, report)?)
        }
        false => None,
    };
    spinner.finish_and_clear();
    let layers = profile
        .layers
        .iter()
        .enumerate()
        .map(|(index, &count)| LayerProfile {
            name: model.name(index).to_owned(),
            kind: kind(model.layer(index)),
            macs: model.graph().macs(index),
            count,
            counted: Counted::new(unit, count),
        })
        .collect::<Vec<_>>();
    let costs = cost::of(&spec);
    let predicted_instructions = costs.as_ref().and_then(|costs| costs.total(model.layers()));
    let predicted = Time::without_cycles(unit, &spec, model.layers());
    let report = Report {
        board: spec.name.clone(),
        core: spec.core.clone(),
        backend: spec.backend.clone(),
        unit: unit_name(unit),
        total: Counted::new(unit, profile.total),
        milliseconds: milliseconds(unit, profile.total, spec.clock_hz),
        estimated_milliseconds: cycles
            .as_ref()
            .and_then(|cycles| milliseconds(Unit::Cycles, cycles.estimate, spec.clock_hz)),
        count: profile.total,
        kind_of_count: unit,
        predicted_instructions,
        predicted_milliseconds: predicted.map(|time| time.milliseconds),
        predicted,
        estimated_cycles: cycles,
        macs: (0..model.layers().len()).map(|index| model.graph().macs(index)).sum(),
        check: Counted::new(unit, loaded.check_count).into(),
        check_count: loaded.check_count,
        clock_hz: spec.clock_hz,
        model_bytes: loaded.model_bytes,
        ram_bytes: spec.ram.bytes,
        arena_bytes: loaded.arena_bytes,
        session_bytes: loaded.session_bytes,
        stack_bytes: profile.stack_bytes,
        text_bytes: sizes.as_ref().map(|sizes| sizes.text_bytes),
        rodata_bytes: sizes.as_ref().map(|sizes| sizes.rodata_bytes),
        layers,
    };
    output.print(&report)
}

/// Number of functions and kinds of instructions that are shown; the others take few cycles.
const SHOWN: usize = 10;

/// A table of the cycles that each part takes.
fn shares(title: &str, parts: &[Share], cycles: &Cycles) -> comfy_table::Table {
    let mut table = table([title, "run", "cycles, estimated", "share"], &[0]);
    for part in parts.iter().take(SHOWN) {
        table.add_row([
            part.name.clone(),
            thousands(part.instructions),
            thousands(part.cycles),
            percent(part.cycles as f64 / cycles.estimate as f64),
        ]);
    }
    table
}

impl Reported for Report {
    const NAME: &str = "bench";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(["layer", "kind", "MACs", self.unit, "per MAC"], &[0, 1]);
        let ratio = |count: u64, macs: u64| match macs {
            0 => String::new(),
            _ => format!("{:.2}", count as f64 / macs as f64),
        };
        for layer in &self.layers {
            table.add_row([
                layer.name.clone(),
                layer.kind.to_owned(),
                thousands(layer.macs),
                thousands(layer.count),
                ratio(layer.count, layer.macs),
            ]);
        }
        writeln!(f, "{table}\n")?;
        if let Some(cycles) = &self.estimated_cycles {
            for (title, parts) in [("instructions", &cycles.kinds), ("function", &cycles.functions)]
            {
                writeln!(f, "{}\n", shares(title, parts, cycles))?;
            }
        }
        writeln!(f, "board         {}, {}, backend {}", self.board, self.core, self.backend)?;
        writeln!(
            f,
            "{:<12}  {} per image, {} per MAC, {} MACs{}",
            self.unit,
            thousands(self.count),
            ratio(self.count, self.macs),
            thousands(self.macs),
            time(self.kind_of_count, self.count, self.clock_hz)
                .map_or(String::new(), |time| format!("; {time}")),
        )?;
        if let Some(predicted) = self.predicted_instructions {
            let time = self.predicted.map(|time| format!("; {}", time.at(self.clock_hz)));
            let instructions = thousands(predicted);
            writeln!(f, "predicted     {instructions} instructions{}", time.unwrap_or_default())?;
        }
        if let Some(cycles) = &self.estimated_cycles {
            writeln!(
                f,
                "cycles        {} estimated for a {}{}, between {} and {}, if memory never waits",
                thousands(cycles.estimate),
                cycles.core,
                time(Unit::Cycles, cycles.estimate, self.clock_hz)
                    .map_or(String::new(), |time| format!(" ({time})")),
                thousands(cycles.least),
                thousands(cycles.most),
            )?;
        }
        writeln!(
            f,
            "model file    {} bytes, checked at start-up in {} {}",
            thousands(self.model_bytes),
            thousands(self.check_count),
            self.unit,
        )?;
        writeln!(
            f,
            "RAM           {} bytes: arena {}, session {}, stack up to {}",
            thousands(self.ram_bytes),
            thousands(self.arena_bytes),
            thousands(self.session_bytes),
            thousands(self.stack_bytes),
        )?;
        let (Some(text), Some(rodata)) = (self.text_bytes, self.rodata_bytes) else {
            return Ok(());
        };
        let [text, rodata] = [text, rodata].map(thousands);
        writeln!(f, "runtime       {text} bytes of code, {rodata} of read-only data")
    }
}
