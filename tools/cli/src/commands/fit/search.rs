//! Searches for the best models of a network.
//!
//! Memory and instructions do not depend on the weights. Quantizing with noise therefore shows
//! within seconds which models fit. Only those are then quantized with images, and judged.

use std::iter;

use brooklet_files::InputData;
use brooklet_firmware::{Registry, Spec};
use brooklet_import::Imported;
use brooklet_import::network::Network;
use brooklet_quantize::data::{Dataset, Preprocess, Resize};
use brooklet_quantize::evaluate::{Score, best};
use ndarray::Array2;

use super::Args;
use super::candidates::{Maker, Planned, Setting};
use super::points::{Point, Refused, Report, choose, sort};
use super::verdict::Verdict;
use crate::commands::float::float_logits;
use crate::commands::quantize::{self, judge};
use crate::commands::{Output, say, spinner, warn};
use crate::failure::{Result, failure};

/// Calibration data that is enough to measure a model's size, but not its accuracy.
const NOISE: [&str; 4] = ["--calibrate", "random:4", "--effort", "fast"];

/// Number of smaller image sizes that are quantized and judged: the largest that fit.
const SMALLER: usize = 2;

/// The network, and the images on which models are judged.
struct Judge {
    network: Network,
    data: Dataset,
    float: Array2<f32>,
    top1: Option<f64>,
    /// Names of the classes from the calibration data, which are stored in each model.
    classes: Option<Vec<String>>,
}

impl Judge {
    /// The shape of an image of that height and width.
    fn shape(&self, [height, width]: [u32; 2]) -> [u32; 3] {
        [height, width, self.network.input[2] as u32]
    }
}

/// Ways to quantize that may fit, and those that do not.
#[derive(Default)]
struct Found {
    settings: Vec<Setting>,
    refused: Vec<Refused>,
    /// The smallest models of the settings that do not fit.
    smallest: Vec<Planned>,
}

struct Search<'a> {
    args: &'a Args,
    spec: Spec,
    /// Preprocessing as the user's options say.
    preprocess: Preprocess,
    labels: Option<Vec<String>>,
    calibrate: &'a InputData,
}

/// Runs the command.
pub(super) fn run(args: &Args, calibrate: &InputData, output: Output) -> Result<()> {
    let mut search = Search::new(args, calibrate)?;
    let judge = search.judge()?;
    search.labels = search.labels.take().or(judge.classes.clone());
    let own = [judge.network.input[0], judge.network.input[1]].map(|side| side as u32);
    let mut found = search.look(Setting::all(search.preprocess, &search.spec))?;
    let mut would = Vec::new();
    let no_model = found.settings.is_empty() && !judge.network.ends_in_map();
    if no_model || args.allow_smaller_input {
        let smaller = search.smaller(own, &judge)?;
        match args.allow_smaller_input {
            true => found.settings.extend(smaller),
            false => would.extend(smaller.first().and_then(Setting::size).map(|[h, w]| {
                format!(
                    "images of {h}x{w}: --allow-smaller-input tries them, and shows the loss of accuracy"
                )
            })),
        }
    }
    if found.settings.is_empty() {
        would.extend(search.roomier(&found.smallest)?);
    }
    let Made { mut points, files, common, warnings } = search.make(&found.settings, &judge)?;
    warn(&warnings);
    sort(&mut points);
    let chosen = choose(&points, judge.top1.unwrap_or(1.0), args.within / 100.0);
    let written = match (&args.output, chosen) {
        (Some(path), Some((index, _))) => {
            let point = &points[index];
            let file = files.iter().find(|(command, _)| *command == point.command);
            file.map(|(_, bytes)| path.write(bytes)).transpose()?;
            Some(path.to_path_buf())
        }
        _ => None,
    };
    let spec = &search.spec;
    let report = Report {
        network: args.file.to_path_buf(),
        board: spec.name.clone(),
        clock_hz: (spec.clock_hz > 0).then_some(spec.clock_hz),
        ram_bytes: spec.arena_bytes,
        flash_bytes: spec.slot.bytes,
        images: judge.float.nrows(),
        float_top1: judge.top1,
        chosen: chosen.map(|(index, _)| points[index].name.clone()),
        points,
        refused: found.refused,
        within: args.within,
        is_within: chosen.is_some_and(|(_, is_within)| is_within),
        command: common,
        model: written,
        what_would_fit: would,
    };
    output.print(&report)?;
    if chosen.is_some() {
        return Ok(());
    }
    let least = report.refused.iter().min_by_key(|refused| {
        refused.arena_bytes_lacking.max(0) + refused.slot_bytes_lacking.max(0)
    });
    let lacks = least.map_or(String::new(), |refused| {
        format!(": the closest model has {}, and lacks {}", refused.setting.words(), refused.lacks)
    });
    let help = match report.what_would_fit[..] {
        [] => "a smaller network, or a board with more memory".to_owned(),
        ref would => would.join("; or "),
    };
    Err(failure!(help = help, "{}: no model fits {}{lacks}", args.file.display(), spec.name))
}

impl<'a> Search<'a> {
    fn new(args: &'a Args, calibrate: &'a InputData) -> Result<Self> {
        let mut spec = args.device.spec()?.ok_or_else(|| {
            failure!(
                help = "add --board NAME, `brooklet boards` lists them, or --chip CORE with --ram and --flash",
                "--calibrate needs the board that the models are for"
            )
        })?;
        if let Some(mhz) = args.mhz {
            spec.clock_hz = (mhz * 1e6) as u32;
        }
        if args.max_ms.is_some() && spec.clock_hz == 0 {
            return Err(failure!(
                help = "add --mhz, the clock of its core",
                "--max-ms: the clock of {} is not known",
                spec.name
            ));
        }
        let preprocess = args.images.preprocess()?;
        let labels = args.images.labels()?;
        Ok(Self { args, spec, preprocess, labels, calibrate })
    }

    /// Makes models with the user's images, or `quickly` with noise.
    fn maker(&self, quickly: bool) -> Maker<'_> {
        let mut calibrate = NOISE.map(str::to_owned).to_vec();
        if !quickly {
            calibrate.truncate(2);
            calibrate[1] = self.calibrate.to_string();
            let effort = self.args.effort.map(<&str>::from);
            calibrate.extend(
                effort.map(|effort| ["--effort", effort].map(str::to_owned)).into_iter().flatten(),
            );
        }
        Maker { args: self.args, calibrate, spec: &self.spec, labels: self.labels.clone() }
    }

    /// The float network for images of this setting's size, and how its images are normalized.
    fn network(&self, setting: &Setting) -> Result<(Network, Preprocess)> {
        let args = self.maker(false).arguments(setting)?;
        let prepared = quantize::prepare(&args)?;
        let Imported::Float(network) = prepared.network else {
            return Err(failure!(
                help = "quantize it, and run `brooklet fit MODEL.brook`; or give the float network that \
                        it was made from",
                "{}: is already int8: there is nothing to search",
                self.args.file.display()
            ));
        };
        let network = network.for_rgb(self.args.images.channels);
        let network = network.map_err(|problem| problem.in_file(&self.args.file))?;
        Ok((network, prepared.preprocess))
    }

    /// The images on which a network is judged, and their number.
    fn data(
        &self,
        network: &Network,
        preprocess: &Preprocess,
        names: Option<&Vec<String>>,
    ) -> Result<(Dataset, usize)> {
        let spec = self.args.test.as_ref().unwrap_or(self.calibrate);
        let mut data = Dataset::open(spec, network.input, preprocess)?;
        match names {
            _ if network.ends_in_map() => data.drop_labels(),
            Some(names) => data.number_by(names)?,
            None => {}
        }
        let count = self.args.limit.map_or(data.len(), |limit| data.len().min(limit as usize));
        data.check_labels(0..count, network.classes())?;
        Ok((data, count))
    }

    /// Prepares what the models are judged with.
    fn judge(&self) -> Result<Judge> {
        let preprocess = self.preprocess;
        let setting =
            Setting { weights: Some(8), stream: 8, int16_last: false, input: None, preprocess };
        let (network, preprocess) = self.network(&setting)?;
        let mut calibration = Dataset::open(self.calibrate, network.input, &preprocess)?;
        if network.ends_in_map() {
            if self.args.allow_smaller_input {
                return Err(failure!(
                    help = "leave out --allow-smaller-input",
                    "{}: ends in a map, which would have fewer cells for smaller images",
                    self.args.file.display(),
                ));
            }
            calibration.drop_labels();
        }
        let classes = calibration.classes().map(<[_]>::to_vec);
        let names = self.labels.as_ref().or(classes.as_ref());
        let (data, count) = self.data(&network, &preprocess, names)?;
        let float = float_logits(&self.args.file, &network, &data, count)?;
        let top1 = top1(&float, &data)?;
        Ok(Judge { network, data, float, top1, classes })
    }

    /// Whether a model fits, or else what it lacks.
    fn fits(&self, planned: &Planned) -> Result<(), Refusal> {
        let verdict = Verdict::of_packed(&self.spec, &planned.file.model());
        let late = match (planned.time, self.args.max_ms) {
            (Some(time), Some(most)) if time.milliseconds > most => {
                Some(format!("{:.1} ms", time.milliseconds - most))
            }
            _ => None,
        };
        if verdict.fits && late.is_none() {
            return Ok(());
        }
        let lacks = Some(verdict.lacks()).filter(|lacks| !lacks.is_empty());
        let lacks = lacks.into_iter().chain(late).collect::<Vec<_>>().join(", ");
        Err(Refusal { lacks, arena: -verdict.arena_bytes_left, slot: -verdict.slot_bytes_left })
    }

    /// Finds out which settings may fit.
    fn look(&self, settings: Vec<Setting>) -> Result<Found> {
        let spinner = spinner();
        let maker = self.maker(true);
        let mut found = Found::default();
        let mut in_eight_bits_lacks_flash = false;
        for setting in settings {
            // If weights of eight bits fit, no layer needs fewer.
            if setting.weights.is_none() && !in_eight_bits_lacks_flash {
                continue;
            }
            spinner.set_message(setting.words());
            // A network that cannot be quantized with noise can perhaps be quantized with images.
            let Ok((program, _)) = maker.program(&setting) else {
                if setting.weights.is_some() {
                    found.settings.push(setting);
                }
                continue;
            };
            let mut closest: Option<(Refusal, Planned)> = None;
            let mut fits = false;
            for planned in maker.plans(&setting, &program)? {
                match self.fits(&planned) {
                    Ok(()) => fits = true,
                    // Plans come from the smallest arena to the fastest; the refusal of the fastest
                    // is kept.
                    Err(refusal) => closest = Some((refusal, planned)),
                }
            }
            in_eight_bits_lacks_flash |= setting.weights == Some(8)
                && closest.as_ref().is_some_and(|(refusal, _)| refusal.slot > 0);
            match closest {
                Some((Refusal { lacks, arena, slot }, planned)) if !fits => {
                    found.smallest.push(planned);
                    found.refused.push(Refused {
                        setting,
                        lacks,
                        arena_bytes_lacking: arena,
                        slot_bytes_lacking: slot,
                    });
                }
                _ => found.settings.push(setting),
            }
        }
        spinner.finish_and_clear();
        Ok(found)
    }

    /// Ways with smaller images that may fit, for the largest of these sizes. For each size, images
    /// are cropped or shrunk, whichever gives the float network more right answers.
    fn smaller(&self, own: [u32; 2], judge: &Judge) -> Result<Vec<Setting>> {
        let mut settings: Vec<Setting> = Vec::new();
        for eighths in (4..8).rev() {
            let size = own.map(|side| (side * eighths / 8).next_multiple_of(4).min(side));
            let made = settings.iter().filter_map(Setting::size).collect::<Vec<_>>();
            if size == own || made.contains(&size) || distinct(&made) == SMALLER {
                continue;
            }
            let sized = Setting::all(self.preprocess, &self.spec).into_iter();
            let sized = sized.filter(|setting| setting.weights.is_some() && !setting.int16_last);
            let sized = sized.map(|setting| Setting {
                input: Some(judge.shape(size)),
                preprocess: cut(&self.preprocess, size),
                ..setting
            });
            let fitting = self.look(sized.collect())?.settings;
            if fitting.is_empty() {
                continue;
            }
            let preprocess = self.better(own, size, judge)?;
            settings.extend(fitting.into_iter().map(|setting| Setting { preprocess, ..setting }));
        }
        Ok(settings)
    }

    /// How images are brought to a smaller size.
    fn better(&self, own: [u32; 2], size: [u32; 2], judge: &Judge) -> Result<Preprocess> {
        let mut best: Option<(f64, Preprocess)> = None;
        for preprocess in [cut(&self.preprocess, size), shrink(&self.preprocess, own, size)] {
            let input = Some(judge.shape(size));
            let setting =
                Setting { weights: Some(8), stream: 8, int16_last: false, input, preprocess };
            let (network, normalized) = self.network(&setting)?;
            let (data, count) = self.data(&network, &normalized, self.labels.as_ref())?;
            let logits = float_logits(&self.args.file, &network, &data, count)?;
            let quality = match top1(&logits, &data)? {
                Some(share) => share,
                None => agreement(&logits, &judge.float),
            };
            if best.is_none_or(|(other, _)| quality > other) {
                best = Some((quality, preprocess));
            }
        }
        Ok(best.map_or(self.preprocess, |(_, preprocess)| preprocess))
    }

    /// Names the boards on which one of the models fits.
    fn roomier(&self, models: &[Planned]) -> Result<Option<String>> {
        /// Number of boards that are named.
        const NAMED: usize = 5;
        let registry = Registry::find()?;
        let mut names = Vec::new();
        // Boards that can be emulated come first.
        let mut boards: Vec<_> = registry.boards().iter().collect();
        boards.sort_by_key(|spec| !spec.is_emulated());
        for spec in boards.into_iter().filter(|spec| spec.name != self.spec.name) {
            let fits = |planned: &Planned| Verdict::new(spec, &planned.file);
            let verdicts: Vec<_> = models.iter().map(fits).collect::<Result<_>>()?;
            if verdicts.iter().any(|verdict| verdict.fits) {
                names.push(spec.name.as_str());
            }
        }
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more, which `brooklet fit` lists for a model file"),
        };
        names.truncate(NAMED);
        Ok((!names.is_empty()).then(|| format!("another board: {}{more}", names.join(", "))))
    }

    /// Makes the models of these settings.
    fn make(&self, settings: &[Setting], judge: &Judge) -> Result<Made> {
        let maker = self.maker(false);
        let spinner = spinner();
        let (mut points, mut files, mut all_warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut common = String::new();
        for (index, setting) in settings.iter().enumerate() {
            say(&spinner, &format!("{} of {}: {}", index + 1, settings.len(), setting.words()));
            let (program, warnings) = maker.program(setting)?;
            all_warnings.extend(warnings);
            let mut score = None;
            for planned in maker.plans(setting, &program)? {
                if self.fits(&planned).is_err() {
                    continue;
                }
                // The answers do not depend on the plan.
                let score = match &score {
                    Some(score) => score,
                    None => score.insert(self.score(setting, &planned, judge)?),
                };
                let model = planned.file.model();
                let command = planned.words.command();
                common = planned.words.common();
                points.push(Point {
                    name: String::new(),
                    setting: setting.clone(),
                    top1: score.top1,
                    agreement: score.agreement,
                    sqnr_db: score.sqnr_db,
                    instructions: planned.instructions,
                    milliseconds: planned.time.map(|time| time.milliseconds),
                    milliseconds_at_least: planned.time.is_some_and(|time| time.at_least),
                    arena_bytes: model.arena_bytes(),
                    model_bytes: planned.file.bytes().len(),
                    on_front: false,
                    command: command.clone(),
                    options: planned.words.options(),
                });
                files.push((command, planned.file.bytes().to_vec()));
            }
        }
        spinner.finish_and_clear();
        all_warnings.sort();
        all_warnings.dedup();
        Ok(Made { points, files, common, warnings: all_warnings })
    }

    /// The score of a model. A model for smaller images, too, is compared with the network at its own
    /// image size.
    fn score(&self, setting: &Setting, planned: &Planned, judge: &Judge) -> Result<Score> {
        let float = judge.float.clone();
        let Some(_) = setting.input else { return self::judge(&planned.file, &judge.data, float) };
        let (network, preprocess) = self.network(setting)?;
        let (data, _) = self.data(&network, &preprocess, self.labels.as_ref())?;
        self::judge(&planned.file, &data, float)
    }
}

/// The models that were made.
struct Made {
    points: Vec<Point>,
    /// Each command, and the file that it makes.
    files: Vec<(String, Vec<u8>)>,
    /// The part that all commands share.
    common: String,
    warnings: Vec<String>,
}

/// What a model lacks, in words and in bytes. The bytes are negative if there are some left.
struct Refusal {
    lacks: String,
    arena: i64,
    slot: i64,
}

fn distinct(sizes: &[[u32; 2]]) -> usize {
    sizes.chunk_by(|a, b| a == b).count()
}

/// Crops the centre of images to this size.
fn cut(preprocess: &Preprocess, size: [u32; 2]) -> Preprocess {
    Preprocess { crop: Some(size), ..*preprocess }
}

/// Shrinks whole images to this size.
fn shrink(preprocess: &Preprocess, own: [u32; 2], size: [u32; 2]) -> Preprocess {
    let less = |side: u32, axis: usize| (side * size[axis]).div_ceil(own[axis]);
    let resize = match preprocess.resize {
        Some(Resize::To(sides)) => Resize::To([less(sides[0], 0), less(sides[1], 1)]),
        Some(Resize::Shorter(short)) => Resize::Shorter(less(short, 0).max(less(short, 1))),
        None => Resize::To(size),
    };
    // The crop cuts off the same share of the image as before. Rounding up keeps the image large enough.
    Preprocess { resize: Some(resize), crop: Some(size), ..*preprocess }
}

/// Share of labelled images that the logits classify correctly.
fn top1(logits: &Array2<f32>, data: &Dataset) -> Result<Option<f64>> {
    let labels = data.labels()?;
    let answers = logits.outer_iter().zip(labels);
    let known: Vec<bool> =
        answers.filter_map(|(row, label)| Some(best(&row.to_vec(), 0.0) == label?)).collect();
    let right = known.iter().filter(|&&right| right).count();
    Ok((!known.is_empty()).then(|| right as f64 / known.len() as f64))
}

fn agreement(logits: &Array2<f32>, others: &Array2<f32>) -> f64 {
    let rows = iter::zip(logits.outer_iter(), others.outer_iter());
    let same = rows.filter(|(a, b)| best(&a.to_vec(), 0.0) == best(&b.to_vec(), 0.0)).count();
    same as f64 / logits.nrows().max(1) as f64
}
