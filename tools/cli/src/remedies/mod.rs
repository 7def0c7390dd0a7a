//! What the user can do about errors, one file for each library that has them.

mod data;
mod files;
mod import;
mod plan;

use std::error::Error;

use brooklet_firmware::FirmwareError;

/// An error about which the user can do something.
pub trait Remedy: Error {
    /// What the user can do.
    fn remedy(&self) -> Option<String>;
}

impl Remedy for FirmwareError {
    fn remedy(&self) -> Option<String> {
        FirmwareError::remedy(self)
    }
}

impl Remedy for serde_json::Error {
    fn remedy(&self) -> Option<String> {
        None
    }
}

impl Remedy for ndarray::ShapeError {
    fn remedy(&self) -> Option<String> {
        None
    }
}

impl Remedy for ndarray_npy::WriteNpyError {
    fn remedy(&self) -> Option<String> {
        None
    }
}
