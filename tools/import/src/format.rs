//! Recognizes the type of a file.

use std::path::Path;

/// The type of a file, by its name or its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Onnx,
    Tflite,
    Safetensors,
    Checkpoint,
    /// `.keras`: an archive.
    KerasArchive,
    /// `.h5`.
    KerasHdf5,
    /// A known type that is not supported, with its name.
    Other(&'static str),
}

impl Format {
    pub(crate) fn of_extension(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "onnx" => Some(Format::Onnx),
            "tflite" => Some(Format::Tflite),
            "safetensors" => Some(Format::Safetensors),
            "pt" | "pth" | "th" | "pt2" | "bin" | "ckpt" => Some(Format::Checkpoint),
            "keras" => Some(Format::KerasArchive),
            "h5" | "hdf5" => Some(Format::KerasHdf5),
            "pb" => Some(Format::Other("a TensorFlow graph")),
            "brook" => Some(Format::Other("a brooklet model, already quantized and planned")),
            _ => None,
        }
    }

    /// The type that the content proves.
    ///
    /// Protocol buffers and old tar checkpoints have no magic number.
    pub(crate) fn of_content(head: &[u8], length: u64) -> Option<Format> {
        let word = |at: usize| head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        let header = word(0).map_or(u64::MAX, u64::from_le_bytes);
        if head.get(4..8) == Some(b"TFL3") {
            Some(Format::Tflite)
        } else if head.get(8) == Some(&b'{') && header < length {
            Some(Format::Safetensors)
        } else if head.starts_with(b"PK\x03\x04") || matches!(head, [0x80, 2..=5, ..]) {
            Some(Format::Checkpoint)
        } else if head.starts_with(b"\x89HDF") {
            Some(Format::KerasHdf5)
        } else if head.starts_with(b"version https://git-lfs") {
            Some(Format::Other("a Git LFS pointer, not the file itself (run `git lfs pull`)"))
        } else if head.starts_with(b"<") || head.starts_with(b"{") {
            Some(Format::Other("text"))
        } else if head.starts_with(b"\x89PNG") || head.starts_with(b"\xff\xd8\xff") {
            Some(Format::Other("an image"))
        } else {
            None
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Onnx => "an ONNX network",
            Format::Tflite => "a TFLite network",
            Format::Safetensors => "a safetensors file",
            Format::Checkpoint => "a PyTorch checkpoint",
            Format::KerasArchive => "a Keras archive",
            Format::KerasHdf5 => "an HDF5 (Keras) file",
            Format::Other(name) => name,
        }
    }
}
