//! The NUCLEO-F446RE, in its emulator.

use image::RgbImage;

use crate::shell::{json, succeed};

/// ResNet-8 and ResNet-20 give the host's bytes. The firmware counts cycles of the chip; in the
/// emulator these are instructions, and are called so.
#[test]
fn a_nucleo_gives_the_hosts_bytes_and_counts_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pixel = |x, y| image::Rgb([7 * x, 13 * y, x * y].map(|value| value as u8));
    RgbImage::from_fn(32, 32, pixel).save(folder.join("a.png")).unwrap();
    let board = "--board nucleo-f446re";
    for arch in ["resnet20", "resnet8"] {
        succeed(folder, &format!("new {arch} -o a.safetensors"));
        let options = "--effort fast --calibrate random:1 -o a.brook";
        succeed(folder, &format!("quantize a.safetensors --arch {arch} {options} {board}"));
        let said = succeed(folder, &format!("flash a.brook {board} --run a.png --check"));
        assert!(said.contains("1 answers, all the same bytes as the host's"), "{said}");
        assert!(said.contains(" instructions an image, "), "{said}");
    }
    let bench = json(folder, &format!("bench a.brook {board} --no-code-size"));
    let [counted, predicted] =
        ["instructions", "predicted_instructions"].map(|name| bench[name].as_u64().unwrap());
    assert!(counted.abs_diff(predicted) * 100 < predicted, "{counted}, predicted {predicted}");
    assert!(bench.get("cycles").is_none() && bench.get("milliseconds").is_none(), "{bench}");
}
