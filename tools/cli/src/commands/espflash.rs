//! Writes over a serial port to Espressif's chips, with the boot loader in their ROM. The library
//! for that takes long to build, so it is behind a feature.

use std::path::Path;

use brooklet_firmware::{FlashImage, Spec};

use crate::failure::Result;

/// The result of writing.
#[cfg(feature = "espflash")]
pub(crate) use brooklet_firmware::espflash::Written;

/// The result that writing would have.
#[cfg(not(feature = "espflash"))]
pub(crate) struct Written {
    pub(crate) port: String,
    pub(crate) parts: usize,
    pub(crate) changed: usize,
}

/// The checked contents of the board's flash.
#[cfg(feature = "espflash")]
pub(crate) fn image(spec: &Spec, firmware: &Path, model: &Path) -> Result<FlashImage> {
    Ok(brooklet_firmware::espflash::image(spec, firmware, Some(model))?)
}

/// Writes an image over the serial port.
#[cfg(feature = "espflash")]
pub(crate) fn write(spec: &Spec, image: &FlashImage, port: Option<&str>) -> Result<Written> {
    Ok(brooklet_firmware::espflash::write(spec, image, port)?)
}

/// Checks, before firmware is built, that this command can write to such chips.
#[cfg(feature = "espflash")]
pub(crate) fn is_there(_: &Spec) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "espflash"))]
pub(crate) fn is_there(spec: &Spec) -> Result<()> {
    Err(without(spec))
}

#[cfg(not(feature = "espflash"))]
pub(crate) fn image(spec: &Spec, _: &Path, _: &Path) -> Result<FlashImage> {
    Err(without(spec))
}

#[cfg(not(feature = "espflash"))]
pub(crate) fn write(spec: &Spec, _: &FlashImage, _: Option<&str>) -> Result<Written> {
    Err(without(spec))
}

#[cfg(not(feature = "espflash"))]
fn without(spec: &Spec) -> crate::failure::Failure {
    crate::failure::failure!(
        help = "install it with them: `cargo install --path tools/cli --features espflash`",
        "{}: this command was built without the boot loaders of Espressif's chips",
        spec.name
    )
}
