//! The board of `flash` and `bench`: emulated, or attached to this computer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use brooklet_firmware::{
    Board, FirmwareError, FlashImage, Loaded, Options, Registry, Spec, compile, serial, uf2,
};

use super::fit::Verdict;
use super::{Bar, bytes, detail, espflash, say, spinner};
use crate::failure::{Result, failure};
use brooklet_files::{InputPath, TemporaryFolder};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_into;

/// Options that name the board, and how it is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// The board; `brooklet boards` lists them.
    #[arg(long, env = "BROOKLET_BOARD")]
    pub(crate) board: String,
    /// Treats the board as if it had only this much RAM, such as 192K: the model's arena, the
    /// application's buffers and the stack must fit into it.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<u32>,
    /// Runs the board's emulator. This is the default if the board has an emulator and none is
    /// attached.
    #[arg(long, conflicts_with_all = ["port", "drive", "probe"])]
    emulate: bool,
    /// The serial port of the board. Unless --probe or --drive writes the model, the board must
    /// already have it; Espressif's chips are written to over this port.
    #[arg(long)]
    port: Option<String>,
    /// Writes with a debug probe: the only one, or the one named VID:PID or VID:PID:SERIAL. The
    /// serial port is the probe's, unless --port names another.
    #[arg(long, value_name = "PROBE", num_args = 0..=1, default_missing_value = "", conflicts_with = "drive")]
    probe: Option<String>,
    /// Writes to the drive of the board's boot loader: DIR, or the one that is mounted.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "")]
    drive: Option<String>,
    /// Firmware that was built before, an ELF file. Default: firmware is built.
    #[arg(long, value_name = "FILE.elf", conflicts_with = "ram")]
    firmware: Option<InputPath>,
    /// Uses firmware that runs convolutions on both cores of a two-core chip.
    #[arg(long, conflicts_with = "firmware")]
    two_cores: bool,
}

/// How a board is reached.
#[derive(Debug)]
pub(crate) enum Way {
    /// The board's emulator runs on this computer.
    Emulator,
    /// With this debug probe, or with the only one.
    Probe(Option<String>),
    /// Through this drive of its boot loader.
    Drive(PathBuf),
    /// With the boot loader of an Espressif chip, at this serial port or the only one.
    Espflash(Option<String>),
    /// The board already runs, and is attached at this serial port.
    Attached(String),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emulator => f.write_str("in the emulator"),
            Self::Probe(None) => f.write_str("by the debug probe"),
            Self::Probe(Some(probe)) => write!(f, "by the debug probe {probe}"),
            Self::Drive(drive) => write!(f, "as a UF2 file, to {}", drive.display()),
            Self::Espflash(None) => {
                f.write_str("by the chip's boot loader, at the only serial port")
            }
            Self::Espflash(Some(port)) => write!(f, "by the chip's boot loader, at {port}"),
            Self::Attached(port) => write!(f, "attached at {port}"),
        }
    }
}

impl DeviceArgs {
    /// Features that the firmware is built with.
    fn features(&self) -> &'static [&'static str] {
        if self.two_cores { &[compile::TWO_CORES] } else { &[] }
    }

    /// Whether no option says how to reach the board.
    pub(crate) fn is_any(&self) -> bool {
        !self.emulate && self.port.is_none() && self.probe.is_none() && self.drive.is_none()
    }

    /// The way to reach the board that the options name, or else the one that is available.
    pub(crate) fn way(&self, spec: &Spec) -> Result<Way> {
        let board = &spec.name;
        if self.emulate {
            return match spec.is_emulated() {
                true => Ok(Way::Emulator),
                false => Err(FirmwareError::NoEmulator { board: board.clone() }.into()),
            };
        }
        if spec.espflash.is_some() && self.probe.is_none() && self.drive.is_none() {
            return Ok(Way::Espflash(self.port.clone()));
        }
        if let Some(probe) = &self.probe {
            return Ok(Way::Probe((!probe.is_empty()).then(|| probe.clone())));
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
                // An attached probe may belong to another board; a board without an emulator has no
                // other way.
                None if spec.is_emulated() => Ok(Way::Emulator),
                None if spec.probe.is_some() => Ok(Way::Probe(None)),
                None => Err(failure!(
                    help = "attach it, and say where with --port",
                    "{board} has no emulator, and no such board is attached"
                )),
            },
        }
    }
}

/// A board, and a model that is packed for it.
pub(crate) struct Target {
    pub(crate) registry: Registry,
    pub(crate) spec: Spec,
    /// The model, if it had to be packed for the board's kernels; and the path of that file.
    pub(crate) packed: Option<ModelFile>,
    _folder: TemporaryFolder,
}

impl Target {
    /// The board with all of its RAM or less, if the model fits it. Weights that are packed for other
    /// kernels are packed for the board's.
    pub(crate) fn new(file: &ModelFile, args: &DeviceArgs, spinner: &Bar) -> Result<Self> {
        let registry = Registry::find()?;
        let board = &args.board;
        let folder = TemporaryFolder::new().map_err(|error| failure!("{error}"))?;
        let packed = packed_into(folder.path(), registry.board(board)?, file)?;
        if packed.is_some() {
            let path = file.path().display();
            let remedy =
                format!("`brooklet plan {path} --board {board} --in-place` packs the file itself");
            say(spinner, &format!("{path}: packed for the board's kernels; {remedy}"));
        }
        let model = packed.as_ref().unwrap_or(file);
        if args.two_cores && registry.board(board)?.second_core.is_none() {
            return Err(failure!(
                help = "leave out --two-cores, or name a board whose board.toml has a second_core",
                "{board} has firmware for one core only"
            ));
        }
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

    /// The flash image of the model and the firmware, which is built unless it is given.
    pub(crate) fn image(
        &self,
        args: &DeviceArgs,
        file: &ModelFile,
        spinner: &Bar,
    ) -> Result<FlashImage> {
        if self.spec.espflash.is_some() {
            espflash::is_there(&self.spec)?;
        }
        let firmware = match &args.firmware {
            Some(firmware) => firmware.to_path_buf(),
            None => {
                spinner.set_message("building firmware");
                let report = &mut |line: &str| say(spinner, line);
                compile::firmware(&self.registry, &self.spec, args.features(), report)?
            }
        };
        detail(|| format!("firmware: {}", firmware.display()));
        let model = self.packed.as_ref().unwrap_or(file).path();
        match &self.spec.espflash {
            Some(_) => espflash::image(&self.spec, &firmware, model),
            None => Ok(FlashImage::new(&self.spec, &firmware, Some(model))?),
        }
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

/// Starts a board with a model, and checks that the board can run it.
pub(crate) fn start(file: &ModelFile, args: &DeviceArgs, options: &Options) -> Result<Started> {
    let spinner = spinner();
    let target = Target::new(file, args, &spinner)?;
    let model = target.packed.as_ref().unwrap_or(file);
    spinner.set_message(format!("starting {}", args.board));
    let way = args.way(&target.spec)?;
    detail(|| format!("{}: {way}", args.board));
    let mut board = match way {
        Way::Emulator => emulate(&target, model, args, options, &spinner)
            .map_err(|error| named(error, file.path()))?,
        Way::Probe(probe) => {
            let image = target.image(args, file, &spinner)?;
            spinner.set_message("writing flash");
            let written = by_probe(&target.spec, &image, probe.as_deref())?;
            let Written { probe, sectors, changed, serial_number } = written;
            say(
                &spinner,
                &format!("{probe}: wrote the {changed} of {sectors} sectors that differed"),
            );
            let port = args.port.as_deref();
            attach(&target.spec, port, serial_number.as_deref(), Duration::from_secs(5))?
        }
        Way::Drive(drive) => {
            let image = target.image(args, file, &spinner)?;
            let path = uf2::copy(&target.spec, &drive, &image)?;
            say(&spinner, &format!("wrote {}", path.display()));
            attach(&target.spec, args.port.as_deref(), None, Duration::from_secs(5))?
        }
        Way::Espflash(port) => {
            let image = target.image(args, file, &spinner)?;
            spinner.set_message("writing flash");
            let espflash::Written { port, parts, changed } =
                espflash::write(&target.spec, &image, port.as_deref())?;
            say(&spinner, &format!("{port}: wrote {changed} of {parts} parts, which differed"));
            attach(&target.spec, Some(&port), None, Duration::from_secs(5))?
        }
        Way::Attached(port) => attach(&target.spec, Some(&port), None, Duration::ZERO)?,
    };
    let loaded = board.link().check()?;
    if loaded.crc != model.model().header().crc.get() {
        return Err(failure!(
            help = "write this one first: with a debug probe (--probe) or to its boot loader's drive (--drive)",
            "{}: {} has another model",
            file.path().display(),
            args.board
        ));
    }
    spinner.finish_and_clear();
    let Target { registry, spec, packed, .. } = target;
    Ok(Started { registry, spec, board, loaded, packed })
}

/// What a probe wrote, or would write.
#[cfg(feature = "probe")]
pub(crate) use brooklet_firmware::probe::Written;

/// What a probe would write.
#[cfg(not(feature = "probe"))]
pub(crate) struct Written {
    probe: String,
    sectors: usize,
    changed: usize,
    serial_number: Option<String>,
}

/// Writes with a debug probe.
#[cfg(feature = "probe")]
fn by_probe(spec: &Spec, image: &FlashImage, probe: Option<&str>) -> Result<Written> {
    Ok(brooklet_firmware::probe::write(spec, image, probe)?)
}

/// Checks that a debug probe could write this.
#[cfg(feature = "probe")]
pub(crate) fn check_probe(spec: &Spec, image: &FlashImage) -> Result<()> {
    Ok(brooklet_firmware::probe::dry_run(spec, image)?)
}

#[cfg(not(feature = "probe"))]
fn by_probe(spec: &Spec, _: &FlashImage, _: Option<&str>) -> Result<Written> {
    Err(without_probes(spec))
}

#[cfg(not(feature = "probe"))]
pub(crate) fn check_probe(spec: &Spec, _: &FlashImage) -> Result<()> {
    Err(without_probes(spec))
}

#[cfg(not(feature = "probe"))]
fn without_probes(spec: &Spec) -> crate::failure::Failure {
    failure!(
        help = "install it with them: `cargo install --path tools/cli --features probe`",
        "{}: this command was built without debug probes",
        spec.name
    )
}

/// Starts the emulator.
fn emulate(
    target: &Target,
    model: &ModelFile,
    args: &DeviceArgs,
    options: &Options,
    spinner: &Bar,
) -> std::result::Result<Board, FirmwareError> {
    let firmware = args.firmware.as_ref().map(|path| path.to_path_buf());
    let options = Options { firmware, two_cores: args.two_cores, ..options.clone() };
    let report = &mut |line: &str| say(spinner, line);
    Board::start_with(&target.registry, &target.spec, Some(model.path()), &options, report)
}

/// The board at a serial port: the named port, the port of the probe with this serial number, or
/// the only one. Waits until the port is there, up to a time limit.
fn attach(
    spec: &Spec,
    port: Option<&str>,
    probe: Option<&str>,
    patience: Duration,
) -> Result<Board> {
    let deadline = Instant::now() + patience;
    loop {
        let port = match port {
            Some(port) => Ok(port.to_owned()),
            None => serial::port_of(&spec.name, &serial::ports(), probe),
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

/// An error that names the file that the user gave, instead of the one that was packed from it.
fn named(mut error: FirmwareError, file: &Path) -> FirmwareError {
    use FirmwareError as E;
    if let E::ModelTooLarge { path, .. } | E::ArenaTooLarge { path, .. } = &mut error {
        *path = file.to_owned();
    }
    error
}
