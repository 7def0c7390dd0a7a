//! `brooklet check`: whether a model file is sound, and gives the answers that it should.

use std::fmt;
use std::path::PathBuf;

use brooklet::SelfTest;
use brooklet_firmware::{Board, FirmwareError, Options, Registry};
use schemars::JsonSchema;
use serde::Serialize;

use super::bench::Check;
use super::choice::choice;
use super::{Output, say, spinner};
use crate::failure::{Result, failure};
use crate::report::count::{Counted, unit_name};
use crate::report::schema::Reported;
use crate::report::thousands;
use brooklet_files::InputPath;
use brooklet_plan::model_file::{HostBackend, ModelFile};

/// Options of `brooklet check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// Kernels that run the test images. Default: all that run the model on this computer.
    #[arg(long, value_parser = choice::<HostBackend>())]
    backend: Option<HostBackend>,
    /// Also has this board check the file in its emulator, and prints what that costs. The file is
    /// not planned again, so the board may have no kernels for its weights.
    #[arg(long)]
    board: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The file.
    model: PathBuf,
    /// Its length.
    model_bytes: usize,
    /// CRC-32 from the file's header.
    crc: u32,
    /// Number of test images that the file carries.
    test_images: usize,
    /// The backends that computed the stored bytes for each test image.
    backends: Vec<&'static str>,
    /// What the board says.
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<OnBoard>,
}

/// What a board says about the file as it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OnBoard {
    /// Name of the board.
    name: String,
    /// The count for checking the file at start-up.
    #[serde(flatten)]
    check: Check,
    /// Why it does not run there as it stands, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip)]
    count: String,
}

impl OnBoard {
    /// Starts a board with the file in its slot.
    fn check(board: &str, file: &ModelFile) -> Result<Self> {
        let registry = Registry::find()?;
        let spec = registry.board(board)?;
        if !spec.is_emulated() {
            return Err(FirmwareError::NoEmulator { board: spec.name.clone() }.into());
        }
        let (bytes, slot) = (file.model().file().len(), spec.slot.bytes);
        if bytes > slot as usize {
            return Err(failure!(
                help = "name a board with a larger slot; `brooklet boards` lists them",
                "{}: {bytes} bytes do not fit into the {slot} bytes of {board}'s slot",
                file.path().display()
            ));
        }
        let spinner = spinner();
        spinner.set_message(format!("starting {board}"));
        let options = Options { unchecked: true, ..Options::default() };
        let report = &mut |line: &str| say(&spinner, line);
        let mut board = Board::start_with(&registry, spec, Some(file.path()), &options, report)?;
        let refused = match board.link().check() {
            Ok(_) => None,
            Err(FirmwareError::Model { reason, .. }) => Some(reason),
            Err(error @ FirmwareError::RowTooLong { .. }) => Some(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let identity = board.link().identify()?;
        spinner.finish_and_clear();
        let (unit, count) = (identity.unit, identity.check_count);
        Ok(Self {
            name: spec.name.clone(),
            check: Counted::new(unit, count).into(),
            refused,
            count: format!("{} {}", thousands(count), unit_name(unit)),
        })
    }
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let mut report = Report {
        model: args.model.to_path_buf(),
        model_bytes: model.file().len(),
        crc: model.header().crc.get(),
        test_images: model.test_images().len(),
        backends: Vec::new(),
        board: args.board.as_ref().map(|board| OnBoard::check(board, &file)).transpose()?,
    };
    let simulators = match args.backend {
        Some(backend) => vec![file.simulator(backend)?],
        None => HostBackend::of_this_machine()
            .filter_map(|backend| file.simulator(backend).ok())
            .collect(),
    };
    for mut simulator in simulators {
        match simulator.self_test() {
            SelfTest::NoneStored => {}
            SelfTest::Passed { .. } => report.backends.push(simulator.backend()),
            SelfTest::Differs { image } => {
                return Err(failure!(
                    help = "quantize the network again; if it happens again, this is a bug in a \
                            kernel: please report it",
                    "{}: self-test: backend {} computes other bytes for test image {image} \
                     than the file stores",
                    args.model.display(),
                    simulator.backend(),
                ));
            }
        }
    }
    output.print(&report)
}

impl Reported for Report {
    const NAME: &str = "check";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, bytes) = (self.model.display(), thousands(self.model_bytes));
        writeln!(f, "{file}: {bytes} bytes, CRC {:08x}: the file is sound", self.crc)?;
        match self.test_images {
            0 => writeln!(
                f,
                "self-test: the file has no test images; `brooklet quantize --self-test 2` stores two"
            ),
            images => {
                let backends = self.backends.join(", ");
                writeln!(f, "self-test: {images} images gave the stored bytes on {backends}")
            }
        }?;
        let Some(OnBoard { name, refused, count, .. }) = &self.board else { return Ok(()) };
        writeln!(f, "{name}: checked at start-up in {count}")?;
        match refused {
            Some(reason) => writeln!(f, "{name}: does not run as it stands: {reason}"),
            None => Ok(()),
        }
    }
}
