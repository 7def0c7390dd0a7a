//! Pixels in the units that a network takes, and warnings about other units, from `quantize`,
//! `eval` and `doctor`, with right and wrong options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{shared_cases, shared_data, tries};
use crate::shell::{brooklet, json, succeed};
use serde_json::Value;

const IMAGENET: &str = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";

/// The report of a command that must succeed, and its warnings, which the error stream has, too.
fn warned(folder: &Path, line: &str) -> (Value, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let words = line.split_whitespace().chain(["--json"]);
    let output = command.current_dir(folder).args(words).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {told}");
    let report = crate::schema::checked(serde_json::from_slice(&output.stdout).unwrap());
    let warnings = report.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    let warnings: Vec<String> =
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect();
    assert_eq!(told.matches("warning: ").count(), warnings.len(), "{line}: {told}");
    assert!(warnings.iter().all(|warning| told.contains(warning)), "{told}");
    (report, warnings)
}

/// A folder with the first images of the test set.
fn images(shared: &Path, count: usize) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let all = fs::read(shared.join("cifar10/test_first5000.bin")).unwrap();
    fs::write(folder.path().join("images.bin"), &all[..count * 3073]).unwrap();
    (folder, "images.bin".to_owned())
}

fn model(shared: &Path, name: &str) -> PathBuf {
    shared.join("models").join(name)
}

/// Networks with the options that they were trained with, and with none or wrong ones.
#[test]
fn wrong_units_are_told_and_right_ones_are_not() {
    let Some(shared) = shared_data("units") else { return };
    let (folder, data) = images(&shared, 300);
    let folder = folder.path();
    // Wrong units show in answers, which takes more images.
    let bytes = fs::read(folder.join(&data)).unwrap();
    fs::write(folder.join("few.bin"), &bytes[..tries(100, 300) * 3073]).unwrap();
    let test = shared.join("cifar10/test_first5000.bin");
    let evaluate = |limit: u32| format!("eval a.brook {} --limit {limit}", test.display());
    let quantize = |network: &str, options: &str| {
        let network = model(&shared, network);
        let line = format!("quantize {} {options} -o a.brook", network.display());
        warned(folder, &line).1
    };
    let float = "--effort fast --calibrate few.bin".to_owned();
    for (network, options) in [
        ("resnet20.safetensors", format!("--arch resnet20 {IMAGENET} {float}")),
        ("resnet20_torch2.15_default.onnx", format!("{IMAGENET} {float}")),
        ("mlperf_resnet8_float.tflite", float.clone()),
        ("mlperf_resnet8_float_opset17_bn.onnx", float.clone()),
        (
            "trained/preact-resnet20.safetensors",
            format!("--arch preact-resnet20 {IMAGENET} {float}"),
        ),
        (
            "trained/mxnet-small20.safetensors",
            format!("--arch mxnet-small20 --crop 28x28 {IMAGENET} {float}"),
        ),
        ("mlperf_resnet8_int8.tflite", String::new()),
        ("resnet20_tensorflow_int8.tflite", IMAGENET.into()),
        ("resnet20_onnxruntime_qdq_int8.onnx", IMAGENET.into()),
    ] {
        assert_eq!(quantize(network, &options), [""; 0], "{network} {options}");
        assert_eq!(warned(folder, &evaluate(tries(300, 1000))).1, [""; 0], "{network}");
    }
    // If the options are missing or wrong, the first layer's batch norm shows it, or the labels.
    let float = format!("--effort fast --calibrate {data}");
    let hints = ["--mean and --std", "brooklet doctor"];
    for (network, options) in [
        ("resnet20.safetensors", format!("--arch resnet20 {float}")),
        ("resnet20_torch2.15_default.onnx", float.clone()),
        ("mlperf_resnet8_float.tflite", format!("{IMAGENET} {float}")),
        ("mlperf_resnet8_float_opset17_bn.onnx", format!("--mean 0.5 --std 0.5 {float}")),
    ] {
        let warnings = quantize(network, &options);
        let told = warnings.join("\n");
        assert!(
            !warnings.is_empty() && hints.iter().all(|hint| told.contains(hint)),
            "{network} {options}: {told}"
        );
        let evaluated = warned(folder, &evaluate(1000)).1.join("\n");
        assert!(evaluated.contains("little more than chance"), "{network}: {evaluated}");
    }
    // These are worse than the right options, but far from chance.
    let between = format!("--arch resnet20 --mean 0 --std 1 {float}");
    let told = quantize("resnet20.safetensors", &between).join("\n");
    assert!(told.contains("times the deviation of its training"), "{told}");
    // The values are for 0 to 255 instead of 0 to 1: the warning has the right numbers.
    let of_255 = format!("--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 {float}");
    let told = quantize("resnet20.safetensors", &format!("--arch resnet20 {of_255}")).join("\n");
    assert!(told.contains("--mean 0.4850,0.4560,0.4060 --std 0.2290,0.2240,0.2250"), "{told}");
    let told = quantize("mlperf_resnet8_int8.tflite", IMAGENET).join("\n");
    assert!(told.contains("of the input's steps"), "{told}");
    // An int8 input in units other than raw ones needs the options.
    for network in ["resnet20_tensorflow_int8.tflite", "resnet20_onnxruntime_qdq_int8.onnx"] {
        let line = format!("quantize {} -o b.brook", model(&shared, network).display());
        let refused = brooklet(folder, &line).unwrap_err();
        let says = ["its input takes -2.1", "would saturate", "--mean 0.485,0.456,0.406 --std"];
        assert!(says.iter().all(|say| refused.contains(say)), "{refused}");
        assert!(!folder.join("b.brook").exists());
    }
}

#[test]
fn doctor_finds_what_a_network_was_trained_with() {
    let Some(shared) = shared_data("units") else { return };
    let (folder, data) = images(&shared, 400);
    let folder = folder.path();
    // It tries 300 images of each by default.
    let few = tries(" --images 80", "");
    for (network, options, wanted) in [
        ("resnet20.safetensors --arch resnet20", few, "ImageNet, rgb"),
        ("mlperf_resnet8_float.tflite", few, "raw 0 to 255, rgb"),
        ("mlperf_resnet8_int8.tflite", "", "raw 0 to 255, rgb"),
        ("resnet20_tensorflow_int8.tflite", few, "ImageNet, rgb"),
    ] {
        let path = model(&shared, network);
        let report = json(folder, &format!("doctor {} {data}{options}", path.display()));
        let verdict = report["verdict"].as_str().unwrap();
        // With so few images, units that are nearly the same may be as good.
        let alike = report["alike"].to_string();
        assert!(verdict.contains(wanted) || alike.contains(wanted), "{network}: {report}");
        // The order of colours matters for these networks, but only a little.
        assert!(!verdict.lines().next().unwrap().contains("bgr"), "{network}: {verdict}");
        let images = if options.is_empty() { 300 } else { 80 };
        assert_eq!(report["images"], images);
        assert!(report["tried"][0]["top1"].as_f64().unwrap() > 0.8, "{report}");
    }
    // A network that has learned nothing.
    succeed(folder, "new resnet20 -o new.safetensors");
    let text =
        succeed(folder, &format!("doctor new.safetensors --arch resnet20 {data} --images 100"));
    assert!(text.contains("None is convincing"), "{text}");
    let refused = brooklet(folder, "doctor new.safetensors --arch resnet20 random:4").unwrap_err();
    assert!(refused.contains("random:4: has no labels"), "{refused}");
}

/// A network for blue, green, red becomes one for red, green, blue by exchanging its first weights:
/// the model gives the same bytes for images with exchanged colours.
#[test]
fn channels_can_be_exchanged() {
    let Some(shared) = shared_data("units") else { return };
    let (folder, data) = images(&shared, 40);
    let folder = folder.path();
    let rgb = fs::read(folder.join(&data)).unwrap();
    let bgr = rgb.chunks(3073).flat_map(|record| {
        let planes: Vec<&[u8]> = record[1..].chunks(1024).collect();
        [&record[..1], planes[2], planes[1], planes[0]].concat()
    });
    fs::write(folder.join("bgr.bin"), bgr.collect::<Vec<u8>>()).unwrap();
    for (network, mean, exchanged) in [
        (
            "resnet20_tensorflow_int8.tflite",
            IMAGENET,
            "--mean 0.406,0.456,0.485 --std 0.225,0.224,0.229",
        ),
        ("mlperf_resnet8_int8.tflite", "", ""),
    ] {
        let network = model(&shared, network);
        let network = network.display();
        succeed(folder, &format!("quantize {network} {mean} -o rgb.brook"));
        succeed(folder, &format!("quantize {network} {exchanged} --channels bgr -o bgr.brook"));
        succeed(folder, &format!("eval rgb.brook {data} --logits rgb.npy"));
        succeed(folder, "eval bgr.brook bgr.bin --logits bgr.npy");
        assert_eq!(
            fs::read(folder.join("rgb.npy")).unwrap(),
            fs::read(folder.join("bgr.npy")).unwrap()
        );
    }
    // The float network agrees: doctor and quantize treat the option the same.
    let network = model(&shared, "mlperf_resnet8_float.tflite");
    let network = network.display();
    let score = |report: &Value| report["evidence"]["top1"].as_f64().unwrap();
    let options = "--effort fast --calibrate";
    let right = json(folder, &format!("quantize {network} {options} {data} -o a.brook"));
    let line = format!("quantize {network} {options} bgr.bin --channels bgr -o b.brook");
    assert_eq!(score(&right), score(&json(folder, &line)));
    assert_eq!(
        fs::read(folder.join("a.brook")).unwrap().len(),
        fs::read(folder.join("b.brook")).unwrap().len()
    );
    let report = json(folder, &format!("doctor {network} bgr.bin"));
    assert!(report["options"].as_str().unwrap().contains("--channels bgr"), "{report}");
}

/// An integer graph input has the type of its zero point, wherever it is dequantized.
#[test]
fn integer_inputs_are_imported() {
    let Some(cases) = shared_cases("units") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for case in
        ["02-tf2onnx-int8-tflite/tf2onnx_of_int8.onnx", "22-qdq-flatten-between/v_flat_int8.onnx"]
    {
        let line = format!("quantize {} -o a.brook", cases.join(case).display());
        warned(folder, &line);
    }
    // The same network, from the file from which it was converted.
    let [tflite, onnx] = ["core_int8.tflite", "tf2onnx_of_int8.onnx"].map(|name| {
        let path = cases.join("02-tf2onnx-int8-tflite").join(name);
        succeed(folder, &format!("quantize {} -o a.brook", path.display()));
        succeed(folder, "eval a.brook random:50 --logits a.npy");
        fs::read(folder.join("a.npy")).unwrap()
    });
    assert!(tflite == onnx, "other logits");
    // The input's scale means x / 127.5 - 1; the option means the same, and no table is needed.
    let path = cases.join("03-int8-tflite-without-mean-std/gapdense_int8.tflite");
    let files = ["", "--mean 0.5 --std 0.5"].map(|options| {
        warned(folder, &format!("quantize {} {options} -o a.brook", path.display()));
        fs::read(folder.join("a.brook")).unwrap()
    });
    assert!(files[0] == files[1], "other files");
    // Ranges of images in other units.
    let path = cases.join("04-float-tflite-softmax-range/big.onnx");
    let data = cases.join("../../data/cifar10/test_first5000.bin");
    let all = fs::read(data).unwrap();
    fs::write(folder.join("images.bin"), &all[..20 * 3073]).unwrap();
    let line = format!(
        "quantize {} --resize 16 --crop 16x16 --calibrate images.bin --effort fast -o b.brook",
        path.display()
    );
    let refused = brooklet(folder, &line).unwrap_err();
    let says = refused.find("give --mean and --std");
    assert!(says.is_some() && says < refused.find("check that the network"), "{refused}");
}

/// Errors for labels and answers without a class of the network name the row.
#[test]
fn strange_labels_are_refused() {
    use ndarray::{Array1, Array2, Array4};
    use ndarray_npy::{NpzWriter, write_npy};
    let folder = crate::shell::resnet8();
    let folder = folder.path();
    let network = "a.safetensors --arch resnet8 --effort fast";
    succeed(folder, &format!("quantize {network} --calibrate random:2 -o a.brook"));
    let mut record = vec![0; 3 * 3073];
    record[2 * 3073] = 10;
    fs::write(folder.join("ten.bin"), &record).unwrap();
    for (name, label) in [("ten.npz", 10i64), ("negative.npz", -1)] {
        let mut file = NpzWriter::new(fs::File::create(folder.join(name)).unwrap());
        file.add_array("x", &Array4::<u8>::zeros((3, 32, 32, 3))).unwrap();
        file.add_array("y", &Array1::from(vec![0i64, 1, label])).unwrap();
        file.finish().unwrap();
    }
    write_npy(folder.join("best.npy"), &Array1::from(vec![0i64, 10])).unwrap();
    write_npy(folder.join("below.npy"), &Array1::from(vec![0i64, -3])).unwrap();
    let mut logits = Array2::<f32>::zeros((2, 10));
    logits[(1, 3)] = f32::NAN;
    write_npy(folder.join("nan.npy"), &logits).unwrap();
    for (line, says) in [
        ("eval a.brook ten.bin", &["ten.bin: `image 2`: its label is class 10", "0 to 9"][..]),
        ("eval a.brook ten.npz", &["ten.npz: `image 2`: its label is class 10"]),
        ("eval a.brook negative.npz", &["negative.npz", "-1 in row 2"]),
        ("eval a.brook random:2 --float best.npy", &["best.npy: row 1: class 10"]),
        ("eval a.brook random:2 --float below.npy", &["below.npy: row 1: class -3"]),
        ("eval a.brook random:2 --float nan.npy", &["nan.npy: row 1: ", "not finite"]),
        ("compare a.safetensors --arch resnet8 a.brook ten.bin", &["ten.bin: `image 2`"]),
        ("doctor a.safetensors --arch resnet8 ten.bin", &["ten.bin: `image 2`"]),
    ] {
        let refused = brooklet(folder, line).unwrap_err();
        assert!(says.iter().all(|say| refused.contains(say)), "{line}: {refused}");
    }
    let line = format!("quantize {network} --calibrate ten.bin -o b.brook");
    let refused = brooklet(folder, &line).unwrap_err();
    assert!(refused.contains("ten.bin: `image 2`: its label is class 10"), "{refused}");
    // Rows that are not evaluated do not matter.
    succeed(folder, "eval a.brook ten.bin --limit 2");
}
