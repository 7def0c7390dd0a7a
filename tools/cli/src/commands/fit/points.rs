//! The models that fit, and which of them are best.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::candidates::Setting;
use crate::report::schema::Reported;
use crate::report::{fitted, percent, table, thousands};

/// A model that fits.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Point {
    /// Its name in the table.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) setting: Setting,
    /// Share of right answers.
    pub(super) top1: Option<f64>,
    /// Share of answers that are the same as the float network's.
    pub(super) agreement: Option<f64>,
    /// Signal-to-noise ratio of the logits.
    pub(super) sqnr_db: Option<f64>,
    /// Predicted number of instructions per image.
    pub(super) instructions: Option<u64>,
    /// Predicted time of an image, if the clock is known.
    pub(super) milliseconds: Option<f64>,
    /// Whether the time assumes one instruction per cycle, because the core's timings are not known.
    pub(super) milliseconds_at_least: bool,
    /// RAM that its rows and scratch memory take.
    pub(super) arena_bytes: usize,
    /// Size of the model file.
    pub(super) model_bytes: usize,
    /// Whether no other model beats it. A model beats another if it is better in one respect and at
    /// least as good in all others.
    pub(super) on_front: bool,
    /// The command that makes it.
    pub(super) command: String,
    /// The options of the command that differ between points.
    #[serde(skip)]
    pub(super) options: String,
}

impl Point {
    /// Share of right answers, or, if that is not known, of answers that are the float network's.
    fn quality(&self) -> f64 {
        self.top1.or(self.agreement).unwrap_or(0.0)
    }

    /// Compares quality; with equal shares, the point with less noise is better.
    fn by_quality(&self, other: &Self) -> Ordering {
        let noise = |point: &Self| point.sqnr_db.unwrap_or(f64::MIN);
        let by_noise = noise(self).total_cmp(&noise(other));
        self.quality().total_cmp(&other.quality()).then(by_noise)
    }

    /// Time, RAM and flash: less is better.
    fn costs(&self) -> [u64; 3] {
        let count = |bytes: usize| bytes as u64;
        // The bits of positive floats are ordered as the floats are.
        let time = self.milliseconds.map(f64::to_bits).or(self.instructions);
        [time.unwrap_or(u64::MAX), count(self.arena_bytes), count(self.model_bytes)]
    }

    /// Whether it is at least as good in all respects, and better in one.
    fn beats(&self, other: &Self) -> bool {
        let quality = self.by_quality(other);
        let costs = self.costs().into_iter().zip(other.costs());
        quality.is_ge()
            && costs.clone().all(|(a, b)| a <= b)
            && (quality.is_gt() || costs.clone().any(|(a, b)| a < b))
    }
}

/// Marks the front, sorts the points with the fastest of the front first, and names them.
pub(super) fn sort(points: &mut [Point]) {
    let all = points.to_vec();
    for point in points.iter_mut() {
        point.on_front = !all.iter().any(|other| other.beats(point));
    }
    points.sort_by_key(|point| (!point.on_front, point.costs()));
    for (index, point) in points.iter_mut().enumerate() {
        let letter = char::from(b'a' + (index % 26) as u8);
        point.name = match index / 26 {
            0 => letter.to_string(),
            round => format!("{letter}{round}"),
        };
    }
}

/// The fastest point that is at most `margin` below `float`, or else the best point; and whether
/// the point is within the margin.
pub(super) fn choose(points: &[Point], float: f64, margin: f64) -> Option<(usize, bool)> {
    // Shares are rounded: a point exactly at the margin is within.
    let least = float - margin - 1e-9;
    let close = points.iter().enumerate().filter(|(_, point)| point.quality() >= least);
    let quickest = close.min_by(|(_, a), (_, b)| a.costs().cmp(&b.costs()).then(b.by_quality(a)));
    let best = || points.iter().enumerate().max_by(|(_, a), (_, b)| a.by_quality(b));
    match quickest {
        Some((index, _)) => Some((index, true)),
        None => best().map(|(index, _)| (index, false)),
    }
}

/// A setting to quantize the network with which no model fits.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Refused {
    #[serde(flatten)]
    pub(super) setting: Setting,
    /// What the model that comes closest lacks, in words.
    pub(super) lacks: String,
    /// Number of bytes of RAM that this model lacks; negative if there are bytes left.
    pub(super) arena_bytes_lacking: i64,
    /// Number of bytes of flash that this model lacks; negative if there are bytes left.
    pub(super) slot_bytes_lacking: i64,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Report {
    /// The file of the network.
    pub(super) network: PathBuf,
    /// The board or chip.
    pub(super) board: String,
    /// Clock of the board's core.
    pub(super) clock_hz: Option<u32>,
    /// RAM that the arena may take.
    pub(super) ram_bytes: u32,
    /// Flash that the model file may take.
    pub(super) flash_bytes: u32,
    /// Number of images on which the models are judged.
    pub(super) images: usize,
    /// Top-1 of the float network.
    pub(super) float_top1: Option<f64>,
    /// The models that fit. The models of the front come first, sorted by speed.
    pub(super) points: Vec<Point>,
    /// Settings with which no model fits.
    pub(super) refused: Vec<Refused>,
    /// The name of the point that was chosen.
    pub(super) chosen: Option<String>,
    /// Percentage points that the chosen point may be below the accuracy in float.
    pub(super) within: f64,
    /// Whether the chosen point is within this margin.
    pub(super) is_within: bool,
    /// The command that makes the points, without the options of each.
    #[serde(skip)]
    pub(super) command: String,
    /// The file that the chosen model was written to.
    pub(super) model: Option<PathBuf>,
    /// What the user could change so that a model fits.
    pub(super) what_would_fit: Vec<String>,
}

impl Report {
    fn front(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|point| point.on_front)
    }

    /// Draws the front: milliseconds or instructions to the right, quality upwards.
    fn plot(&self) -> String {
        const GRID: [usize; 2] = [60, 12];
        let x = |point: &Point| match point.milliseconds {
            Some(milliseconds) => milliseconds,
            None => point.instructions.unwrap_or(0) as f64 / 1e6,
        };
        let ends = |of: &dyn Fn(&Point) -> f64| {
            let values = || self.front().map(of);
            [values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max)]
        };
        let (across, up) = (ends(&x), ends(&Point::quality));
        let cell = |value: f64, [from, to]: [f64; 2], cells: usize| {
            let share = if to > from { (value - from) / (to - from) } else { 0.5 };
            (share * (cells - 1) as f64).round() as usize
        };
        let mut grid = vec![vec![' '; GRID[0]]; GRID[1]];
        for point in self.front() {
            let row = GRID[1] - 1 - cell(point.quality(), up, GRID[1]);
            let place = &mut grid[row][cell(x(point), across, GRID[0])];
            // If several points share a place, only the first is shown.
            if *place == ' ' {
                *place = point.name.chars().next().unwrap_or('?');
            }
        }
        let mut text = String::new();
        for (index, row) in grid.iter().enumerate() {
            let label = match index {
                0 => percent(up[1]),
                row if row + 1 == GRID[1] => percent(up[0]),
                _ => String::new(),
            };
            let row: String = row.iter().collect();
            text += &format!("{label:>9} │{}\n", row.trim_end());
        }
        let unit = match self.front().all(|point| point.milliseconds.is_some()) {
            true => "ms",
            false => "million instructions",
        };
        let left = format!("{:.1}", across[0]);
        let right = format!("{:.1} {unit}", across[1]);
        let gap = GRID[0].saturating_sub(left.len() + right.len());
        text += &format!("{:>9} └{}\n", "", "─".repeat(GRID[0]));
        text + &format!("{:>9}  {left}{}{right}\n", "", " ".repeat(gap))
    }
}

impl Reported for Report {
    const NAME: &str = "fit";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ram, flash] = [self.ram_bytes, self.flash_bytes].map(thousands);
        let clock = self.clock_hz.map(|hz| format!(", at {} MHz", f64::from(hz) / 1e6));
        writeln!(
            f,
            "{} on {}: {ram} bytes of RAM, {flash} of flash{}",
            self.network.display(),
            self.board,
            clock.unwrap_or_default()
        )?;
        write!(f, "judged on {} images", thousands(self.images))?;
        match self.float_top1 {
            Some(share) => writeln!(f, "; the float network has {} right\n", percent(share))?,
            None => writeln!(f, ", by agreement with the float network\n")?,
        }
        if !self.points.is_empty() {
            self.fmt_points(f)?;
        }
        if !self.refused.is_empty() {
            writeln!(f, "What does not fit:\n")?;
            for refused in &self.refused {
                writeln!(f, "  {}: lacks {}", refused.setting.words(), refused.lacks)?;
            }
            writeln!(f)?;
        }
        for would in &self.what_would_fit {
            writeln!(f, "What would fit: {would}")?;
        }
        let chosen = self.points.iter().find(|point| Some(&point.name) == self.chosen.as_ref());
        let Some(point) = chosen else { return Ok(()) };
        let (name, margin) = (&point.name, self.within);
        match self.is_within {
            true => writeln!(f, "{name} is the fastest within {margin} points of float")?,
            false => writeln!(
                f,
                "{name} is the best, but {:.2} points below float, not within {margin}",
                100.0 * (self.float_top1.unwrap_or(1.0) - point.quality())
            )?,
        }
        match &self.model {
            Some(path) => writeln!(f, "{}: {name} is written", path.display()),
            None => writeln!(f, "add -o MODEL.brook to write it"),
        }
    }
}

impl Report {
    fn fmt_points(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header =
            ["", "top-1", "agreement", "dB", "ms", "RAM", "flash", "weights", "stream", ""];
        let mut rows = table(header, &[0, 9]);
        let share = |share: Option<f64>| share.map(percent).unwrap_or_default();
        for point in self.front() {
            let Point { setting, .. } = point;
            let mut notes = Vec::new();
            if setting.int16_last {
                notes.push("last layers in int16".to_owned());
            }
            if let Some([height, width]) = setting.size() {
                notes.push(format!("input {height}x{width}"));
            }
            let time = point.milliseconds.map(|milliseconds| {
                let sign = if point.milliseconds_at_least { ">= " } else { "" };
                format!("{sign}{milliseconds:.1}")
            });
            rows.add_row([
                point.name.clone(),
                share(point.top1),
                share(point.agreement),
                point.sqnr_db.map_or(String::new(), |db| format!("{db:.1}")),
                time.unwrap_or_default(),
                thousands(point.arena_bytes),
                thousands(point.model_bytes),
                setting.weights.map_or("mixed".to_owned(), |bits| bits.to_string()),
                setting.stream.to_string(),
                notes.join(", "),
            ]);
        }
        writeln!(f, "{}\n\n{}", fitted(rows, &[3, 8, 7, 9, 2]), self.plot())?;
        if self.front().any(|point| point.milliseconds_at_least) {
            writeln!(
                f,
                "This core's timings are not known: ms assume one instruction per cycle.\n"
            )?;
        } else if self.clock_hz.is_some() {
            writeln!(f, "ms are predicted; `brooklet bench --cycles` gives a better estimate.\n")?;
        }
        writeln!(f, "Each is made by\n\n{} OPTIONS\n", self.command)?;
        for point in self.front() {
            writeln!(f, " {}  {}", point.name, point.options)?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use brooklet_quantize::data::Preprocess;

    use super::*;

    fn point(top1: f64, instructions: u64, arena_bytes: usize, model_bytes: usize) -> Point {
        let preprocess = Preprocess::default();
        let setting =
            Setting { weights: Some(8), stream: 8, int16_last: false, input: None, preprocess };
        Point {
            name: String::new(),
            setting,
            top1: Some(top1),
            agreement: Some(0.99),
            sqnr_db: None,
            instructions: Some(instructions),
            milliseconds: None,
            milliseconds_at_least: false,
            arena_bytes,
            model_bytes,
            on_front: false,
            command: String::new(),
            options: String::new(),
        }
    }

    #[test]
    fn what_another_beats_is_not_on_the_front() {
        let quick = point(0.90, 10, 20, 30);
        let small = point(0.90, 20, 10, 30);
        let good = point(0.91, 30, 30, 40);
        let beaten = point(0.90, 20, 20, 30);
        let mut points = [beaten, good.clone(), small, quick.clone()];
        sort(&mut points);
        let front: Vec<_> = points.iter().map(|point| (point.on_front, point.costs()[0])).collect();
        assert_eq!(front, [(true, 10), (true, 20), (true, 30), (false, 20)]);
        assert_eq!(points[0].name, "a");
        // The fastest point that is close enough, or else the best.
        assert_eq!(choose(&points, 0.912, 0.02), Some((0, true)));
        assert_eq!(choose(&points, 0.912, 0.002), Some((2, true)));
        assert_eq!(choose(&points, 0.95, 0.002), Some((2, false)));
        assert_eq!(choose(&[], 0.9, 0.1), None);
    }
}
