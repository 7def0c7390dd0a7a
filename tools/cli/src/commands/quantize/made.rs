//! A program that is not planned yet, and what was measured while it was made.

use brooklet_firmware::Spec;
use brooklet_plan::cost;
use brooklet_plan::preprocessing::to_record;
use brooklet_plan::program::Program;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::recipe;
use ndarray::Array2;

use super::args::Args;
use super::model::set_test_images;
use super::report::{Int16, OtherStream, Stream};
use crate::failure::Result;

/// A program, and what is known about it.
pub(in crate::commands) struct Made {
    pub(in crate::commands) program: Program,
    /// How images become the network's rows.
    pub(in crate::commands) preprocess: Preprocess,
    /// The ranges of a float network, and its logits, if they were measured.
    pub(super) measured: Option<(Ranges, Option<Array2<f32>>)>,
    /// The images on which these were measured.
    pub(super) calibration: Option<Dataset>,
    /// The same program with all layers in int8, if it has layers in int16.
    pub(super) int8: WithoutInt16,
    /// The program with the other width of its stream, if the stream has or could have 16 bits.
    pub(super) stream: WithoutStream,
}

/// A program with the other width of its stream: 8 bits instead of 16, or 16 instead of 8.
#[derive(Default)]
pub(super) struct WithoutStream {
    /// The program.
    pub(super) program: Option<Program>,
    /// Its SQNR on the calibration data.
    pub(super) sqnr_db: Option<f64>,
}

/// A program with layers in int16, as it would be without them.
#[derive(Default)]
pub(super) struct WithoutInt16 {
    /// What each layer gains, in dB.
    pub(super) gains: Vec<(String, f64)>,
    /// The program with all layers in int8.
    pub(super) program: Option<Program>,
    /// Its SQNR on the calibration data.
    pub(super) sqnr_db: Option<f64>,
}

impl Made {
    /// The program of an int8 network.
    pub(super) fn of_int8(program: Program, preprocess: Preprocess) -> Self {
        let (measured, calibration) = (None, None);
        let (int8, stream) = (WithoutInt16::default(), WithoutStream::default());
        Self { program, preprocess, measured, calibration, int8, stream }
    }

    /// Adds what the file stores besides its layers: preprocessing, names of classes, test images.
    pub(super) fn complete(&mut self, args: &Args, labels: Option<Vec<String>>) -> Result<()> {
        let Self { program, preprocess, measured, calibration, .. } = self;
        program.preprocessing = Some(to_record(preprocess));
        let data = || calibration.as_ref().and_then(|data| data.classes().map(<[_]>::to_vec));
        let saved = || measured.as_ref().map(|(ranges, _)| ranges.labels.clone());
        program.labels = labels.or_else(data).or_else(saved).unwrap_or_default();
        set_test_images(program, args, calibration.as_ref(), preprocess)?;
        if let ([_, named], 1) = (&program.labels[..], program.classes()) {
            // A single score says whether the second class is there.
            program.labels = vec![named.clone()];
        }
        Ok(())
    }

    /// What the report says of the stream, if --stream is not 8.
    pub(super) fn stream(&mut self, args: &Args, board: Option<&Spec>) -> Result<Option<Stream>> {
        if args.stream == recipe::Stream::Eight {
            return Ok(None);
        }
        let bits = |program: &Program| {
            let wide = program.layers.iter().any(|layer| layer.record.is_stream16());
            if wide { 16 } else { 8 }
        };
        let mut stream = Stream { bits: bits(&self.program), other: None };
        if let Some(mut other) = self.stream.program.take() {
            other.preprocessing = self.program.preprocessing;
            let bits = bits(&other);
            let (_, plan) = args.budget.plan(other, board, &args.network)?;
            let (arena_bytes, sqnr_db) = (plan.arena_bytes, self.stream.sqnr_db);
            stream.other = Some(OtherStream { bits, sqnr_db, arena_bytes });
        }
        Ok(Some(stream))
    }

    /// What the report says of int16, if it was asked for.
    pub(super) fn int16(&mut self, args: &Args, board: Option<&Spec>) -> Result<Option<Int16>> {
        if args.int16.is_empty() {
            return Ok(None);
        }
        let program = &self.program;
        let mut int16 = Int16::new(program, &self.int8.gains);
        let Some(mut int8) = self.int8.program.take() else { return Ok(Some(int16)) };
        int8.preprocessing = program.preprocessing;
        int16.int8_sqnr_db = self.int8.sqnr_db;
        let instructions = |program: &Program| {
            let costs = board.and_then(cost::of)?;
            costs.total(program.layers.iter().map(|layer| &layer.record))
        };
        let (int8, plan) = args.budget.plan(int8, board, &args.network)?;
        int16.int8_arena_bytes = Some(plan.arena_bytes);
        let (wide, _) = args.budget.plan(program.clone(), board, &args.network)?;
        int16.instructions = instructions(&int8).zip(instructions(&wide)).map(<[u64; 2]>::from);
        Ok(Some(int16))
    }
}
