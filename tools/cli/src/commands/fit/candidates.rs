//! The models that can be made from a network: settings to quantize it, and goals to plan for.
//!
//! Each is a command line of `quantize`, which is run and shown.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use brooklet_firmware::Spec;
use brooklet_plan::cost;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::program::Program;
use brooklet_quantize::data::Preprocess;
use schemars::JsonSchema;
use serde::Serialize;

use super::Args;
use crate::commands::images::resize_word;
use crate::commands::quantize::{self, build};
use crate::failure::{Result, failure};
use crate::project;
use crate::report::count::Time;

/// How a network is quantized.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct Setting {
    /// Bits of weights; `None` if each layer gets as many as flash allows.
    pub(super) weights: Option<u32>,
    /// Bits of the residual stream.
    pub(super) stream: u32,
    /// Whether mean and logits are int16.
    pub(super) int16_last: bool,
    /// Rows, columns, channels of the image, if it is smaller than the network's.
    pub(super) input: Option<[u32; 3]>,
    /// How images are brought to that size.
    #[serde(skip)]
    pub(super) preprocess: Preprocess,
}

impl Setting {
    /// All settings that keep the network's own input size.
    pub(super) fn all(preprocess: Preprocess, spec: &Spec) -> Vec<Setting> {
        let setting = |weights, stream, int16_last| Setting {
            weights,
            stream,
            int16_last,
            input: None,
            preprocess,
        };
        let mut settings = vec![
            setting(Some(8), 8, false),
            setting(Some(8), 16, false),
            setting(None, 8, false),
            setting(Some(4), 8, false),
            setting(Some(4), 16, false),
        ];
        if spec.int16 {
            settings.insert(2, setting(Some(8), 8, true));
        }
        settings
    }

    /// `8-bit weights, 16-bit stream`.
    pub(super) fn words(&self) -> String {
        let weights = self.weights.map_or("mixed".to_owned(), |bits| format!("{bits}-bit"));
        let mut words = format!("{weights} weights, {}-bit stream", self.stream);
        if self.int16_last {
            words += ", last layers in int16";
        }
        if let Some([height, width, _]) = self.input {
            words += &format!(", input {height}x{width}");
        }
        words
    }

    /// Height and width of the image, if it is smaller than the network's.
    pub(super) fn size(&self) -> Option<[u32; 2]> {
        self.input.map(|[height, width, _]| [height, width])
    }

    /// The size of the input, and how images are brought to it.
    fn sizes(&self, own: Option<[u32; 2]>) -> Vec<String> {
        let pair = |[height, width]: [u32; 2]| format!("{height}x{width}");
        let options = [
            ("--input", self.size().or(own).map(pair)),
            ("--resize", self.preprocess.resize.map(resize_word)),
            ("--crop", self.preprocess.crop.map(pair)),
        ];
        let said = options.into_iter().filter_map(|(option, value)| Some((option, value?)));
        said.flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }

    fn options(&self) -> Vec<String> {
        let weights = self.weights.map(|bits| ["--weights".to_owned(), bits.to_string()]);
        let mut options: Vec<String> = weights.into_iter().flatten().collect();
        // `--stream` cannot be combined with int16, not even if it is 8.
        match self.int16_last {
            true => options.extend(["--int16", "last"].map(str::to_owned)),
            false if self.stream != 8 => {
                options.extend(["--stream".to_owned(), self.stream.to_string()]);
            }
            false => {}
        }
        options
    }
}

/// What a program is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal {
    /// Whether to plan for the fewest instructions, instead of the smallest arena.
    pub(super) speed: bool,
    /// Limit of RAM in bytes, if it is less than all of it.
    pub(super) ram: Option<u32>,
    /// Limit of flash in bytes, if it is less than all of it.
    pub(super) flash: Option<u32>,
}

/// The smallest arena.
const SMALLEST: Goal = Goal { speed: false, ram: None, flash: None };

/// A model that was planned.
pub(super) struct Planned {
    pub(super) file: ModelFile,
    pub(super) instructions: Option<u64>,
    pub(super) time: Option<Time>,
    pub(super) words: Words,
}

/// The words of a command line of `quantize`.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// Words that all models share.
    common: Vec<String>,
    /// Words of this model only.
    options: Vec<String>,
}

impl Words {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.common.iter().chain(&self.options).map(String::as_str)
    }

    /// The whole command, quoted for a shell.
    pub(super) fn command(&self) -> String {
        shell(["brooklet", "quantize"].into_iter().chain(self.all()))
    }

    /// The part of the command that all models share.
    pub(super) fn common(&self) -> String {
        shell(["brooklet", "quantize"].into_iter().chain(self.common.iter().map(String::as_str)))
    }

    /// The part of the command that is this model's only.
    pub(super) fn options(&self) -> String {
        shell(self.options.iter().map(String::as_str))
    }
}

fn shell<'w>(words: impl Iterator<Item = &'w str>) -> String {
    // Only a zero byte cannot be quoted, and no argument has one.
    shlex::try_join(words).unwrap_or_default()
}

#[derive(Debug, Parser)]
#[command(name = "quantize", no_binary_name = true)]
struct Line {
    #[command(flatten)]
    args: quantize::Args,
}

/// Makes models of one network for one board.
pub(super) struct Maker<'a> {
    pub(super) args: &'a Args,
    /// Words that give the calibration data and the effort.
    pub(super) calibrate: Vec<String>,
    pub(super) spec: &'a Spec,
    pub(super) labels: Option<Vec<String>>,
}

impl Maker<'_> {
    /// The words of `quantize` for a model made with this setting, planned for this goal.
    fn words(&self, setting: &Setting, goal: Goal) -> Words {
        let Self { args, spec, .. } = self;
        let mut common = vec![args.file.display().to_string()];
        common.extend(self.calibrate.iter().cloned());
        common.extend(args.source.words());
        common.extend(args.images.words(&setting.preprocess));
        if args.seed != 0 {
            common.extend(["--seed".to_owned(), args.seed.to_string()]);
        }
        let device = if args.device.chip.is_some() { "--chip" } else { "--board" };
        common.extend([device.to_owned(), spec.name.clone()]);
        let waits = [("--flash-wait", args.device.flash_wait), ("--cache", args.device.cache)];
        for (option, number) in waits {
            common.extend(number.map(|n| [option.to_owned(), n.to_string()]).into_iter().flatten());
        }
        let output = match &args.output {
            Some(path) => path.display().to_string(),
            None => args.file.with_extension("brook").display().to_string(),
        };
        common.extend(["-o".to_owned(), output]);

        let mut options = setting.options();
        let sizes = if args.allow_smaller_input { &mut options } else { &mut common };
        sizes.extend(setting.sizes(args.source.input));
        // Mixed widths depend on the bytes of flash, so the command names them.
        let slot =
            (setting.weights.is_none() || args.device.chip.is_some()).then_some(spec.slot.bytes);
        let flash = goal.flash.or(args.device.flash).or(slot);
        let arena = args.device.chip.is_some().then_some(spec.arena_bytes);
        let ram = goal.ram.or(args.device.ram).or(arena);
        for (option, bytes) in [("--ram", ram), ("--flash", flash)] {
            options.extend(bytes.map(|n| [option.to_owned(), n.to_string()]).into_iter().flatten());
        }
        if goal.speed {
            options.extend(["--optimize", "speed"].map(str::to_owned));
        }
        Words { common, options }
    }

    fn line(&self, words: &Words) -> Result<quantize::Args> {
        // The line is parsed as the command itself would parse it, with the options of `brooklet.toml`.
        let typed: Vec<OsString> = words.all().map(OsString::from).collect();
        let added = project::added_to(&Line::command(), &typed)?;
        match Line::try_parse_from(typed.into_iter().chain(added.into_iter().map(OsString::from))) {
            Ok(line) => Ok(line.args),
            Err(error) => Err(failure!("{}: {error}", words.command())),
        }
    }

    /// The arguments of `quantize` for its smallest model.
    pub(super) fn arguments(&self, setting: &Setting) -> Result<quantize::Args> {
        self.line(&self.words(setting, SMALLEST))
    }

    /// The program of the network quantized with this setting, and warnings.
    pub(super) fn program(&self, setting: &Setting) -> Result<(Program, Vec<String>)> {
        let args = self.arguments(setting)?;
        let prepared = quantize::prepare(&args)?;
        let made = quantize::make(&args, prepared, self.labels.clone(), Some(self.spec))?;
        let (made, warnings) = made;
        Ok((made.program, warnings))
    }

    /// The model of a program, planned for a goal.
    pub(super) fn plan(&self, setting: &Setting, program: &Program, goal: Goal) -> Result<Planned> {
        let words = self.words(setting, goal);
        let args = self.line(&words)?;
        let board = args.budget.board()?;
        let (program, plan) = args.budget.plan(program.clone(), board.as_ref(), &args.network)?;
        let file = build(&program, &plan, &args)?;
        let costs = cost::of(self.spec);
        let layers = || file.model().layers();
        let instructions = costs.as_ref().and_then(|costs| costs.total(layers()));
        let time = costs.as_ref().and_then(|costs| Time::of(self.spec, costs, layers()));
        Ok(Planned { file, instructions, time, words })
    }

    /// The models of a program for all goals: the smallest arena, the fewest instructions with all of
    /// the memory, and three goals between these two.
    ///
    /// Of equal models only the first is kept.
    pub(super) fn plans(&self, setting: &Setting, program: &Program) -> Result<Vec<Planned>> {
        let size = self.plan(setting, program, SMALLEST)?;
        let arena = size.file.model().arena_bytes() as u32;
        let bytes = size.file.bytes().len() as u32;
        let mut plans = vec![size];
        if arena > self.spec.arena_bytes || bytes > self.spec.slot.bytes {
            return Ok(plans);
        }
        let speed = |ram, flash| self.plan(setting, program, Goal { speed: true, ram, flash });
        let quickest = speed(None, None)?;
        let most = quickest.file.model().arena_bytes() as u32;
        plans.push(speed(Some(arena), None)?);
        plans.push(speed(Some(arena + most.saturating_sub(arena) / 2), None)?);
        if setting.weights.is_some() {
            plans.push(speed(None, Some(bytes))?);
        }
        plans.push(quickest);
        let mut kept: Vec<Planned> = Vec::new();
        for plan in plans {
            if kept.iter().all(|other| other.file.bytes() != plan.file.bytes()) {
                kept.push(plan);
            }
        }
        Ok(kept)
    }
}
