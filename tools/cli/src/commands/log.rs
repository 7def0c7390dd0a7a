//! The log of firmware, in defmt's encoding, which is decoded if this command was built with its
//! feature `log`.

#[cfg(feature = "log")]
pub(crate) use with_decoder::lines;

use std::path::Path;

use brooklet_firmware::monitor::Lines;
use brooklet_firmware::{Registry, Spec};

use crate::failure::Result;

#[cfg(not(feature = "log"))]
pub(crate) fn lines(_: &Registry, spec: &Spec, _: &Path, _: Option<&str>) -> Result<Lines> {
    Err(without(spec, "the decoder of logs", "log"))
}

/// The error if a feature is missing.
#[cfg(not(all(feature = "log", feature = "probe")))]
fn without(spec: &Spec, what: &str, features: &str) -> crate::failure::Failure {
    crate::failure::failure!(
        help = format!("install it with: `cargo install --path tools/cli --features {features}`"),
        "{}: this command was built without {what}",
        spec.name
    )
}

#[cfg(feature = "log")]
mod with_decoder {
    use brooklet_firmware::log;

    use super::*;
    use crate::commands::{say, spinner};

    /// The log of a board with this firmware: in its emulator, or at a debug probe.
    pub(crate) fn lines(
        registry: &Registry,
        spec: &Spec,
        firmware: &Path,
        probe: Option<&str>,
    ) -> Result<Lines> {
        if spec.qemu.is_none() {
            return of_probe(spec, firmware, probe);
        }
        let spinner = spinner();
        let lines = log::of_emulator(registry, spec, firmware, &mut |line| say(&spinner, line))?;
        spinner.finish_and_clear();
        Ok(lines)
    }

    #[cfg(feature = "probe")]
    fn of_probe(spec: &Spec, firmware: &Path, probe: Option<&str>) -> Result<Lines> {
        Ok(log::of_probe(spec, firmware, probe)?)
    }

    #[cfg(not(feature = "probe"))]
    fn of_probe(spec: &Spec, _: &Path, _: Option<&str>) -> Result<Lines> {
        Err(without(spec, "debug probes", "log,probe"))
    }
}
