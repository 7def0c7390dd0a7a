//! Packs weights in the order that a device's kernels take.

use std::fs;
use std::path::Path;

use board_build::Spec;
use brooklet::format::{LayerRecord, Packing};
use brooklet::kernels::Isa;
use brooklet::ops;

use crate::cost::Coefficients;
use crate::knapsack::{self, Choice};
use crate::model_file::{HostBackend, ModelError, ModelFile, ModelProblem};
use crate::plan::{Goal, Plan, Uncuttable, plan};
use crate::program::Program;

/// The error for a board whose description names a backend that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("boards/{board}/board.toml: there is no backend `{backend}`")]
pub struct NoSuchBackend {
    /// The board.
    pub board: String,
    /// The backend that it names.
    pub backend: String,
}

/// Reasons why a model is not packed for a board.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The board's description is wrong.
    #[error(transparent)]
    NoSuchBackend(#[from] NoSuchBackend),
    /// The model is refused, or cannot be written.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The kernels that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Isa);

impl Kernels {
    /// The kernels with a name of [`Isa::DEVICES`].
    pub fn named(name: &str) -> Option<Self> {
        Isa::of_device(name).map(Self)
    }

    /// The kernels of a board.
    ///
    /// # Errors
    ///
    /// [`NoSuchBackend`] if its `board.toml` names a backend that does not exist.
    pub fn of(spec: &Spec) -> Result<Self, NoSuchBackend> {
        Self::named(&spec.backend).ok_or_else(|| NoSuchBackend {
            board: spec.name.clone(),
            backend: spec.backend.clone(),
        })
    }

    /// The packing for kernels and strides of all kinds, which is the smallest.
    pub fn packing(self) -> Packing {
        self.0.packing()
    }

    /// Packings that take more flash but fewer instructions.
    pub fn quicker(self) -> &'static [Packing] {
        self.0.packings.get(1..).unwrap_or_default()
    }

    /// The smallest packing for weights with as many bits as those of `packing`.
    pub fn smallest(self, packing: Packing) -> Packing {
        self.packing().in_bits(packing.bits()).unwrap_or(packing)
    }

    /// Whether the kernels run that packing.
    pub fn runs(self, packing: Packing) -> bool {
        self.0.runs(packing)
    }

    /// The program with the smallest packings; weights keep their bits.
    pub fn packed(self, mut program: Program) -> Program {
        for layer in program.layers.iter_mut().filter(|layer| layer.can_be(self.packing())) {
            layer.record.packing = self.smallest(layer.record.packing()) as u8;
        }
        program
    }

    /// The program packed for these kernels, and its plan.
    ///
    /// For speed, packings of convolutions are chosen so that all layers together take the fewest
    /// cycles of the core and its flash, by the given costs, within the arena of the goal and a
    /// model file of `file_bytes`. Weights in fewer bits than a byte keep them, as they were chosen
    /// to save flash.
    ///
    /// # Errors
    ///
    /// [`Uncuttable`] if too many layers lie between two places at which the network can be cut.
    pub fn plan(
        self,
        program: Program,
        goal: Goal,
        file_bytes: usize,
        costs: &Coefficients,
    ) -> Result<(Program, Plan), Uncuttable> {
        let program = self.packed(program);
        let smallest = plan(&program, goal)?;
        let Goal::Speed { arena_bytes } = goal else { return Ok((program, smallest)) };
        let room = file_bytes.saturating_sub(program.write(&smallest).len());
        // Scratch memory may need space that rows need, so less and less of it is allowed.
        let mut scratch_bytes = usize::MAX;
        while scratch_bytes > 0 && smallest.arena_bytes <= arena_bytes {
            let quick = self.quickest(program.clone(), room, scratch_bytes, costs);
            let planned = plan(&quick, goal)?;
            if planned.arena_bytes <= arena_bytes {
                return Ok((quick, planned));
            }
            let scratch = |index| (program.scratch_bytes(index), quick.scratch_bytes(index));
            let more = (0..quick.layers.len()).map(scratch).filter(|(before, now)| now > before);
            scratch_bytes = more.map(|(_, now)| now - 1).max().unwrap_or(0);
        }
        Ok((program, smallest))
    }

    /// The program with the packings that together take the fewest cycles, within `room` more
    /// bytes, and with up to `scratch_bytes` of scratch memory per layer.
    fn quickest(
        self,
        mut program: Program,
        room: usize,
        scratch_bytes: usize,
        costs: &Coefficients,
    ) -> Program {
        let choices: Vec<Vec<(Packing, Choice)>> = (0..program.layers.len())
            .map(|index| self.choices(&program, index, scratch_bytes, costs))
            .collect();
        let groups: Vec<Vec<Choice>> = choices
            .iter()
            .map(|choices| choices.iter().map(|(_, choice)| *choice).collect())
            .collect();
        // The present packings take no more room, so there is a solution.
        let numbers = knapsack::cheapest(&groups, room).unwrap_or_default();
        for ((layer, choices), number) in program.layers.iter_mut().zip(choices).zip(numbers) {
            layer.record.packing = choices[number].0 as u8;
        }
        program
    }

    /// The packings that a layer can have, the present one first, with the additional bytes and the
    /// cycles of each.
    fn choices(
        self,
        program: &Program,
        index: usize,
        scratch_bytes: usize,
        costs: &Coefficients,
    ) -> Vec<(Packing, Choice)> {
        let layer = &program.layers[index];
        let shape = program.layers[usize::from(layer.record.input.get())].record.shape();
        let (now, packing) = (layer.record, layer.record.packing());
        let cost = |record: &LayerRecord| costs.cycles(record, shape).unwrap_or_default();
        let as_it_is = (packing, Choice { bytes: 0, cost: cost(&now) });
        if packing.bits() < 8 {
            return vec![as_it_is];
        }
        let scratch = program.scratch_bytes(index).max(scratch_bytes);
        let other = |&other: &Packing| {
            let mut record = now;
            record.packing = other as u8;
            let runs = layer.can_be(other)
                && costs.runs(&record, shape)
                && ops::scratch_bytes(&record, shape) <= scratch;
            let bytes = layer.bytes_as(other).saturating_sub(layer.bytes_as(packing));
            runs.then(|| (other, Choice { bytes, cost: cost(&record) }))
        };
        [as_it_is].into_iter().chain(self.quicker().iter().filter_map(other)).collect()
    }
}

/// The model as a board's firmware runs it, with its weights packed for the board's kernels; `None`
/// if they already are.
///
/// The file keeps its path.
///
/// ```
/// use brooklet_plan::Spec;
/// use brooklet_plan::model_file::ModelFile;
/// use brooklet_plan::packing::packed_for;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = ModelFile::open("../../tests/golden/tiny.brook")?;
/// let spec = Spec::read("../../boards/qemu-mps2-an386/board.toml".as_ref())?;
/// let packed = packed_for(&spec, &file)?.expect("it was packed for portable kernels");
/// assert_eq!(packed.model().layer(1).packing().name(), "pairs");
/// assert!(packed_for(&spec, &packed)?.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`PackError`] if there is no plan for it, or the board's `board.toml` names kernels that do not
/// exist.
pub fn packed_for(spec: &Spec, file: &ModelFile) -> Result<Option<ModelFile>, PackError> {
    let kernels = Kernels::of(spec)?;
    let model = file.model();
    let runs = |packing: Packing| {
        kernels.runs(packing) && (packing.rows_a_step() == 1 || spec.makes_several_rows())
    };
    // Layers of int16 are not repacked.
    let other = |layer: &LayerRecord| {
        layer.operator().has_packing() && !layer.has_int16() && !runs(layer.packing())
    };
    let mut program = Program::read(&model);
    let first = spec.weights_window.is_some() && !program.weights_last;
    if !first && !model.layers().iter().any(other) {
        return Ok(None);
    }
    program.weights_last |= first;
    for layer in program.layers.iter_mut().filter(|layer| other(&layer.record)) {
        layer.record.packing = kernels.smallest(layer.record.packing()) as u8;
    }
    let plan = plan(&program, Goal::Size).map_err(|error| ModelError {
        file: file.path().to_owned(),
        problem: ModelProblem::Uncuttable(error),
    })?;
    Ok(Some(ModelFile::new(file.path(), program.write(&plan))?))
}

/// Number of rows of all layers up to which [`packed_for_simulator`] plans a model again; a ResNet-50 at
/// 224×224 has 2,000. The time to place rows grows with the square of their number.
const MOST_ROWS: usize = 1 << 14;

/// The model with its weights packed as the vectors of a simulator's backend multiply them, which is faster
/// if it runs many images. All answers and the indices of layers stay the same; the arena is larger.
///
/// A backend without vectors, and a model with a very large number of rows, keep their packings.
///
/// ```
/// use brooklet_plan::model_file::{HostBackend, ModelFile};
/// use brooklet_plan::packing::packed_for_simulator;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = ModelFile::open("../../tests/golden/tiny.brook")?;
/// let packed = packed_for_simulator(&file, HostBackend::Auto)?;
/// let image = [0; 8 * 8 * 3];
/// let answer = file.simulator(HostBackend::Reference)?.run(&image);
/// assert_eq!(packed.simulator(HostBackend::Auto)?.run(&image), answer);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ModelError`] if there is no plan for it.
pub fn packed_for_simulator(
    file: &ModelFile,
    backend: HostBackend,
) -> Result<ModelFile, ModelError> {
    let model = file.model();
    let rows: usize = model.layers().iter().map(|layer| usize::from(layer.rows.get())).sum();
    if !backend.has_vectors() || rows > MOST_ROWS {
        return ModelFile::new(file.path(), file.bytes().to_vec());
    }
    let mut program = Program::read(&model);
    for layer in &mut program.layers {
        let packings = [Packing::SixteensTall, Packing::Sixteens];
        if let Some(packing) = packings.into_iter().find(|&packing| layer.can_be(packing)) {
            layer.record.packing = packing as u8;
        }
    }
    let plan = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).map_err(|error| {
        ModelError { file: file.path().to_owned(), problem: ModelProblem::Uncuttable(error) }
    })?;
    ModelFile::new(file.path(), program.write(&plan))
}

/// Writes [`packed_for`] into `folder`, under the file's name.
///
/// # Errors
///
/// The errors of [`packed_for`], and an error if the file cannot be written.
pub fn packed_into(
    folder: &Path,
    spec: &Spec,
    file: &ModelFile,
) -> Result<Option<ModelFile>, PackError> {
    let Some(packed) = packed_for(spec, file)? else { return Ok(None) };
    let path = folder.join(file.path().file_name().unwrap_or("model.brook".as_ref()));
    fs::write(&path, packed.bytes()).map_err(|error| ModelError {
        file: path.clone(),
        problem: ModelProblem::File(error.into()),
    })?;
    Ok(Some(packed.at(&path)))
}
