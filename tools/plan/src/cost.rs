//! Predicts how many instructions a layer takes, by a linear model of its kernel's work that is
//! fitted to counts of all boards in QEMU.
//!
//! ```text
//! instructions = products · a + outputs · b + joined outputs · c + outputs apart · d
//!              + values · e + blocks · f + rows · g
//! ```
//!
//! *Products* are the multiplications that the kernel computes, with the padding of its blocks;
//! *joined outputs* those to which a shortcut is added; *outputs apart* those that are finished one
//! by one, because the output ends inside their block, or because their shortcut has other columns
//! or channels; *values* those that the kernel first brings into another form; *blocks* the runs of
//! output columns that it computes at once. No coefficient is negative. For layers that read or
//! write int16, values are the kernel rows under outputs. For weights in fewer bits than a byte,
//! the number of unpacked weights takes the place of rows. For convolutions in groups, the number of
//! copied values takes the place of joined outputs. The coefficients of each backend and
//! kernel are in `costs.json`: all cores that run a backend take the same instructions. The test
//! `costs` compares them with the boards, and fits them again.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use board_build::Spec;
use brooklet::Shape;
use brooklet::format::{LayerRecord, Packing};
use serde::{Deserialize, Serialize};

pub use self::work::{Work, work};
use crate::flash::Flash;

mod work;

/// The coefficients of a backend's kernels, by their names: instructions for each kind of work.
///
/// With them the time that instructions take on a core.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coefficients {
    /// Coefficients by the kernels' names.
    pub kernels: BTreeMap<String, Work>,
    /// The core that runs them.
    ///
    /// The default takes one cycle per instruction, and its flash never waits.
    #[serde(skip)]
    pub core: Core,
}

/// The time that instructions take on a core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Core {
    /// Average number of cycles per instruction of the kernels.
    pub cycles: f64,
    /// Its flash.
    pub flash: Flash,
}

impl Default for Core {
    fn default() -> Self {
        Self { cycles: 1.0, flash: Flash::default() }
    }
}

/// Cycles per instruction of the kernels, by the beginning of the core's name, as `bench --cycles`
/// estimates them for ResNet-8's fastest plan. For RV32 as measured on the RTL of Hazard3, 1.03 to
/// 1.04.
const CYCLES: [(&str, f64); 8] = [
    ("Cortex-M0", 1.3),
    ("Cortex-M33", 1.45),
    ("Cortex-M3", 1.7),
    ("Cortex-M4", 1.45),
    ("Cortex-M7", 0.8),
    ("Cortex-M55", 1.1),
    ("Cortex-M85", 1.1),
    ("RV32", 1.04),
];

impl Core {
    /// The core of a board; one cycle per instruction if its timings are not known.
    pub fn of(spec: &Spec) -> Self {
        Self { cycles: Self::known(spec).unwrap_or(1.0), flash: Flash::of(spec) }
    }

    /// Cycles per instruction of a board's core, if they are known.
    pub fn known(spec: &Spec) -> Option<f64> {
        let known = CYCLES.iter().find(|(core, _)| spec.core.starts_with(core));
        known.map(|(_, cycles)| *cycles)
    }
}

/// The coefficients by the backend's name.
pub type Costs = BTreeMap<String, Coefficients>;

static COSTS: LazyLock<Costs> = LazyLock::new(|| {
    serde_json::from_str(include_str!("costs.json")).expect("the test `costs` wrote it")
});

/// The coefficients of all backends.
pub fn all() -> &'static Costs {
    &COSTS
}

/// The coefficients of the board's kernels, if the costs of its backend are known.
///
/// ```
/// use board_build::Spec;
/// use brooklet_plan::cost;
/// use brooklet_plan::model_file::ModelFile;
/// use brooklet_plan::packing::Kernels;
/// use brooklet_plan::program::Program;
///
/// let board = Spec::read("../../boards/qemu-mps2-an386/board.toml".as_ref()).unwrap();
/// let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
/// let program = Kernels::of(&board).unwrap().packed(Program::read(&file.model()));
/// let layers = program.layers.iter().map(|layer| &layer.record);
/// let instructions = cost::of(&board).unwrap().total(layers).unwrap();
/// assert!((100_000..1_000_000).contains(&instructions), "{instructions}");
/// ```
pub fn of(spec: &Spec) -> Option<Coefficients> {
    let mut core = COSTS.get(&spec.backend)?.clone();
    core.core = Core::of(spec);
    if !spec.makes_several_rows() {
        let several = ["winograd", "hwio tiles", "hwio tall"];
        core.kernels.retain(|name, _| !several.iter().any(|several| name.starts_with(several)));
    }
    Some(core)
}

/// Coefficients to choose packings by: those of the board's backend, or of any backend that runs
/// `packing`.
pub fn similar(spec: &Spec, packing: Packing) -> Coefficients {
    let runs = |core: &&Coefficients| core.kernels.contains_key(packing.name());
    let any = || COSTS.values().find(runs).cloned();
    let similar = of(spec).filter(|core| runs(&core)).or_else(any).unwrap_or_default();
    Coefficients { core: Core::of(spec), ..similar }
}

impl Coefficients {
    /// Whether it has the kernel for this layer.
    pub fn runs(&self, layer: &LayerRecord, input: Shape) -> bool {
        self.kernels.contains_key(work(layer, input).0)
    }

    /// Instructions of a network for one image, from its layers' records; `None` if no kernel of
    /// the core runs one of its layers.
    pub fn total<'l>(&self, layers: impl IntoIterator<Item = &'l LayerRecord>) -> Option<u64> {
        let layers: Vec<&LayerRecord> = layers.into_iter().collect();
        let input = |layer: &LayerRecord| layers[usize::from(layer.input.get())].shape();
        let each = layers.iter().map(|layer| self.instructions(layer, input(layer)));
        each.sum::<Option<f64>>().map(|sum| sum as u64)
    }

    /// Estimated cycles of a network for one image, from its layers' records; `None` if no kernel
    /// of the core runs one of its layers.
    pub fn total_cycles<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l LayerRecord>,
    ) -> Option<f64> {
        let layers: Vec<&LayerRecord> = layers.into_iter().collect();
        let input = |layer: &LayerRecord| layers[usize::from(layer.input.get())].shape();
        layers.iter().map(|layer| self.cycles(layer, input(layer))).sum()
    }

    /// Estimated cycles of a layer for one image: those of its instructions, and those in which the
    /// core waits for flash.
    pub fn cycles(&self, layer: &LayerRecord, input: Shape) -> Option<f64> {
        let Core { cycles, flash } = self.core;
        Some(self.instructions(layer, input)? * cycles + flash.waits(layer, input))
    }

    /// Instructions of a layer for one image, if the core has a kernel for it.
    pub fn instructions(&self, layer: &LayerRecord, input: Shape) -> Option<f64> {
        let (kernel, work) = work(layer, input);
        let each = self.kernels.get(kernel)?;
        Some(each.iter().zip(work).map(|(each, work)| each * work).sum())
    }
}
