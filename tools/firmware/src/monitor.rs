//! Reads the lines that firmware writes to its serial port.
//!
//! This works with any firmware, also without the protocol.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use board_build::Spec;
use tempfile::NamedTempFile;

use crate::board::{Running, ensure_emulator};
use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, qemu, runner, serial};

/// The lines that a board writes, until it ends or is unplugged.
pub struct Lines {
    said: mpsc::Receiver<String>,
    patience: Option<Duration>,
    /// The emulator, and the file that it loads.
    _running: Option<(Running, Option<NamedTempFile>)>,
}

impl Lines {
    /// Lines that arrive from another thread.
    pub(crate) fn new(
        said: mpsc::Receiver<String>,
        running: Option<(Running, Option<NamedTempFile>)>,
    ) -> Self {
        Self { said, patience: None, _running: running }
    }

    /// The lines of a board at a serial port of this computer.
    pub fn of_port(spec: &Spec, port: &str) -> Result<Self, FirmwareError> {
        Ok(Self::new(listen(serial::reader(spec, port)?), None))
    }

    /// Sets how long the board may write nothing. After this time the lines end, and an emulated board is
    /// stopped.
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The lines of an emulated board with this firmware, an ELF file.
    pub fn of_emulator(
        registry: &Registry,
        spec: &Spec,
        firmware: &Path,
        report: Report<'_>,
    ) -> Result<Self, FirmwareError> {
        ensure_emulator(registry, spec, report)?;
        let (command, file) = match (&spec.qemu, spec.emulator) {
            (Some(qemu), _) => {
                let mut command = qemu::command(registry, qemu, firmware, None)?;
                command.args(["-serial", "stdio"]).stdin(Stdio::null()).stdout(Stdio::piped());
                (command, None)
            }
            (None, Some(emulator)) => {
                // Firmware may contain a model, at any address.
                let whole = Spec { slot: spec.ram, ..spec.clone() };
                let image = FlashImage::new(&whole, firmware, None)?;
                let (command, file) = runner::command(registry, spec, emulator.runner, &image)?;
                (command, Some(file))
            }
            (None, None) => return Err(FirmwareError::NoEmulator { board: spec.name.clone() }),
        };
        let (running, output) = spawn(command)?;
        Ok(Self::new(listen(output), Some((running, file))))
    }
}

/// Starts an emulator, which is stopped when it is dropped; returns also what it writes.
pub(crate) fn spawn(
    mut command: Command,
) -> Result<(Running, Box<dyn Read + Send>), FirmwareError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|source| FirmwareError::Run { program, source })?;
    let output: Box<dyn Read + Send> = match child.stdout.take() {
        Some(output) => Box::new(output),
        None => Box::new(std::io::empty()),
    };
    Ok((Running(child), output))
}

/// Reads lines as they arrive, until their receiver is dropped.
fn listen(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, said) = mpsc::sync_channel(64);
    thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), Vec::new());
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    said
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        match self.patience {
            Some(patience) => self.said.recv_timeout(patience).ok(),
            None => self.said.recv().ok(),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;

    use serialport::{SerialPort, TTYPort};

    use super::*;

    #[test]
    fn lines_come_from_a_port() {
        let (mut board, host) = TTYPort::pair().unwrap();
        let name = host.name().unwrap();
        drop(host);
        let registry = Registry::find().unwrap();
        let spec = registry.board("nucleo-f446re").unwrap();
        let mut lines = Lines::of_port(spec, &name).unwrap();
        // The board writes one part, and the rest after a while.
        thread::spawn(move || {
            board.write_all(b"class 3: cat\r\nclass").unwrap();
            thread::sleep(Duration::from_millis(200));
            board.write_all(b" 4: \xff\r\n").unwrap();
            thread::sleep(Duration::from_millis(400));
        });
        let said: Vec<_> = lines.by_ref().take(2).collect();
        assert_eq!(said, ["class 3: cat", "class 4: \u{fffd}"]);
        // Nothing more comes, and the port stays open.
        assert_eq!(lines.patient_for(Duration::from_millis(20)).next(), None);
    }
}
