//! `brooklet push`: a signed model onto a board that runs.

use std::fmt;

use brooklet_files::{InputPath, Limit};
use brooklet_firmware::{Board, Options, Registry, SignedModel};
use brooklet_plan::model_file::ModelFile;
use brooklet_slots::{HEADER_BYTES, SIGNATURE, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::sign::read_public_key;
use super::{Output, progress, read, say, spinner};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::thousands;

/// Options of `brooklet push`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The signed model: `brooklet sign` makes one.
    model: InputPath,
    /// The board.
    #[arg(long, env = "BROOKLET_BOARD")]
    board: String,
    /// The serial port that the board is at.
    #[arg(long, required_unless_present = "key")]
    port: Option<String>,
    /// Starts the board's emulator, with firmware that takes models signed for this public key.
    #[arg(long, value_name = "FILE.pub", conflicts_with = "port")]
    key: Option<InputPath>,
    /// The signed model that the emulated board has already.
    #[arg(long, value_name = "FILE.signed", requires = "key")]
    installed: Option<InputPath>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Its name.
    board: String,
    /// Of the model file.
    model_bytes: usize,
    /// Counter of the model that ran.
    before: Option<u32>,
    /// Counter of the model that runs.
    running: u32,
}

impl Reported for Report {
    const NAME: &str = "push";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { board, model_bytes, before, running } = self;
        let before = before.map_or("no model".to_owned(), |counter| format!("counter {counter}"));
        let bytes = thousands(*model_bytes);
        writeln!(f, "{board}: a model of {bytes} bytes runs, counter {running}; before it {before}")
    }
}

/// Takes a signed file apart, and checks the model as a board would.
fn read_signed<'f>(path: &InputPath, bytes: &'f [u8]) -> Result<SignedModel<'f>> {
    let wrong = || {
        failure!(
            help = "`brooklet sign MODEL.brook --key FILE --counter N -o FILE.signed` makes one",
            "{}: is no signed model",
            path.display()
        )
    };
    let (signature, rest) = bytes.split_first_chunk::<SIGNATURE>().ok_or_else(wrong)?;
    let file = bytes.get(HEADER_BYTES..).ok_or_else(wrong)?;
    let counter = rest.get(8..12).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
    let counter = u32::from_le_bytes(counter);
    if bytes.get(..HEADER_BYTES) != Some(&header(counter, file.len() as u32, signature)) {
        return Err(wrong());
    }
    ModelFile::new(path, file.to_vec())?;
    Ok(SignedModel { counter, signature, file })
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let registry = Registry::find()?;
    let spec = registry.board(&args.board)?;
    let bytes = read(&args.model, Limit::Model)?;
    let model = read_signed(&args.model, &bytes)?;
    let spinner = spinner();
    let mut board = match (&args.port, &args.key) {
        (Some(port), _) => Board::attach(spec, port)?,
        (None, Some(key)) => {
            if !spec.updates {
                let boards = registry.boards().iter().filter(|spec| spec.updates);
                let boards: Vec<&str> = boards.map(|spec| spec.name.as_str()).collect();
                return Err(failure!(
                    help = format!("firmware that does is there for {}", boards.join(", ")),
                    "the firmware of {} takes no models over its link",
                    spec.name
                ));
            }
            let options = Options { public_key: Some(read_public_key(key)?), ..Options::default() };
            let installed = args.installed.as_ref().map(|path| path.as_ref());
            Board::start_with(&registry, spec, installed, &options, &mut |line| {
                say(&spinner, line)
            })?
        }
        (None, None) => unreachable!("one of the two is required"),
    };
    spinner.finish_and_clear();
    let before = board.link().running()?;
    let bar = progress(model.file.len(), "sent");
    board.link().install(&model, |sent| bar.set_position(sent as u64))?;
    bar.finish_and_clear();
    output.print(&Report {
        board: spec.name.clone(),
        model_bytes: model.file.len(),
        before,
        running: model.counter,
    })
}
