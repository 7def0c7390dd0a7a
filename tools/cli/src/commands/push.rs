//! `brooklet push`: sends a signed model to a running board.

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
    /// The signed model, as `brooklet sign` writes it.
    model: InputPath,
    /// The board.
    #[arg(long, env = "BROOKLET_BOARD")]
    board: String,
    /// The serial port of the board.
    #[arg(long, required_unless_present = "key")]
    port: Option<String>,
    /// Starts the board's emulator, with firmware that accepts models signed for this public key.
    #[arg(long, value_name = "FILE.pub", conflicts_with = "port")]
    key: Option<InputPath>,
    /// The signed model that the emulated board already has.
    #[arg(long, value_name = "FILE.signed", requires = "key")]
    installed: Option<InputPath>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the board.
    board: String,
    /// Size of the model file.
    model_bytes: usize,
    /// Counter of the model that ran before.
    before: Option<u32>,
    /// Counter of the model that runs now.
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
        writeln!(
            f,
            "{board}: runs a model of {bytes} bytes with counter {running}; before: {before}"
        )
    }
}

/// Parses a signed file, and checks the model as a board would.
fn read_signed<'f>(path: &InputPath, bytes: &'f [u8]) -> Result<SignedModel<'f>> {
    let wrong = || {
        failure!(
            help = "`brooklet sign MODEL.brook --key FILE --counter N -o FILE.signed` makes one",
            "{}: is not a signed model",
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
                    help = format!("boards whose firmware does: {}", boards.join(", ")),
                    "the firmware of {} does not take models over its link",
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
