//! From a float network to a program.

use std::collections::BTreeSet;

use brooklet_files::InputPath;
use brooklet_firmware::Spec;
use brooklet_import::network::Network;
use brooklet_quantize::channels::absorption::Shifts;
use brooklet_quantize::channels::equalize::Factors;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::error::Unrepresentable;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::precision::bits::{self, WeightBits};
use brooklet_quantize::precision::int16;
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::recipe::{Quantized, Recipe, Stream};
use brooklet_quantize::weights::Learned;
use ndarray::Array2;

use super::args::Args;
use super::bars::Bars;
use super::doubts::doubts;
use super::flash::FlashBudget;
use super::made::{Made, WithoutInt16, WithoutStream};
use super::model::check_names;
use super::precision::{find_int16, find_stream, program, sqnr_db};
use super::saved::read_ranges;
use crate::failure::{Result, failed, failure};

/// What the user asked for.
pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) preprocess: &'a Preprocess,
    pub(super) labels: Option<&'a [String]>,
    pub(super) board: Option<&'a Spec>,
}

/// What a program is made of.
struct Parts {
    recipe: Recipe,
    network: Network,
    ranges: Ranges,
    learned: Learned,
    /// The float network's logits, if they were measured.
    float: Option<Array2<f32>>,
    calibration: Option<Dataset>,
    int8: WithoutInt16,
    stream: WithoutStream,
}

impl Asked<'_> {
    /// Makes the program of a network.
    pub(super) fn make(&self, network: Network, warnings: &mut Vec<String>) -> Result<Made> {
        let &Self { args, preprocess, .. } = self;
        let at = |error: Unrepresentable| error.in_file(&args.network);
        args.check(preprocess, network.input)?;
        let network = network.for_rgb(args.images.channels);
        let network = network.map_err(|problem| problem.in_file(&args.network))?;
        let classes = network.classes();
        check_names(args, classes, self.labels.unwrap_or_default())?;
        let mut recipe = Recipe { int16: args.named_int16(&network)?, ..args.recipe() };
        if let Some(bits) = args.weights.and_then(WeightBits::narrow) {
            recipe.bits = bits::inner(&network, &Fused::new(&network).map_err(at)?, bits);
        }
        let parts = match (&args.calibrate, &args.ranges) {
            (Some(spec), _) => {
                Fused::new(&network).map_err(at)?;
                let data = self.data(spec, &network, classes)?;
                self.calibrated(network, recipe, data, warnings)?
            }
            (None, Some(path)) => self.saved(path, &network, recipe)?,
            (None, None) => {
                return Err(failure!(
                    help = "add --calibrate DATA (images like those it will see), or --ranges FILE \
                            from an earlier calibration; random:100 is enough to try things out",
                    "{}: activation ranges are needed to quantize a float network",
                    args.network.display(),
                ));
            }
        };
        self.lowered(parts)
    }

    /// The images to calibrate on.
    fn data(&self, spec: &str, network: &Network, classes: usize) -> Result<Dataset> {
        let mut data = Dataset::open(spec, network.input, self.preprocess)?;
        if network.ends_in_map() {
            data.drop_labels();
            return Ok(data);
        }
        match self.labels {
            Some(names) => data.number_by(names)?,
            None => check_names(self.args, classes, data.classes().unwrap_or_default())?,
        }
        data.check_labels(0..data.len(), classes)?;
        Ok(data)
    }

    /// Calibrates and learns on images.
    fn calibrated(
        &self,
        network: Network,
        mut recipe: Recipe,
        data: Dataset,
        warnings: &mut Vec<String>,
    ) -> Result<Parts> {
        let &Self { args, preprocess, board, .. } = self;
        let bars = Bars::default();
        if let (None, Some(bytes)) = (args.weights, args.budget.flash()) {
            let labels = self.labels.or(data.classes()).map(<[_]>::to_vec);
            let budget = FlashBudget { bytes, board, labels };
            recipe.bits = budget.choose(args, &network, &data, preprocess, &bars)?;
        }
        let run = |recipe: &Recipe| {
            let quantized = recipe.run(&network, &data, preprocess, &bars);
            quantized.map_err(|error| failed(&args.network, error))
        };
        let mut quantized = run(&recipe)?;
        let mut stream = WithoutStream::default();
        if args.stream == Stream::Auto {
            stream = find_stream(self, &mut recipe, &mut quantized, &data, &run)?;
        }
        let mut int8 = WithoutInt16::default();
        if args.finds_int16()
            && let Some(found) = find_int16(args, &recipe, &quantized, &data, preprocess, &bars)?
        {
            let wide = Recipe { int16: found.nodes, ..recipe.clone() };
            let learned = run(&wide)?;
            let program = program(&wide, &learned, preprocess);
            let program = program.map_err(|error| error.in_file(&args.network))?;
            let now = sqnr_db(&program, &data, &learned, args)?;
            // The gain was found by simulation; whether to keep it is decided on the model.
            if now >= found.int8_sqnr_db.map(|db| db + int16::MARGIN_DB) {
                int8 = WithoutInt16 {
                    gains: found.gains,
                    program: Some(found.int8),
                    sqnr_db: found.int8_sqnr_db,
                };
                (recipe, quantized) = (wide, learned);
            }
        }
        bars.finish();
        warnings.extend(doubts(args, &network, &data, preprocess, &quantized)?);
        let Quantized { network, ranges, learned, logits } = quantized;
        let (float, calibration) = (Some(logits), Some(data));
        Ok(Parts { recipe, network, ranges, learned, float, calibration, int8, stream })
    }

    /// Takes the ranges of an earlier calibration.
    fn saved(&self, path: &InputPath, network: &Network, recipe: Recipe) -> Result<Parts> {
        let fused = Fused::new(network).map_err(|error| error.in_file(&self.args.network))?;
        let ranges = read_ranges(path, network, &fused)?;
        let shifts = Shifts::named(network, &fused, &ranges.absorption);
        let factors = Factors::named(network, &ranges.equalization);
        let network = factors.apply(&shifts.apply(network));
        let (float, calibration, learned) = (None, None, Learned::new());
        let (int8, stream) = (WithoutInt16::default(), WithoutStream::default());
        Ok(Parts { recipe, network, ranges, learned, float, calibration, int8, stream })
    }

    /// Makes the program, in the core's records.
    fn lowered(&self, parts: Parts) -> Result<Made> {
        let &Self { args, preprocess, .. } = self;
        let at = |error: Unrepresentable| error.in_file(&args.network);
        let Parts { recipe, network, ranges, learned, float, calibration, .. } = parts;
        let Parts { mut int8, mut stream, .. } = parts;
        let fused = recipe.fused(&network).map_err(at)?;
        // If the ranges come from a file, an error names that file.
        let from = args.ranges.as_ref().unwrap_or(&args.network);
        let program = fused.quantize(&ranges, preprocess, &learned);
        let program = program.map_err(|error| error.in_file(from))?;
        if recipe.stream16 && stream.program.is_none() {
            let without = Recipe { stream16: false, ..recipe.clone() };
            let without = without.fused(&network).map_err(at)?;
            stream.program = without.quantize(&ranges, preprocess, &learned).ok();
        }
        if !recipe.int16.is_empty() && int8.program.is_none() {
            let without = Recipe { int16: BTreeSet::new(), ..recipe };
            let without = without.fused(&network).map_err(at)?;
            // The costs do not depend on the ranges, so any will do.
            int8.program = without.quantize(&ranges, preprocess, &learned).ok();
        }
        let measured = Some((ranges, float));
        Ok(Made { program, preprocess: *preprocess, measured, calibration, int8, stream })
    }
}
