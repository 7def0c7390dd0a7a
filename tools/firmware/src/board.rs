//! A board that runs: QEMU, with a firmware and a model.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use board_build::Spec;
use object::write::elf as write;
use object::{Endianness, elf};
use tempfile::{NamedTempFile, TempDir};

use crate::counts::{self, Counts};
use crate::{FirmwareError, Link, Registry, Report, apt, compile, size};

/// An emulated board that runs. It is stopped when dropped.
#[derive(Debug)]
pub struct Board {
    link: Link,
    running: Running,
    counting: Option<Counting>,
}

/// What it takes to have the instructions counted.
#[derive(Debug)]
struct Counting {
    board: String,
    /// Where counts and the monitor's socket are.
    folder: TempDir,
    firmware: PathBuf,
}

impl Counting {
    fn new(spec: &Spec, firmware: &Path) -> Result<Self, FirmwareError> {
        let folder = tempfile::tempdir()
            .map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })?;
        Ok(Self { board: spec.name.clone(), folder, firmware: firmware.to_owned() })
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("counts")
    }

    fn monitor(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }
}

/// The emulator's process.
#[derive(Debug)]
struct Running(Child);

/// What can be chosen when a board is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Firmware that logs: where its log, in defmt's encoding, is written. The link is then
    /// a socket beside it.
    pub log: Option<PathBuf>,
    /// Firmware with the kernels' test suite, for [`Link::suite`].
    pub suite: bool,
    /// Start with whatever the model's file holds. Without, a file that is seen not to fit
    /// the board is refused here, before the board does it.
    pub unchecked: bool,
    /// Have the instructions counted, for [`Board::counts`].
    pub count: bool,
}

impl Board {
    /// Builds firmware, starts the board with the model in its slot, and makes sure that it
    /// answers. Whether it can run the model, [`Link::check`] tells.
    pub fn start(
        registry: &Registry,
        spec: &Spec,
        model: &Path,
        report: Report<'_>,
    ) -> Result<Self, FirmwareError> {
        Self::start_with(registry, spec, Some(model), &Options::default(), report)
    }

    /// Likewise, with [`Options`], or with an empty slot.
    pub fn start_with(
        registry: &Registry,
        spec: &Spec,
        model: Option<&Path>,
        options: &Options,
        report: Report<'_>,
    ) -> Result<Self, FirmwareError> {
        if let Some(model) = model
            && !options.unchecked
        {
            fits(spec, model)?;
        }
        ensure_qemu(spec, report)?;
        let mut features = Vec::new();
        features.extend(options.log.is_some().then_some("defmt"));
        features.extend(options.suite.then_some("suite"));
        enough_ram(registry, spec, report)?;
        let firmware = compile::firmware(registry, spec, &features, report)?;
        let counting = match options.count {
            true => Some(Counting::new(spec, &firmware)?),
            false => None,
        };
        let mut command = emulator(registry, spec, &firmware, counting.as_ref())?;
        // Kept until the board answers: by then it is loaded.
        let image = model.map(|model| image(model, spec.slot.address)).transpose()?;
        if let Some(image) = &image {
            command.arg("-device").arg(format!("loader,file={}", escaped(image.path())));
        }
        let (mut link, running) = spawn(command, spec, options)?;
        match link.hello() {
            // It has words for a plugin that it does not take.
            Err(FirmwareError::Ended { board, output }) if options.count => {
                Err(FirmwareError::NoCounts { board, reason: output })
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Self { link, running, counting }),
        }
    }

    /// Which instructions ran, if that was to be counted: in all spans of the firmware's counter
    /// so far. The board ends with it.
    pub fn counts(mut self) -> Result<Counts, FirmwareError> {
        let Some(counting) = self.counting.take() else { return Ok(Counts::default()) };
        let board = counting.board.clone();
        connect(&counting.monitor(), &mut self.running.0)
            .and_then(|mut monitor| {
                monitor.write_all(b"quit\n")?;
                // It closes its end when it has quit.
                io::copy(&mut monitor, &mut io::sink())?;
                self.running.0.wait()
            })
            .map_err(|source| FirmwareError::Write { board: board.clone(), source })?;
        counts::read(&counting.output(), &counting.firmware, &board)
    }

    /// The way to talk to it.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// The emulator's command: the machine and its firmware, and the plugin that counts.
fn emulator(
    registry: &Registry,
    spec: &Spec,
    firmware: &Path,
    counting: Option<&Counting>,
) -> Result<Command, FirmwareError> {
    let mut command = Command::new(&spec.qemu.binary);
    command
        .args(&spec.qemu.args)
        // An instruction takes a nanosecond of the machine's time: what is measured by
        // its timers is instructions, and repeats.
        .args(["-icount", "shift=0"])
        .args(["-display", "none", "-parallel", "none"])
        .arg("-kernel")
        .arg(firmware);
    match counting {
        Some(counting) => {
            let plugin = counts::plugin(registry, spec)?;
            let [plugin, output] = [&plugin, &counting.output()].map(|path| escaped(path));
            let mark = counts::MARK;
            command
                .arg("-plugin")
                .arg(format!("{plugin},output={output},mark={mark:#x}"))
                .arg("-monitor")
                .arg(format!("unix:{},server=on,wait=off", escaped(&counting.monitor())));
        }
        None => {
            command.args(["-monitor", "none"]);
        }
    }
    Ok(command)
}

/// Starts the emulator, and opens the link to its board.
fn spawn(
    mut command: Command,
    spec: &Spec,
    options: &Options,
) -> Result<(Link, Running), FirmwareError> {
    // The serial link is the emulator's standard input and output. Firmware that logs does
    // so on standard output, through semihosting; then the link is a socket.
    let socket = options.log.as_ref().map(|log| log.with_extension("socket"));
    match (&options.log, &socket) {
        (Some(log), Some(socket)) => {
            let _ = fs::remove_file(socket); // of an earlier run
            let log = fs::File::create(log)
                .map_err(|source| FirmwareError::Create { path: log.clone(), source })?;
            command.stdout(log).stdin(Stdio::null());
            command.arg("-serial").arg(format!("unix:{},server=on", escaped(socket)));
            command.args(["-semihosting-config", "enable=on,target=native"]);
        }
        _ => {
            command.stdout(Stdio::piped()).stdin(Stdio::piped());
            command.args(["-serial", "stdio"]);
        }
    }
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| FirmwareError::Run { program: spec.qemu.binary.clone(), source })?;

    let errors = child.stderr.take();
    let pipes = child.stdin.take().zip(child.stdout.take());
    // From here on, an error stops the child.
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

/// Reads what comes from the board, and what the emulator says of itself.
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
        // The end: wait for the last words, so that whoever sees the end has them.
        let _ = listener.join();
    });
    (received, said)
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to stop.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects to the emulator's socket, as soon as it is there.
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

/// A file at an address, as QEMU loads it: an ELF file of one segment. A raw file it takes only
/// up to the size of the machine's RAM, whatever it is loaded into.
fn image(path: &Path, address: u32) -> Result<NamedTempFile, FirmwareError> {
    let contents =
        fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let (mut bytes, length) = (Vec::new(), contents.len() as u64);
    let mut elf = write::Writer::new(Endianness::Little, false, &mut bytes);
    elf.reserve_file_header();
    elf.reserve_program_headers(1);
    let offset = elf.reserve(length, 1);
    let header = write::FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_NONE,
        e_entry: address.into(),
        e_flags: Default::default(),
    };
    let segment = write::ProgramHeader {
        p_type: elf::PT_LOAD,
        p_flags: elf::PF_R,
        p_offset: offset,
        p_vaddr: address.into(),
        p_paddr: address.into(),
        p_filesz: length,
        p_memsz: length,
        p_align: 1,
    };
    if elf.write_file_header(&header).is_err() {
        unreachable!("a Vec takes any number of bytes")
    }
    elf.write_align_program_headers();
    elf.write_program_header(&segment);
    elf.write(&contents);
    let written = NamedTempFile::with_suffix(".elf")
        .and_then(|mut file| file.write_all(&bytes).map(|()| file));
    written.map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })
}

/// A path as a value of a QEMU option, where a comma is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Refuses a model that is seen not to fit the board.
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
    // The header's arena_bytes. A file that is no model is the board's to refuse.
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

/// Refuses a board with less RAM than `board.toml` says, if a model's arena, the application and
/// the stack do not fit into it. What the application takes is known from the whole board's
/// firmware. The linker checks the sum again.
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

/// Finds the board's emulator, or installs it.
pub fn ensure_qemu(spec: &Spec, report: Report<'_>) -> Result<(), FirmwareError> {
    let program = &spec.qemu.binary;
    let present = || apt::runs(program, &["--version"]);
    if present() {
        return Ok(());
    }
    // Debian has moved RISC-V between packages.
    let packages: &[&str] = match program.as_str() {
        "qemu-system-riscv32" | "qemu-system-riscv64" => &["qemu-system-misc", "qemu-system-riscv"],
        other => &[other],
    };
    let mut reason = String::new();
    for package in packages {
        match apt::install(&[package], &format!("to emulate {}", spec.name), report) {
            Ok(()) if present() => return Ok(()),
            Ok(()) => reason = format!("the package {package} does not have it"),
            Err(said) => reason = said,
        }
    }
    Err(FirmwareError::NoProgram {
        program: program.clone(),
        packages: packages.join(" or "),
        reason,
    })
}
