//! `brooklet check`: whether a model file is sound, and gives the answers that it should.

use std::fmt;
use std::path::PathBuf;

use brooklet::SelfTest;
use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::choice::choice;
use crate::failure::{Result, failure};
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
        }
    }
}
