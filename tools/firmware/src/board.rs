//! A running board: emulated or attached, with firmware and a model.

use std::io::{Read, Write};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
#[cfg(unix)]
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use board_build::{Emulator, Spec};
use tempfile::TempDir;

use crate::counts::{self, Cache, Counts, Marks};
use crate::flash_image::FlashImage;
use crate::{FirmwareError, Link, Registry, Report, compile, qemu, runner, serial, size};

/// A running board.
///
/// An emulated one is stopped when dropped.
#[derive(Debug)]
pub struct Board {
    link: Link,
    /// The process, if it is emulated.
    running: Option<Running>,
    counting: Option<Counting>,
}

/// The files that counting instructions needs.
#[derive(Debug)]
pub(crate) struct Counting {
    board: String,
    /// The folder of the counts and of the monitor's socket.
    folder: TempDir,
    firmware: PathBuf,
    pub(crate) marks: Marks,
}

impl Counting {
    fn new(spec: &Spec, firmware: &Path, cache: Option<Cache>) -> Result<Self, FirmwareError> {
        let folder = tempfile::tempdir()
            .map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })?;
        let marks = Marks::of(spec, firmware, cache)?;
        Ok(Self { board: spec.name.clone(), folder, firmware: firmware.to_owned(), marks })
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join("counts")
    }

    pub(crate) fn monitor(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }
}

/// The emulator's process.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

/// Options for starting a board.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// For firmware that logs: the file for its log, in defmt's encoding.
    ///
    /// The link is then a socket beside that file.
    pub log: Option<PathBuf>,
    /// Firmware with the kernels' test suite, for [`Link::suite`].
    pub suite: bool,
    /// Starts with any model file.
    ///
    /// Otherwise a file that clearly does not fit the board is refused here, before the board does
    /// so.
    pub unchecked: bool,
    /// Counts instructions, for [`Board::counts`].
    pub count: bool,
    /// A cache in front of flash in which misses are counted, too, for [`Counts::misses`].
    pub cache: Option<Cache>,
    /// Uses firmware that takes models over its link, signed by this key; see
    /// [`compile::firmware_with_slots`].
    ///
    /// The model in the slot is then a signed one.
    pub public_key: Option<String>,
    /// Uses firmware that runs convolutions on both cores.
    pub two_cores: bool,
    /// Firmware that was built before; by default it is built.
    pub firmware: Option<PathBuf>,
}

impl Board {
    /// Builds firmware, starts the board with the model in its slot, and waits until it answers.
    ///
    /// [`Link::check`] tells whether it can run the model.
    pub fn start(
        registry: &Registry,
        spec: &Spec,
        model: &Path,
        report: Report<'_>,
    ) -> Result<Self, FirmwareError> {
        Self::start_with(registry, spec, Some(model), &Options::default(), report)
    }

    /// The same with [`Options`]; the slot may be empty.
    pub fn start_with(
        registry: &Registry,
        spec: &Spec,
        model: Option<&Path>,
        options: &Options,
        report: Report<'_>,
    ) -> Result<Self, FirmwareError> {
        if let Some(model) = model
            && !options.unchecked
            && options.public_key.is_none()
        {
            fits(spec, model)?;
        }
        ensure_emulator(registry, spec, report)?;
        let mut features = Vec::new();
        features.extend(options.log.is_some().then_some("defmt"));
        features.extend(options.suite.then_some("suite"));
        features.extend(options.two_cores.then_some(compile::TWO_CORES));
        if options.firmware.is_none() {
            enough_ram(registry, spec, report)?;
        }
        let firmware = match (&options.firmware, &options.public_key) {
            (Some(firmware), _) => firmware.clone(),
            (None, Some(key)) => compile::firmware_with_slots(registry, spec, key, report)?,
            (None, None) => compile::firmware(registry, spec, &features, report)?,
        };
        let counting = match options.count {
            true => Some(Counting::new(spec, &firmware, options.cache)?),
            false => None,
        };
        // The files are kept until the board answers. By then they have been loaded.
        let mut files = Vec::new();
        let (command, socket) = match (&spec.qemu, spec.emulator) {
            (Some(qemu), _) => {
                let mut command = qemu::command(registry, qemu, &firmware, counting.as_ref())?;
                if let Some(model) = model
                    && spec.weights_window.is_some()
                {
                    let chip = qemu::flash(model, spec.slot.bytes)?;
                    let file = qemu::escaped(chip.path());
                    command.arg("-drive").arg(format!("if=mtd,format=raw,file={file}"));
                    files.push(chip);
                } else if let Some(model) = model {
                    let image = qemu::image(model, spec.slot.address)?;
                    command
                        .arg("-device")
                        .arg(format!("loader,file={}", qemu::escaped(image.path())));
                    files.push(image);
                }
                let socket = serial(&mut command, options)?;
                (command, socket)
            }
            (None, Some(emulator)) => {
                if options.count || options.log.is_some() {
                    return Err(FirmwareError::NoCounts {
                        board: spec.name.clone(),
                        reason: "its emulator does not count single instructions, and takes no log"
                            .into(),
                    });
                }
                let image = FlashImage::new(spec, &firmware, model)?;
                let (command, file) = runner::command(registry, spec, emulator.runner, &image)?;
                files.push(file);
                (command, None)
            }
            (None, None) => return Err(FirmwareError::NoEmulator { board: spec.name.clone() }),
        };
        let (link, running) = spawn(command, spec, socket)?;
        let mut link =
            link.counting(spec.emulator.and_then(|emulator| runner::unit(emulator.runner)));
        match link.hello() {
            // An emulator that does not support the plugin ends with an error.
            Err(FirmwareError::Ended { board, output }) if options.count => {
                Err(FirmwareError::NoCounts { board, reason: output })
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Self { link, running: Some(running), counting }),
        }
    }

    /// A board that is attached to a serial port of this computer, and runs firmware.
    pub fn attach(spec: &Spec, port: &str) -> Result<Self, FirmwareError> {
        let mut link = serial::open(spec, port)?;
        link.hello()?;
        Ok(Self { link, running: None, counting: None })
    }

    /// The instructions that ran, if they are counted: in all spans of the firmware's counter so
    /// far.
    ///
    /// The board is stopped.
    pub fn counts(mut self) -> Result<Counts, FirmwareError> {
        let (Some(counting), Some(running)) = (self.counting.take(), &mut self.running) else {
            return Ok(Counts::default());
        };
        let board = counting.board.clone();
        connect(&counting.monitor(), &mut running.0)
            .and_then(|mut monitor| {
                monitor.write_all(b"quit\n")?;
                // The emulator closes its end when it has quit.
                io::copy(&mut monitor, &mut io::sink())?;
                running.0.wait()
            })
            .map_err(|source| FirmwareError::Write { board: board.clone(), source })?;
        counts::read(&counting.output(), &counting.firmware, &board)
    }

    /// The link to the board.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Finds the board's emulator, or installs it.
pub fn ensure_emulator(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    match (&spec.qemu, spec.emulator) {
        (Some(qemu), _) => qemu::ensure(spec, qemu, report),
        (None, Some(Emulator { runner })) => runner::ensure(registry, spec, runner, report),
        (None, None) => Err(FirmwareError::NoEmulator { board: spec.name.clone() }),
    }
}

/// Sets up the board's serial port in QEMU; returns its socket, if it has one.
fn serial(command: &mut Command, options: &Options) -> Result<Option<PathBuf>, FirmwareError> {
    // The serial link is the emulator's standard input and output. Firmware that logs uses standard
    // output for that, through semihosting, and the link is then a socket.
    let socket = options.log.as_ref().map(|log| log.with_extension("socket"));
    match (&options.log, &socket) {
        (Some(log), Some(socket)) => {
            let _ = fs::remove_file(socket); // of an earlier run
            let log = fs::File::create(log)
                .map_err(|source| FirmwareError::Create { path: log.clone(), source })?;
            command.stdout(log).stdin(Stdio::null());
            command.arg("-serial").arg(format!("unix:{},server=on", qemu::escaped(socket)));
            command.args(["-semihosting-config", "enable=on,target=native"]);
        }
        _ => {
            command.stdout(Stdio::piped()).stdin(Stdio::piped());
            command.args(["-serial", "stdio"]);
        }
    }
    Ok(socket)
}

/// Starts the emulator, and opens the link to its board.
fn spawn(
    mut command: Command,
    spec: &Spec,
    socket: Option<PathBuf>,
) -> Result<(Link, Running), FirmwareError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| FirmwareError::Run { program, source })?;

    let errors = child.stderr.take();
    let pipes = child.stdin.take().zip(child.stdout.take());
    // From here on, the child is stopped if there is an error.
    let mut running = Running(child);
    let (input, output): (Box<dyn Write + Send>, Box<dyn Read + Send>) = match (pipes, &socket) {
        (Some((input, output)), _) => (Box::new(input), Box::new(output)),
        (None, Some(socket)) => {
            let stream = connect(socket, &mut running.0)
                .and_then(|stream| Ok((stream.try_clone()?, stream)));
            let (write, read) = stream
                .map_err(|source| FirmwareError::Write { board: spec.name.clone(), source })?;
            (Box::new(write), Box::new(read))
        }
        (None, None) => unreachable!("without a socket, both are piped"),
    };
    let (received, said) = listen(output, errors);
    Ok((Link::new(spec.name.clone(), input, received, said), running))
}

/// Reads the board's output, and the emulator's messages.
fn listen(
    mut output: Box<dyn Read + Send>,
    errors: Option<ChildStderr>,
) -> (mpsc::Receiver<Vec<u8>>, Arc<Mutex<String>>) {
    let said = Arc::new(Mutex::new(String::new()));
    let (send, received) = mpsc::channel();
    let heard = Arc::clone(&said);
    let listener = thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.map(|mut errors| errors.read_to_string(&mut text));
        heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_str(&text);
    });
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
        // At the end it waits for the last messages, so that they are there for whoever sees the
        // end.
        let _ = listener.join();
    });
    (received, said)
}

impl Drop for Running {
    fn drop(&mut self) {
        // If it has ended by itself, there is nothing to stop.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects to the emulator's socket as soon as it exists.
#[cfg(unix)]
fn connect(socket: &Path, child: &mut Child) -> io::Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline || child.try_wait()?.is_some() => {
                return Err(error);
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Logs and counts use sockets that only Unix has.
#[cfg(not(unix))]
fn connect(_: &Path, _: &mut Child) -> io::Result<std::net::TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refuses a model that clearly does not fit the board.
fn fits(spec: &Spec, path: &Path) -> Result<(), FirmwareError> {
    let bytes =
        fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > spec.slot.bytes.into() {
        return Err(FirmwareError::ModelTooLarge {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            board: spec.name.clone(),
            slot: spec.slot.bytes,
        });
    }
    // The header's arena_bytes. A file that is not a model is refused by the board.
    let arena = bytes.get(20..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    match arena {
        Some(needed) if bytes.starts_with(b"\x89BROOK\r\n") && needed > spec.arena_bytes => {
            Err(FirmwareError::ArenaTooLarge {
                path: path.to_owned(),
                needed,
                board: spec.name.clone(),
                arena: spec.arena_bytes,
            })
        }
        _ => Ok(()),
    }
}

/// Refuses a board whose RAM is limited below `board.toml`, if a model's arena, the application and
/// the stack do not fit into it. The size of the application is taken from the firmware for the
/// whole board. The linker checks the sum again.
fn enough_ram(registry: &Registry, spec: &Spec, report: Report<'_>) -> Result<(), FirmwareError> {
    let full = registry.board(&spec.name)?;
    if full.ram.bytes == spec.ram.bytes {
        return Ok(());
    }
    let buffers = size::firmware(registry, full, report)?.ram_bytes - u64::from(full.arena_bytes);
    let (arena, stack) = (u64::from(spec.arena_bytes), u64::from(spec.stack_bytes));
    match (arena + stack + buffers).checked_sub(spec.ram.bytes.into()) {
        Some(lacking @ 1..) => {
            let (board, ram) = (spec.name.clone(), spec.ram.bytes);
            Err(FirmwareError::RamTooSmall { board, ram, lacking, arena, stack, buffers })
        }
        _ => Ok(()),
    }
}
