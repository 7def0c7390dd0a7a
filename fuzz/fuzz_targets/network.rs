//! Bytes as a trained network: ONNX, TFLite, safetensors, or a PyTorch checkpoint. It is read, or
//! refused with a readable error.

#![no_main]

use brooklet_fuzz::{in_file, readable};
use brooklet_import::{Arch, Options, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = if bytes.get(4..8) == Some(b"TFL3") {
        "n.tflite"
    } else if bytes.starts_with(b"PK") || bytes.first() == Some(&0x80) {
        "n.pth"
    } else if bytes.get(8) == Some(&b'{') {
        "n.safetensors"
    } else {
        "n.onnx"
    };
    let arch: Option<Arch> = "resnet8".parse().ok();
    let options = Options { arch, ..Options::default() };
    if let Err(error) = in_file(name, bytes, |path| load(path, &options)) {
        readable(&error);
    }
});
