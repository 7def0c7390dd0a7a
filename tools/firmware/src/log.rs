//! Decodes the log of firmware that has the feature `defmt`.
//!
//! Such firmware sends numbers instead of texts. The texts, and the place of each in the source, are
//! in its ELF file (defmt's book, "Design & impl details").

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use board_build::Spec;
use defmt_decoder::{DecodeError, Frame, Locations, Table};

use crate::board::ensure_emulator;
use crate::monitor::{Lines, spawn};
use crate::{FirmwareError, Registry, Report, qemu};

/// The log of a board in QEMU with this firmware, an ELF file.
///
/// It ends with the board, or if it cannot be decoded. Fails if the firmware does not log, or if the
/// board's emulator takes no log.
pub fn of_emulator(
    registry: &Registry,
    spec: &Spec,
    firmware: &Path,
    report: Report<'_>,
) -> Result<Lines, FirmwareError> {
    let texts = Texts::read(firmware)?;
    let Some(qemu) = &spec.qemu else {
        return Err(FirmwareError::NoEmulator { board: spec.name.clone() });
    };
    ensure_emulator(registry, spec, report)?;
    let mut command = qemu::command(registry, qemu, firmware, None)?;
    // Semihosting writes the log to the emulator's standard output.
    command.args(["-serial", "null", "-semihosting-config", "enable=on,target=native"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let (running, output) = spawn(command)?;
    Ok(Lines::new(texts.listen(output), Some((running, None))))
}

/// The log of the chip at a debug probe, which runs this firmware, an ELF file.
///
/// The log is read from the chip's RAM (SEGGER's Real Time Transfer). `selector` is as in
/// [`probe::write`](crate::probe::write).
#[cfg(feature = "probe")]
pub fn of_probe(
    spec: &Spec,
    firmware: &Path,
    selector: Option<&str>,
) -> Result<Lines, FirmwareError> {
    let texts = Texts::read(firmware)?;
    let channel = crate::probe::LogChannel::open(spec, &read(firmware)?, selector)?;
    Ok(Lines::new(texts.listen(channel), None))
}

fn read(firmware: &Path) -> Result<Vec<u8>, FirmwareError> {
    std::fs::read(firmware)
        .map_err(|source| FirmwareError::Read { path: firmware.to_owned(), source })
}

/// The line that stands for bytes that cannot be decoded.
const DAMAGED: &str = "(a part of the log is damaged)";

/// The texts of firmware, and their places in its source.
struct Texts {
    table: Table,
    locations: Locations,
}

impl Texts {
    fn read(firmware: &Path) -> Result<Self, FirmwareError> {
        let elf = read(firmware)?;
        let fault = |reason| FirmwareError::Elf { path: firmware.to_owned(), reason };
        let table = Table::parse(&elf).map_err(|error| fault(format!("{error:#}")))?;
        let table = table
            .ok_or_else(|| fault("it has no log: build it with its feature `defmt`".to_owned()))?;
        // Without debug information the lines have no places.
        let locations = table.get_locations(&elf).unwrap_or_default();
        Ok(Self { table, locations })
    }

    /// Decodes a log as it arrives, until the receiver is dropped.
    fn listen(self, mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
        let (send, said) = mpsc::sync_channel(64);
        thread::spawn(move || {
            let (mut decoder, mut bytes) = (self.table.new_stream_decoder(), [0; 1024]);
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                decoder.received(&bytes[..count]);
                loop {
                    // Only an encoding with frames has a next one to go on with.
                    let (line, goes_on) = match decoder.decode() {
                        Ok(frame) => (self.line(&frame), true),
                        Err(DecodeError::UnexpectedEof) => break,
                        Err(DecodeError::Malformed) => {
                            (DAMAGED.to_owned(), self.table.encoding().can_recover())
                        }
                    };
                    if send.send(line).is_err() || !goes_on {
                        return;
                    }
                }
            }
        });
        said
    }

    /// Time, level and message, and the place of the statement.
    fn line(&self, frame: &Frame<'_>) -> String {
        let message = frame.display(false);
        match self.locations.get(&frame.index()) {
            Some(place) => format!("{message} ({}:{})", place.file.display(), place.line),
            None => message.to_string(),
        }
    }
}
