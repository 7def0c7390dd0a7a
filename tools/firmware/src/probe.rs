//! Debug probes: write firmware and model into a chip's flash with probe-rs.

#[cfg(feature = "log")]
use std::{io, thread, time::Duration};

use board_build::Spec;
use probe_rs::flashing::{DownloadOptions, FlashProgress, ProgressEvent, ProgressOperation};
use probe_rs::probe::list::Lister;
use probe_rs::probe::{DebugProbeInfo, DebugProbeSelector};
#[cfg(feature = "log")]
use probe_rs::rtt::{self, Rtt, ScanRegion};
use probe_rs::{CoreType, Permissions, Session};

use crate::error::chain;
use crate::{FirmwareError, FlashImage};

/// The result of writing with a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The probe.
    pub probe: String,
    /// Its USB serial number, which identifies its serial port.
    pub serial_number: Option<String>,
    /// Number of flash sectors with firmware and model.
    pub sectors: usize,
    /// Number of these that had other contents, and were written.
    pub changed: usize,
}

/// The probes that are attached.
pub fn list() -> Vec<String> {
    Lister::new().list_all().iter().map(ToString::to_string).collect()
}

/// Writes an image, but only the sectors that differ; verifies it, and starts the chip.
///
/// `selector` is `VID:PID` or `VID:PID:SERIAL`; without it, there must be exactly one probe.
pub fn write(
    spec: &Spec,
    image: &FlashImage,
    selector: Option<&str>,
) -> Result<Written, FirmwareError> {
    let fault = |reason: String| FirmwareError::Probe { board: spec.name.clone(), reason };
    let (mut session, info) = attach(spec, selector)?;
    let (mut sectors, mut changed) = (0, 0);
    let count = |event| match event {
        ProgressEvent::FlashLayoutReady { flash_layout } => {
            sectors = flash_layout.iter().map(|layout| layout.sectors().len()).sum();
        }
        ProgressEvent::Progress { operation: ProgressOperation::Erase, .. } => changed += 1,
        _ => {}
    };
    commit(spec, image, &mut session, FlashProgress::new(count), false)?;
    start(spec, &mut session).map_err(|error| fault(chain(&error)))?;
    Ok(Written {
        probe: info.to_string(),
        serial_number: info.serial_number.clone(),
        sectors,
        changed,
    })
}

/// Attaches to the board's chip at the probe that `selector` names, or at the only one.
fn attach(spec: &Spec, selector: Option<&str>) -> Result<(Session, DebugProbeInfo), FirmwareError> {
    let fault = |reason: String| FirmwareError::Probe { board: spec.name.clone(), reason };
    let selector: Option<DebugProbeSelector> = selector
        .map(|text| text.parse().map_err(|error| fault(format!("{text}: {error}"))))
        .transpose()?;
    let found = Lister::new().list(selector.as_ref());
    let info = only(&found).map_err(&fault)?;
    let probe = info.open().map_err(|error| fault(chain(&error)))?;
    let session = probe.attach(chip_of(spec)?, Permissions::default());
    Ok((session.map_err(|error| fault(chain(&error)))?, info.clone()))
}

/// The bytes of a chip's log, which firmware leaves in a ring in RAM.
#[cfg(feature = "log")]
pub(crate) struct LogChannel {
    session: Session,
    rtt: Rtt,
}

#[cfg(feature = "log")]
impl LogChannel {
    /// How long firmware may take to prepare the ring.
    const PATIENCE: Duration = Duration::from_secs(3);
    /// Time between two looks at a ring that is empty.
    const PAUSE: Duration = Duration::from_millis(10);

    /// Attaches to the chip, which goes on running its firmware, this ELF file.
    pub(crate) fn open(
        spec: &Spec,
        firmware: &[u8],
        selector: Option<&str>,
    ) -> Result<Self, FirmwareError> {
        let fault = |reason: String| FirmwareError::Probe { board: spec.name.clone(), reason };
        let block = rtt::find_rtt_control_block_in_raw_file(firmware).ok().flatten();
        let block = block.ok_or_else(|| {
            fault("the firmware does not log to RAM: it has no symbol _SEGGER_RTT".to_owned())
        })?;
        let (mut session, _) = attach(spec, selector)?;
        let opened = session
            .core(0)
            .map_err(rtt::Error::Probe)
            .and_then(|mut core| {
                rtt::try_attach_to_rtt(&mut core, Self::PATIENCE, &ScanRegion::Exact(block))
            })
            .map_err(|error| fault(chain(&error)))?;
        Ok(Self { session, rtt: opened })
    }
}

#[cfg(feature = "log")]
impl io::Read for LogChannel {
    /// Waits until there are some bytes.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut core = self.session.core(0).map_err(io::Error::other)?;
            // The first channel is defmt's.
            let channel = self.rtt.up_channel(0).ok_or(io::ErrorKind::NotFound)?;
            match channel.read(&mut core, bytes).map_err(io::Error::other)? {
                0 => thread::sleep(Self::PAUSE),
                count => return Ok(count),
            }
        }
    }
}

/// Starts the firmware: by a reset, or by its vectors if it is in RAM, to which a reset does not
/// lead.
fn start(spec: &Spec, session: &mut Session) -> Result<(), probe_rs::Error> {
    let begin = u64::from(spec.firmware().address);
    let map = &session.target().memory_map;
    let in_ram = map.iter().filter_map(|region| region.as_ram_region());
    if in_ram.into_iter().any(|region| region.range.contains(&begin)) {
        session.prepare_running_on_ram(begin, 0)?;
        return session.core(0)?.run();
    }
    session.core(0)?.reset()
}

/// Prepares writing an image with a fake probe, which checks that the chip is known, and that it
/// has flash at all addresses.
pub fn dry_run(spec: &Spec, image: &FlashImage) -> Result<(), FirmwareError> {
    use probe_rs::probe::fake_probe::FakeProbe;

    let probe = FakeProbe::with_mocked_core().into_probe();
    let mut session = probe.attach(chip_of(spec)?, Permissions::default()).map_err(|error| {
        FirmwareError::Probe { board: spec.name.clone(), reason: chain(&error) }
    })?;
    commit(spec, image, &mut session, FlashProgress::empty(), true)
}

/// The chip with this name in probe-rs: a core with its architecture, the largest RAM, and the
/// flash that it starts from.
pub fn chip(name: &str) -> Option<(&'static str, u32, u32)> {
    use probe_rs::config::{MemoryRegion, Registry};

    let target = Registry::from_builtin_families().get_target_by_name(name).ok()?;
    let core = match target.default_core().core_type {
        CoreType::Armv6m => "cortex-m0",
        CoreType::Armv7m => "cortex-m3",
        CoreType::Armv7em => "cortex-m4",
        CoreType::Armv8m => "cortex-m33",
        CoreType::Riscv => "rv32imac",
        _ => return None,
    };
    let bytes =
        |range: &std::ops::Range<u64>| (range.end - range.start).min(u32::MAX.into()) as u32;
    let ram = target.memory_map.iter().filter_map(MemoryRegion::as_ram_region);
    let flash = target.memory_map.iter().filter_map(MemoryRegion::as_nvm_region);
    let ram = ram.map(|region| bytes(&region.range)).max()?;
    let flash = flash.filter(|region| !region.is_alias).map(|region| bytes(&region.range)).max()?;
    Some((core, ram, flash))
}

fn commit(
    spec: &Spec,
    image: &FlashImage,
    session: &mut Session,
    progress: FlashProgress<'_>,
    dry_run: bool,
) -> Result<(), FirmwareError> {
    let mut loader = session.target().flash_loader();
    let mut options = DownloadOptions::new();
    options.progress = progress;
    options.preverify = !dry_run;
    options.verify = true;
    options.dry_run = dry_run;
    image
        .parts()
        .try_for_each(|(address, bytes)| loader.add_data(address.into(), bytes))
        .and_then(|()| loader.commit(session, options))
        .map_err(|error| FirmwareError::Probe { board: spec.name.clone(), reason: chain(&error) })
}

fn chip_of(spec: &Spec) -> Result<&str, FirmwareError> {
    spec.probe.as_ref().map(|probe| probe.chip.as_str()).ok_or_else(|| FirmwareError::Probe {
        board: spec.name.clone(),
        reason: "board.toml names no chip (`probe`)".to_owned(),
    })
}

/// The only probe. If there are several, the error lists them.
fn only(found: &[DebugProbeInfo]) -> Result<&DebugProbeInfo, String> {
    match found {
        [probe] => Ok(probe),
        [] => Err("none is plugged in".to_owned()),
        _ => {
            let list: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(format!("there are several: {}", list.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    fn image(spec: &Spec, model_at: u32) -> FlashImage {
        let mut image = FlashImage::default();
        image.add(spec.flash.address, &[1; 5_000]).unwrap();
        image.add(model_at, &[2; 70_000]).unwrap();
        image
    }

    /// Boards whose chips can be prepared with a fake probe.
    const BOARDS: [&str; 2] = ["rpi-pico", "nucleo-f446re"];

    #[test]
    fn images_lie_in_flash_of_the_chip() {
        let registry = Registry::find().unwrap();
        for name in BOARDS {
            let spec = registry.board(name).unwrap();
            dry_run(spec, &image(spec, spec.slot.address)).unwrap();
            let error = dry_run(spec, &image(spec, 0x3000_0000)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: the debug probe: ")), "{error}");
        }
        // probe-rs knows the chips of all boards by the names in their `board.toml`.
        for spec in registry.boards().iter().filter(|spec| spec.probe.is_some()) {
            let chip = chip_of(spec).unwrap();
            let known =
                probe_rs::config::Registry::from_builtin_families().get_target_by_name(chip);
            assert!(known.is_ok(), "{}: {chip}", spec.name);
        }
        let board = registry.board("qemu-microbit").unwrap();
        let error = dry_run(board, &image(board, board.slot.address)).unwrap_err().to_string();
        assert!(error.contains("board.toml names no chip"), "{error}");
    }

    #[test]
    fn chips_have_cores_and_memories() {
        assert_eq!(chip("STM32F446RETx"), Some(("cortex-m4", 131_072, 524_288)));
        assert_eq!(chip("no such chip"), None);
    }

    #[test]
    fn a_probe_that_is_not_there_is_told() {
        let registry = Registry::find().unwrap();
        let spec = registry.board("rpi-pico").unwrap();
        let image = image(spec, spec.slot.address);
        let error = write(spec, &image, Some("ffff:fffe:none")).unwrap_err().to_string();
        assert_eq!(error, "rpi-pico: the debug probe: none is plugged in");
    }
}
