//! QEMU: finds or installs it, and makes its command for a board.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use board_build::{Qemu, Spec};
use object::write::elf as write;
use object::{Endianness, elf};
use tempfile::NamedTempFile;

use crate::board::Counting;
use crate::{FirmwareError, Registry, Report, apt, counts};

/// The emulator's command: the machine with its firmware, and the plugin that counts.
pub(crate) fn command(
    registry: &Registry,
    qemu: &Qemu,
    firmware: &Path,
    counting: Option<&Counting>,
) -> Result<Command, FirmwareError> {
    let mut command = Command::new(&qemu.binary);
    command
        .args(&qemu.args)
        // An instruction takes a nanosecond of the machine's time, so its timers count
        // instructions, and results are repeatable.
        .args(["-icount", "shift=0"])
        .args(["-display", "none", "-parallel", "none"])
        .arg("-kernel")
        .arg(firmware);
    match counting {
        Some(counting) => {
            let plugin = counts::plugin(registry, &qemu.binary)?;
            let [plugin, output] = [&plugin, &counting.output()].map(|path| escaped(path));
            let marks = counting.marks.options();
            command
                .arg("-plugin")
                .arg(format!("{plugin},output={output},{marks}"))
                .arg("-monitor")
                .arg(format!("unix:{},server=on,wait=off", escaped(&counting.monitor())));
        }
        None => {
            command.args(["-monitor", "none"]);
        }
    }
    Ok(command)
}

/// An ELF file with one segment, with which QEMU loads a file at an address.
///
/// QEMU loads raw files only up to the size of the machine's RAM, even into other memory.
pub(crate) fn image(path: &Path, address: u32) -> Result<NamedTempFile, FirmwareError> {
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

/// A file of `bytes` bytes that begins with the contents of another file, for a flash chip.
pub(crate) fn flash(path: &Path, bytes: u32) -> Result<NamedTempFile, FirmwareError> {
    let contents =
        fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let written = NamedTempFile::with_suffix(".flash").and_then(|mut file| {
        file.write_all(&contents)?;
        // The file is sparse, so it takes no space on the disk.
        file.as_file().set_len(bytes.into())?;
        Ok(file)
    });
    written.map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })
}

/// A path in a QEMU option, in which commas are doubled.
pub(crate) fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Finds or installs the board's QEMU.
pub(crate) fn ensure(spec: &Spec, qemu: &Qemu, report: Report<'_>) -> Result<(), FirmwareError> {
    let program = &qemu.binary;
    let present = || apt::runs(program, &["--version"]);
    if present() {
        return Ok(());
    }
    // The package with RISC-V differs between versions of Debian.
    let packages: &[&str] = match program.as_str() {
        "qemu-system-riscv32" | "qemu-system-riscv64" => &["qemu-system-misc", "qemu-system-riscv"],
        other => &[other],
    };
    let mut reason = String::new();
    for package in packages {
        match apt::install(&[package], &format!("to emulate {}", spec.name), report) {
            Ok(()) if present() => return Ok(()),
            Ok(()) => reason = format!("the package {package} does not contain it"),
            Err(said) => reason = said,
        }
    }
    Err(FirmwareError::NoProgram {
        program: program.clone(),
        packages: packages.join(" or "),
        reason,
    })
}
