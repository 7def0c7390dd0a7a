//! Espressif's chips: makes the contents of their flash, and writes them over a serial port.
//!
//! The first boot loader is in the chip's ROM. It starts the second one, which is at the start of
//! flash; the second one reads the partition table, and starts the application.

use std::path::Path;
use std::{fs, io::Write as _};

use board_build::{Espflash, Spec};
use espflash::connection::Connection;
use espflash::flasher::{FlashData, FlashFrequency, FlashMode, FlashSettings, FlashSize, Flasher};
use espflash::image_format::Segment;
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::{Chip, ProgressCallbacks, XtalFrequency};
use serialport::{SerialPortType, UsbPortInfo};

use crate::error::chain;
use crate::esp_image::{self, PARTITION_TABLE};
use crate::{FirmwareError, FlashImage, serial};

/// Bits per second once the boot loader in ROM has answered.
const BAUD: u32 = 460_800;

/// The result of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The serial port.
    pub port: String,
    /// Number of parts: boot loader, partition table, firmware, model.
    pub parts: usize,
    /// Number of these that had other contents, and were written.
    pub changed: usize,
}

/// The contents of the flash, by their offsets: boot loader, partition table, firmware and, in its
/// slot, a model.
///
/// They are checked to be as the boot loaders expect; the error describes what is wrong.
pub fn image(
    spec: &Spec,
    firmware: &Path,
    model: Option<&Path>,
) -> Result<FlashImage, FirmwareError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })
    };
    let espflash = of(spec)?;
    let (elf, table) = (read(firmware)?, partition_table(spec, espflash)?);
    let format = IdfBootloaderFormat::new(
        &elf,
        &flash_data(espflash).map_err(|reason| fault(spec, reason))?,
        Some(table.path()),
        None,
        Some(PARTITION_TABLE),
        None,
    )
    .map_err(|error| fault(spec, chain(&error)))?;
    let mut image = FlashImage::default();
    for segment in format.flash_segments() {
        image.add(segment.addr, segment.data()).map_err(|reason| fault(spec, reason))?;
    }
    if let Some(model) = model {
        image.add(espflash.slot_offset, &read(model)?).map_err(|reason| fault(spec, reason))?;
    }
    esp_image::check(spec, espflash, &image).map_err(|reason| FirmwareError::Elf {
        path: firmware.to_owned(),
        reason: format!("its image: {reason}"),
    })?;
    Ok(image)
}

/// Writes an image over a serial port, but only the parts that differ; verifies it, and starts the
/// chip.
///
/// Without a port, the only one is used.
pub fn write(
    spec: &Spec,
    image: &FlashImage,
    port: Option<&str>,
) -> Result<Written, FirmwareError> {
    let espflash = of(spec)?;
    let port = match port {
        Some(port) => port.to_owned(),
        None => serial::port_of(&spec.name, &serial::ports(), None)?,
    };
    let opened = serialport::new(&port, 115_200).open_native();
    let opened = opened.map_err(|error| FirmwareError::Port {
        board: spec.name.clone(),
        port: port.clone(),
        reason: error.to_string(),
    })?;
    let connection = Connection::new(
        opened,
        usb_of(&port),
        // Reset by the lines of the port, before and after.
        Default::default(),
        Default::default(),
        115_200,
    );
    let segments: Vec<Segment<'_>> =
        image.parts().map(|(offset, bytes)| Segment::new(offset, bytes)).collect();
    let mut count = Count(0);
    let write = || {
        let chip = Some(chip(espflash)?);
        let mut flasher = Flasher::connect(connection, true, true, true, chip, Some(BAUD))?;
        flasher.write_bins_to_flash(&segments, &mut count)
    };
    write().map_err(|error: espflash::Error| fault(spec, chain(&error)))?;
    Ok(Written { port, parts: segments.len(), changed: count.0 })
}

/// Counts the parts that are written.
struct Count(usize);

impl ProgressCallbacks for Count {
    fn init(&mut self, _: u32, _: usize) {}
    fn update(&mut self, _: usize) {}
    fn verifying(&mut self) {}
    fn finish(&mut self, skipped: bool) {
        self.0 += usize::from(!skipped);
    }
}

/// The USB device of a port, which determines how the chip is reset.
fn usb_of(port: &str) -> UsbPortInfo {
    let ports = serialport::available_ports().unwrap_or_default();
    let found = ports.into_iter().find(|found| found.port_name == port);
    match found.map(|found| found.port_type) {
        Some(SerialPortType::UsbPort(usb)) => usb,
        _ => UsbPortInfo { vid: 0, pid: 0, serial_number: None, manufacturer: None, product: None },
    }
}

fn of(spec: &Spec) -> Result<&Espflash, FirmwareError> {
    let none = || fault(spec, "board.toml names no chip (`espflash`)".to_owned());
    spec.espflash.as_ref().ok_or_else(none)
}

fn chip(espflash: &Espflash) -> Result<Chip, espflash::Error> {
    let unknown = |_| espflash::Error::ChipDetectError(format!("unknown chip {}", espflash.chip));
    espflash.chip.parse().map_err(unknown)
}

/// How flash is read: two bits at a time, which all modules support, at 80 MHz.
fn flash_data(espflash: &Espflash) -> Result<FlashData, String> {
    let sizes = [
        (0x20_0000, FlashSize::_2Mb),
        (0x40_0000, FlashSize::_4Mb),
        (0x80_0000, FlashSize::_8Mb),
        (0x100_0000, FlashSize::_16Mb),
    ];
    let bytes = espflash.flash_bytes;
    let size = sizes.iter().find(|(known, _)| *known == bytes).map(|(_, size)| *size);
    let size = size.ok_or_else(|| format!("{bytes} bytes is not the size of a flash chip"))?;
    let settings =
        FlashSettings::new(Some(FlashMode::Dio), Some(size), Some(FlashFrequency::_80Mhz));
    let chip = chip(espflash).map_err(|error| chain(&error))?;
    Ok(FlashData::new(settings, 0, None, chip, XtalFrequency::_40Mhz))
}

/// The partition table as a file: with the application, and the model's slot.
fn partition_table(
    spec: &Spec,
    espflash: &Espflash,
) -> Result<tempfile::NamedTempFile, FirmwareError> {
    let text = format!(
        "firmware, app, factory, {:#x}, {:#x}\nmodel, data, undefined, {:#x}, {:#x}\n",
        espflash.firmware_offset,
        spec.firmware().bytes,
        espflash.slot_offset,
        spec.slot.bytes
    );
    let write = || {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    write().map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })
}

fn fault(spec: &Spec, reason: String) -> FirmwareError {
    FirmwareError::Espflash { board: spec.name.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, compile};

    /// Firmware of each board makes an image that its boot loaders accept; a changed byte makes it
    /// invalid.
    #[test]
    fn images_are_what_boot_loaders_want() {
        let registry = Registry::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.brook");
        fs::write(&model, [7; 5_000]).unwrap();
        let boards = registry.boards().iter().filter(|spec| spec.espflash.is_some());
        for spec in boards {
            let espflash = of(spec).unwrap();
            let firmware = compile::firmware(&registry, spec, &[], &mut |_| {}).unwrap();
            let image = image(spec, &firmware, Some(&model)).unwrap();
            let offsets: Vec<u32> = image.parts().map(|(offset, _)| offset).collect();
            assert_eq!(offsets, [0, 0x8000, espflash.firmware_offset, espflash.slot_offset]);
            let changed = |offset: u32, at: usize, to: u8| {
                let mut changed = FlashImage::default();
                for (begin, bytes) in image.parts() {
                    let mut bytes = bytes.to_vec();
                    if begin == offset {
                        assert_ne!(bytes[at], to);
                        bytes[at] = to;
                    }
                    changed.add(begin, &bytes).unwrap();
                }
                esp_image::check(spec, espflash, &changed).unwrap_err()
            };
            let firmware = espflash.firmware_offset;
            let cases = [
                (0, 0, 0, "boot loader"),
                (0x8000, 3, 9, "partition table"),
                (firmware, 12, 99, "another chip"),
                (firmware, 7, 0x50, "entry"),
                (firmware, 24 + 3, 0x60, "segment 0"),
                (firmware, 24 + 8, 0, "descriptor"),
                (firmware, 24 + 8 + 200, 0xa5, "checksum"),
                (firmware, 8, 0, "digest"),
            ];
            for (offset, at, to, words) in cases {
                let reason = changed(offset, at, to);
                assert!(reason.contains(words), "{}: {offset:#x} + {at}: {reason}", spec.name);
            }
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        let registry = Registry::find().unwrap();
        let spec = registry.board("esp32-c6").unwrap();
        let image = FlashImage::default();
        let error = write(spec, &image, Some("/dev/there-is-none")).unwrap_err().to_string();
        assert!(error.contains("/dev/there-is-none of esp32-c6"), "{error}");
        let other = registry.board("rpi-pico").unwrap();
        let error = write(other, &image, Some("/dev/there-is-none")).unwrap_err().to_string();
        assert_eq!(error, "rpi-pico: the boot loader: board.toml names no chip (`espflash`)");
    }
}
