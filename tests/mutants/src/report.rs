//! What was tried, and the results.

use std::collections::BTreeMap;
use std::fmt;

use brooklet::Model;
use brooklet::format::Operator;

use crate::mutate::Kind;
use crate::oracle::Verdict;

/// Numbers of mutants.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// All mutants.
    pub tried: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Those that were accepted, but too large to be run.
    pub too_large: usize,
    /// Those that ran.
    pub ran: usize,
    /// Runs of other backends, compared with the reference's.
    pub backends: usize,
    /// Runs with every row in a place of its own, compared with the reference's.
    pub apart: usize,
    /// The faults that were found: the mutant, and what it does.
    pub found: Vec<(u64, String)>,
    /// Numbers of accepted and of tried mutants, by kind of change.
    kinds: BTreeMap<&'static str, [usize; 2]>,
    /// Numbers of layers that ran, by operator.
    layers: BTreeMap<String, usize>,
}

impl Report {
    /// Counts a mutant.
    pub fn add(
        &mut self,
        number: u64,
        kinds: &[Kind],
        file: &[u8],
        verdict: &Result<Verdict, String>,
    ) {
        self.tried += 1;
        let accepted = !matches!(verdict, Ok(Verdict::Refused(_)));
        for kind in kinds {
            let counts = self.kinds.entry(kind.name()).or_default();
            counts[0] += usize::from(accepted);
            counts[1] += 1;
        }
        match verdict {
            Ok(Verdict::Refused(_)) => self.refused += 1,
            Ok(Verdict::TooLarge) => self.too_large += 1,
            Ok(Verdict::Ran { compared, .. }) => {
                self.ran += 1;
                self.backends += compared.backends;
                self.apart += usize::from(compared.apart);
                self.count_layers(file);
            }
            Err(what) => self.found.push((number, what.clone())),
        }
    }

    fn count_layers(&mut self, file: &[u8]) {
        let Ok(model) = Model::parse(file) else { return };
        for layer in model.layers() {
            let int16 = if layer.has_int16() { ", int16" } else { "" };
            let join = match (layer.operator(), layer.shortcut()) {
                (Operator::Conv, Some(_)) => " with a join",
                _ => "",
            };
            let name = match layer.operator() {
                Operator::Conv => format!("Conv{join}, {}{int16}", layer.packing().name()),
                operator => format!("{operator:?}{int16}"),
            };
            *self.layers.entry(name).or_default() += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} mutants: {} refused, {} accepted; of these {} ran and were compared \
             ({} runs of other backends, {} with rows apart), {} are too large to be run here",
            self.tried,
            self.refused,
            self.ran + self.too_large,
            self.ran,
            self.backends,
            self.apart,
            self.too_large
        )?;
        writeln!(f, "accepted of tried, by what was changed:")?;
        for (kind, [accepted, tried]) in &self.kinds {
            writeln!(f, "{accepted:>9} of {tried:>7}  {kind}")?;
        }
        writeln!(f, "layers that ran and were compared:")?;
        for (name, count) in &self.layers {
            writeln!(f, "{count:>9}  {name}")?;
        }
        write!(f, "{} found", self.found.len())?;
        for (number, what) in &self.found {
            write!(f, "\n  mutant {number}: {what}")?;
        }
        Ok(())
    }
}
