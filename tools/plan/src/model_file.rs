//! Reads, runs and writes model files on the host.

use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
use brooklet::kernels::{Avx2, Avx512Vnni};
use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::ops::stream16;
use brooklet::{Model, SelfTest, Session};
use strum::{Display, EnumMessage, IntoStaticStr, VariantArray};
use zerocopy::IntoBytes;

use crate::plan::Uncuttable;
use crate::preprocessing::{Preprocess, from_record};
use brooklet_files::{self as files, FileProblem, Limit};

/// A model file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct ModelError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: ModelProblem,
}

/// What is wrong with a model file.
#[derive(Debug, thiserror::Error)]
pub enum ModelProblem {
    /// It cannot be read.
    #[error(transparent)]
    File(FileProblem),
    /// There is no plan for it.
    #[error("{0}")]
    Uncuttable(Uncuttable),
    /// The machine cannot run the kernels that were asked for.
    #[error("this machine lacks what backend {backend} needs")]
    Backend {
        /// The backend's name.
        backend: &'static str,
    },
    /// The core refused it.
    #[error("{error}")]
    Refused {
        /// The core's error.
        error: brooklet::Error,
    },
}

/// A model file in memory, checked.
#[derive(Debug)]
pub struct ModelFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ModelFile {
    /// Reads and checks a file.
    ///
    /// ```
    /// use brooklet_plan::model_file::ModelFile;
    ///
    /// let file = ModelFile::open("../../tests/golden/tiny.brook").unwrap();
    /// assert_eq!(file.input(), [8, 8, 3]); // rows, columns, channels
    /// let error = ModelFile::open("Cargo.toml").unwrap_err();
    /// assert!(error.to_string().contains("Cargo.toml"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`ModelError`], with the file and what is wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = files::read(path, Limit::Model).map_err(|problem| ModelError {
            file: path.to_owned(),
            problem: ModelProblem::File(problem),
        })?;
        Self::new(path, bytes)
    }

    /// Checks the bytes of a file that is, or will be, at `path`.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with the file and what is wrong.
    pub fn new(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self, ModelError> {
        let file = Self { path: path.as_ref().to_owned(), bytes };
        match Model::parse(&file.bytes).and_then(check_more) {
            Ok(()) => Ok(file),
            Err(error) => Err(file.refused(error)),
        }
    }

    /// The model.
    pub fn model(&self) -> Model<'_> {
        Model::checked_before(&self.bytes).expect("it was parsed when it was opened")
    }

    /// The same file at another path.
    pub(crate) fn at(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Shape of the image.
    pub fn input(&self) -> [usize; 3] {
        let shape = self.model().input();
        [shape.rows, shape.columns, shape.channels].map(usize::from)
    }

    /// How an image becomes the network's rows.
    pub fn preprocess(&self) -> Preprocess {
        self.model().preprocessing().map(from_record).unwrap_or_default()
    }

    /// Name of a class.
    pub fn label(&self, class: usize) -> String {
        self.model().label(class).map_or_else(|| format!("class {class}"), str::to_owned)
    }

    /// Names of all classes, if the model has them and there are several.
    pub fn labels(&self) -> Option<Vec<String>> {
        let model = self.model();
        let several = Some(model.classes()).filter(|&classes| classes > 1)?;
        (0..several).map(|class| model.label(class).map(str::to_owned)).collect()
    }

    /// `None` if the network has several scores, for each cell if it ends in a map; otherwise whether
    /// its one score is the argument of a sigmoid.
    pub fn one_score(&self) -> Option<bool> {
        let model = self.model();
        (model.classes() == 1).then(|| model.layer(model.logits()).has_sigmoid())
    }

    /// Rows, columns and classes of the answer, if it is a map of several cells.
    pub fn map(&self) -> Option<[usize; 3]> {
        let model = self.model();
        let shape = model.layer(model.logits()).shape();
        let sizes = [shape.rows, shape.columns, shape.channels].map(usize::from);
        model.ends_in_map().then_some(sizes)
    }

    /// Whether the logits have 16 bits.
    pub fn logits_int16(&self) -> bool {
        let model = self.model();
        let logits = model.layer(model.logits());
        logits.is_int16() || logits.is_stream16()
    }

    /// The answer of a board, which sends it as bytes.
    pub fn answer(&self, logits: &[u8], output: &[u8]) -> Answer {
        let model = self.model();
        let values = |layer, bytes: &[u8]| match model.layer(layer).is_int16() {
            _ if model.layer(layer).is_stream16() => {
                let bytes: Vec<i8> = bytes.iter().map(|&byte| byte.cast_signed()).collect();
                let rows = bytes.chunks(model.layer(layer).row_bytes());
                rows.flat_map(stream16::scores).collect()
            }
            true => bytes.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect(),
            false => bytes.iter().map(|&byte| byte.cast_signed().into()).collect(),
        };
        Answer { logits: values(model.logits(), logits), output: values(model.output(), output) }
    }

    /// An error of the core for this file.
    pub fn refused(&self, error: brooklet::Error) -> ModelError {
        ModelError { file: self.path.clone(), problem: ModelProblem::Refused { error } }
    }

    /// A simulator of the model on a backend.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the weights are packed for another backend, or the machine lacks it.
    pub fn simulator(&self, backend: HostBackend) -> Result<Simulator<'_>, ModelError> {
        let model = self.model();
        let arena = vec![0; model.arena_bytes().div_ceil(16)];
        let simulator = |backend: HostBackend| {
            let kernels = backend.kernels()?;
            let mut simulator = Simulator { model, kernels, arena: arena.clone() };
            simulator.check().map_err(|error| ModelProblem::Refused { error })?;
            Ok(simulator)
        };
        let backends = match backend {
            HostBackend::Auto => HostBackend::FASTEST_FIRST.to_vec(),
            named => vec![named],
        };
        backends
            .into_iter()
            .map(simulator)
            .reduce(|first, next| first.or(next))
            .expect("there is one at least")
            .map_err(|problem| ModelError { file: self.path.clone(), problem })
    }
}

/// A backend that runs on the host.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Display, EnumMessage, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum HostBackend {
    /// The fastest that this machine has and that runs the model.
    #[default]
    Auto,
    /// The naive definition.
    Reference,
    /// Blocked, safe Rust.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX-512 VNNI.
    Avx512Vnni,
}

/// The kernels of a backend that this machine can have.
#[derive(Debug, Clone, Copy)]
enum HostKernels {
    Reference(Reference),
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
}

impl HostBackend {
    const FASTEST_FIRST: [Self; 4] =
        [Self::Avx512Vnni, Self::Avx2, Self::Portable, Self::Reference];

    /// The backends that this machine has, the fastest first.
    pub fn of_this_machine() -> impl Iterator<Item = Self> {
        Self::FASTEST_FIRST.into_iter().filter(|backend| backend.kernels().is_ok())
    }

    /// Whether it multiplies with the vectors of this machine.
    pub(crate) fn has_vectors(self) -> bool {
        match self {
            Self::Auto => Self::of_this_machine().next().is_some_and(Self::has_vectors),
            Self::Avx2 | Self::Avx512Vnni => true,
            Self::Portable | Self::Reference => false,
        }
    }

    fn kernels(self) -> Result<HostKernels, ModelProblem> {
        match self {
            Self::Auto | Self::Reference => Ok(HostKernels::Reference(Reference)),
            Self::Portable => Ok(HostKernels::Portable(Portable)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect()
                .map(HostKernels::Avx2)
                .ok_or(ModelProblem::Backend { backend: Avx2::ISA.name }),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Avx512Vnni::detect()
                .map(HostKernels::Avx512Vnni)
                .ok_or(ModelProblem::Backend { backend: Avx512Vnni::ISA.name }),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 => Err(ModelProblem::Backend { backend: "avx2" }),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni => Err(ModelProblem::Backend { backend: "avx512-vnni" }),
        }
    }
}

/// Calls a function with the backend that the kernels are.
macro_rules! on {
    ($kernels:expr, $backend:ident => $call:expr) => {
        match $kernels {
            HostKernels::Reference($backend) => $call,
            HostKernels::Portable($backend) => $call,
            #[cfg(target_arch = "x86_64")]
            HostKernels::Avx2($backend) => $call,
            #[cfg(target_arch = "x86_64")]
            HostKernels::Avx512Vnni($backend) => $call,
        }
    };
}

/// The core with an arena of its own.
#[derive(Debug, Clone)]
pub struct Simulator<'m> {
    model: Model<'m>,
    kernels: HostKernels,
    arena: Vec<u128>,
}

/// The network's answer to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Logits, int8 or int16: those of a map in the order of rows, columns and classes.
    pub logits: Vec<i16>,
    /// Output of the last layer: probabilities after a softmax, or the logits.
    pub output: Vec<i16>,
}

impl Simulator<'_> {
    fn check(&mut self) -> Result<(), brooklet::Error> {
        let arena = self.arena.as_mut_bytes();
        on!(self.kernels, backend => Session::new(&self.model, backend, arena).map(|_| ()))
    }

    /// The name of its backend.
    pub fn backend(&self) -> &'static str {
        fn name<B: Backend>(_: B) -> &'static str {
            B::ISA.name
        }
        on!(self.kernels, backend => name(backend))
    }

    /// Runs one image: rows × columns × channels bytes.
    pub fn run(&mut self, pixels: &[u8]) -> Answer {
        on!(self.kernels, backend => self.run_on(backend, pixels))
    }

    /// Runs one image; returns the numbers of all outputs except the last, each with the index of
    /// its layer.
    pub fn run_others(&mut self, pixels: &[u8]) -> Vec<(usize, Vec<i16>)> {
        on!(self.kernels, backend => {
            let mut session = self.session(backend);
            session.push_image(pixels).expect("the image has the input's size");
            let outputs = session.outputs().expect("the image is complete");
            let mut outputs: Vec<_> =
                outputs.map(|(layer, scores)| (layer, scores.scores().collect())).collect();
            outputs.pop();
            outputs
        })
    }

    /// Runs the test images that the model carries.
    pub fn self_test(&mut self) -> SelfTest {
        on!(self.kernels, backend => self.session(backend).self_test())
    }

    fn session<B: Backend>(&mut self, backend: B) -> Session<'_, '_, B> {
        Session::new(&self.model, backend, self.arena.as_mut_bytes())
            .expect("arena and packing were checked")
    }

    fn run_on(&mut self, backend: impl Backend, pixels: &[u8]) -> Answer {
        let mut session = self.session(backend);
        session.push_image(pixels).expect("the image has the input's size");
        let logits = session.logits_map().expect("the image is complete").scores().collect();
        let output = session.map().expect("the image is complete").scores().collect();
        Answer { logits, output }
    }
}

/// Size of a session on the host, without the arena.
pub fn session_bytes() -> usize {
    size_of::<Session<'_, '_, Portable>>()
}

/// Checks properties that tools rely on, but running does not.
fn check_more(model: Model<'_>) -> Result<(), brooklet::Error> {
    model.check_text()?;
    model.check_preprocessing()
}
