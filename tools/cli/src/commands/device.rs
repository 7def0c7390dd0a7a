//! The board of `flash` and `bench`: emulated, or attached to this computer.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use brooklet_firmware::{
    Board, FirmwareError, FlashImage, Loaded, Options, Registry, Spec, compile, serial, uf2,
};
use indicatif::ProgressBar;

use super::fit::Verdict;
use super::{bytes, say, spinner};
use crate::failure::{Result, failure};
use brooklet_files::{InputPath, TemporaryFolder};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_into;

/// Options that say which board, and how it is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// The board; `brooklet boards` lists them.
    #[arg(long)]
    pub(crate) board: String,
    /// As if the board had only this much RAM, such as 192K: the model's arena, the application's
    /// buffers and the stack must fit into it.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<u32>,
    /// In the board's emulator. Default: where the board has one, and none is attached.
    #[arg(long, conflicts_with_all = ["port", "drive"])]
    emulate: bool,
    /// The serial port that the board is at. Without a way to write to the board, it has to have the
    /// model already.
    #[arg(long)]
    port: Option<String>,
    /// Writes to the drive of the board's boot loader: the one in DIR, or that which is mounted.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "")]
    drive: Option<String>,
    /// Firmware that was built before, an ELF file. Without it, firmware is built.
    #[arg(long, value_name = "FILE.elf", conflicts_with = "ram")]
    firmware: Option<InputPath>,
}

/// How a board is reached.
#[derive(Debug)]
pub(crate) enum Way {
    /// It is emulated.
    Emulator,
    /// By this drive of its boot loader.
    Drive(PathBuf),
    /// It runs, at this serial port.
    Attached(String),
}

impl DeviceArgs {
    /// The way that the options name, or that there is.
    pub(crate) fn way(&self, spec: &Spec) -> Result<Way> {
        let board = &spec.name;
        if self.emulate {
            return match spec.is_emulated() {
                true => Ok(Way::Emulator),
                false => Err(FirmwareError::NoEmulator { board: board.clone() }.into()),
            };
        }
        let found = uf2::drive(spec);
        match (&self.drive, &self.port) {
            (Some(folder), _) if !folder.is_empty() => Ok(Way::Drive(folder.into())),
            (Some(_), _) => found.map(Way::Drive).ok_or_else(|| {
                let drive = spec.uf2.as_ref().map_or("UF2".to_owned(), |uf2| uf2.drive.clone());
                FirmwareError::NoDrive { board: board.clone(), drive }.into()
            }),
            (None, Some(port)) => Ok(found.map_or_else(|| Way::Attached(port.clone()), Way::Drive)),
            (None, None) => match found {
                Some(drive) => Ok(Way::Drive(drive)),
                None if spec.is_emulated() => Ok(Way::Emulator),
                None => Err(failure!(
                    help = "attach it, and say where with --port",
                    "{board} has no emulator, and none is attached"
                )),
            },
        }
    }
}

/// A board, and a model that is packed for it.
pub(crate) struct Target {
    pub(crate) registry: Registry,
    pub(crate) spec: Spec,
    /// The model, if it had to be packed for the board's kernels; and where that file is.
    pub(crate) packed: Option<ModelFile>,
    _folder: TemporaryFolder,
}

impl Target {
    /// The board with all of its RAM or less, if the model fits it. Weights that are packed for other
    /// kernels are packed for the board's.
    pub(crate) fn new(file: &ModelFile, args: &DeviceArgs, spinner: &ProgressBar) -> Result<Self> {
        let registry = Registry::find()?;
        let board = &args.board;
        let folder = TemporaryFolder::new().map_err(|error| failure!("{error}"))?;
        let packed = packed_into(folder.path(), registry.board(board)?, file)?;
        if packed.is_some() {
            let path = file.path().display();
            let remedy =
                format!("`brooklet plan {path} --board {board} --in-place` does it for good");
            say(spinner, &format!("{path}: packed for the board's kernels; {remedy}"));
        }
        let model = packed.as_ref().unwrap_or(file);
        let spec = match args.ram {
            Some(bytes) => registry.limited(board, bytes, model.model().arena_bytes() as u32)?,
            None => registry.board(board)?.clone(),
        };
        let verdict = Verdict::of_packed(&spec, &model.model());
        if !verdict.fits {
            return Err(verdict.refused(model.path(), ""));
        }
        Ok(Self { registry, spec, packed, _folder: folder })
    }

    /// Firmware, built or given, and the model.
    pub(crate) fn image(
        &self,
        args: &DeviceArgs,
        file: &ModelFile,
        spinner: &ProgressBar,
    ) -> Result<FlashImage> {
        let firmware = match &args.firmware {
            Some(firmware) => firmware.to_path_buf(),
            None => {
                spinner.set_message("building firmware");
                let report = &mut |line: &str| say(spinner, line);
                compile::firmware(&self.registry, &self.spec, &[], report)?
            }
        };
        let model = self.packed.as_ref().unwrap_or(file).path();
        Ok(FlashImage::new(&self.spec, &firmware, Some(model))?)
    }
}

/// A board that runs a model.
pub(crate) struct Started {
    pub(crate) registry: Registry,
    pub(crate) spec: Spec,
    pub(crate) board: Board,
    pub(crate) loaded: Loaded,
    /// The model, if it had to be packed for the board's kernels.
    pub(crate) packed: Option<ModelFile>,
}

/// Starts a board with a model, and makes sure that it can run it.
pub(crate) fn start(file: &ModelFile, args: &DeviceArgs, options: &Options) -> Result<Started> {
    let spinner = spinner();
    let target = Target::new(file, args, &spinner)?;
    let model = target.packed.as_ref().unwrap_or(file);
    spinner.set_message(format!("starting {}", args.board));
    let mut board = match args.way(&target.spec)? {
        Way::Emulator => emulate(&target, model, args, options, &spinner)
            .map_err(|error| named(error, file.path()))?,
        Way::Drive(drive) => {
            let image = target.image(args, file, &spinner)?;
            let path = uf2::copy(&target.spec, &drive, &image)?;
            say(&spinner, &format!("wrote {}", path.display()));
            attach(&target.spec, args.port.as_deref(), Duration::from_secs(5))?
        }
        Way::Attached(port) => attach(&target.spec, Some(&port), Duration::ZERO)?,
    };
    let loaded = board.link().check()?;
    if loaded.crc != model.model().header().crc.get() {
        return Err(failure!(
            help = "write this one to it first: by its boot loader's drive (--drive)",
            "{}: {} has another model",
            file.path().display(),
            args.board
        ));
    }
    spinner.finish_and_clear();
    let Target { registry, spec, packed, .. } = target;
    Ok(Started { registry, spec, board, loaded, packed })
}

/// Starts the emulator.
fn emulate(
    target: &Target,
    model: &ModelFile,
    args: &DeviceArgs,
    options: &Options,
    spinner: &ProgressBar,
) -> std::result::Result<Board, FirmwareError> {
    let firmware = args.firmware.as_ref().map(|path| path.to_path_buf());
    let options = Options { firmware, ..options.clone() };
    let report = &mut |line: &str| say(spinner, line);
    Board::start_with(&target.registry, &target.spec, Some(model.path()), &options, report)
}

/// The board at a serial port: the one that is named, or the only one that there is before the time
/// is over.
fn attach(spec: &Spec, port: Option<&str>, patience: Duration) -> Result<Board> {
    let deadline = Instant::now() + patience;
    loop {
        let port = match port {
            Some(port) => Ok(port.to_owned()),
            None => serial::port_of(&spec.name, &serial::ports(), None),
        };
        let board = port.and_then(|port| Board::attach(spec, &port));
        match board {
            Err(FirmwareError::NoPort { .. } | FirmwareError::Port { .. })
                if Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(200));
            }
            board => return Ok(board?),
        }
    }
}

/// An error that names the file that the user gave, not the one that was packed of it.
fn named(mut error: FirmwareError, file: &Path) -> FirmwareError {
    use FirmwareError as E;
    if let E::ModelTooLarge { path, .. } | E::ArenaTooLarge { path, .. } = &mut error {
        *path = file.to_owned();
    }
    error
}
