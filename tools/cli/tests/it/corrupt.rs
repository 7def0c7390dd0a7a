//! Damaged files end in errors, never in panics.

use std::path::Path;

use crate::common::{shared_data, tries};
use brooklet_import::{Options, load};

/// Loads `file` cut off at many lengths, and with many bytes changed.
fn damage(data: &Path, file: &str, arch: Option<&str>, changes: usize) {
    let arch = arch.map(|arch| arch.parse().unwrap());
    let options = Options { arch, ..Options::default() };
    let whole = std::fs::read(data.join("models").join(file)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path, &options)
    };
    assert!(attempt(&whole).is_ok());
    let near = [0, 1, 3, 4, 7, 8, 9, 15, 31, 64, 200, 1000];
    let spread = (1..24).map(|part| whole.len() * part / 24);
    for length in near.into_iter().chain(spread).chain([whole.len() - 1]) {
        // Some formats do not need the end of a file, so only panics and endless loops are
        // failures, except that a file cut in half can never be complete.
        let result = attempt(&whole[..length]);
        assert!(result.is_err() || length > whole.len() / 2, "{file} cut to {length}");
    }
    let mut state = 7u64;
    for change in 0..changes {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let random = (state >> 33) as usize;
        // The structure is at the ends and between the weights, so half of the changes are at the
        // ends.
        let place = match change % 4 {
            0 => random % 4096.min(whole.len()),
            1 => whole.len() - 1 - random % 16384.min(whole.len()),
            _ => random % whole.len(),
        };
        let mut bytes = whole.clone();
        bytes[place] ^= [0x01, 0x80, 0xff, 0x10][random / 7 % 4];
        let _ = attempt(&bytes);
    }
}

#[test]
fn onnx() {
    let Some(data) = shared_data("corrupt onnx") else {
        return;
    };
    damage(&data, "mlperf_resnet8_float_opset17_bn.onnx", None, tries(150, 400));
    damage(&data, "resnet20_torchscript_opset17_bn.onnx", None, tries(50, 150));
}

#[test]
fn tflite() {
    let Some(data) = shared_data("corrupt tflite") else {
        return;
    };
    damage(&data, "mlperf_resnet8_int8.tflite", None, tries(300, 800));
    damage(&data, "mlperf_resnet8_float.tflite", None, 100);
    damage(&data, "resnet20_tensorflow_int8.tflite", None, tries(100, 300));
}

#[test]
fn safetensors() {
    let Some(data) = shared_data("corrupt safetensors") else {
        return;
    };
    damage(&data, "resnet20.safetensors", Some("resnet20"), 200);
}

#[test]
fn checkpoint() {
    let Some(data) = shared_data("corrupt checkpoint") else {
        return;
    };
    damage(&data, "resnet20-12fca82f.th", Some("resnet20"), tries(150, 300));
}
