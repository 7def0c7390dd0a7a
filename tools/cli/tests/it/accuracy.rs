//! Real networks and real images, made by others: results are counted, not assumed.
//!
//! The files are read from `../shared/data` beside the checkout, or from the folder that
//! `BROOKLET_DATA` names. Without them these tests print a message and pass.

use std::path::{Path, PathBuf};

use crate::common::{shared_data, skipped, tries};
use brooklet_cli::commands::{self, Output};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_quantize::data::Dataset;
use brooklet_quantize::evaluate;
use brooklet_quantize::evaluate::FloatAnswers;
use clap::Parser;
use ndarray::{Array1, Array2};
use ndarray_npy::read_npy;

const NORMALIZED: [&str; 4] = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"];

/// A file of the shared data; prints a message if there is none.
fn shared(path: &str) -> Option<PathBuf> {
    let file = shared_data("accuracy")?.join(path);
    assert!(file.is_file(), "{} is not there: the shared data are not whole", file.display());
    Some(file)
}

/// The model file that `brooklet quantize` makes with these arguments.
fn quantize(network: &Path, arguments: &[&str]) -> ModelFile {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: commands::quantize::Args,
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.brook");
    let (network, output) = (network.to_str().unwrap(), model.to_str().unwrap());
    let fixed = ["quantize", network, "-o", output];
    let cli = Cli::parse_from(fixed.iter().chain(arguments));
    commands::quantize::run(&cli.args, Output { json: true }).unwrap();
    ModelFile::open(&model).unwrap()
}

/// The model's answers for the first `count` test images.
fn answers(model: &ModelFile, backend: HostBackend, count: usize) -> Vec<(Answer, Option<usize>)> {
    let images = shared("cifar10/test_first5000.bin").unwrap();
    let data = Dataset::open(images.to_str().unwrap(), model.input(), &model.preprocess()).unwrap();
    let simulator = model.simulator(backend).unwrap();
    evaluate::answers(&simulator, &data, 0..count, || {}).unwrap()
}

/// The number of these images that a backend classifies: the fastest backend of the machine takes
/// all, the slower ones fewer.
fn in_time(backend: HostBackend, images: usize) -> usize {
    match backend {
        HostBackend::Reference => tries(images / 100, images),
        HostBackend::Portable => tries(images / 20, images),
        _ if HostBackend::of_this_machine().next() == Some(backend) => images,
        _ => tries(images / 10, images),
    }
}

/// Number of values in which the answers differ from an expected file.
fn differences(
    answers: &[(Answer, Option<usize>)],
    of: impl Fn(&Answer) -> &[i16],
    expected: &Path,
) -> usize {
    let expected: Array2<i8> = read_npy(expected).unwrap();
    assert!(answers.len() <= expected.nrows());
    answers
        .iter()
        .zip(expected.outer_iter())
        .map(|((answer, _), row)| {
            of(answer).iter().zip(row).filter(|&(&a, &b)| a != i16::from(b)).count()
        })
        .sum()
}

#[test]
fn mlperf_resnet8_is_what_tflite_micro_computes() {
    let (Some(network), Some(logits), Some(softmax)) = (
        shared("models/mlperf_resnet8_int8.tflite"),
        shared("expected/mlperf_resnet8_int8_logits_5000_tflm.npy"),
        shared("expected/mlperf_resnet8_int8_softmax_5000_tflm.npy"),
    ) else {
        return;
    };
    let model = quantize(&network, &[]);
    for backend in HostBackend::of_this_machine() {
        let answers = answers(&model, backend, in_time(backend, tries(1000, 5000)));
        assert_eq!(differences(&answers, |a| &a.logits, &logits), 0, "{backend:?}");
        assert_eq!(differences(&answers, |a| &a.output, &softmax), 0, "{backend:?}");
    }
}

#[test]
fn tensorflow_resnet20_is_what_tflite_micro_computes() {
    let (Some(network), Some(logits)) = (
        shared("models/resnet20_tensorflow_int8.tflite"),
        shared("expected/resnet20_tensorflow_int8_logits_1000_tflm.npy"),
    ) else {
        return;
    };
    let model = quantize(&network, &NORMALIZED);
    for backend in HostBackend::of_this_machine() {
        let answers = answers(&model, backend, in_time(backend, tries(500, 1000)));
        assert_eq!(differences(&answers, |a| &a.logits, &logits), 0, "{backend:?}");
    }
}

/// The kernels of ONNX Runtime reach 91.69 % and 99.17 % on all 10,000, at 29.7 dB.
#[test]
fn onnxruntime_resnet20_is_as_good_as_there() {
    let (Some(network), Some(best), Some(logits)) = (
        shared("models/resnet20_onnxruntime_qdq_int8.onnx"),
        shared("expected/resnet20_float_argmax_5000.npy"),
        shared("expected/resnet20_float_logits_1000.npy"),
    ) else {
        return;
    };
    let model = quantize(&network, &NORMALIZED);
    let answers = answers(&model, HostBackend::Auto, 5000);
    let best: Array1<u8> = read_npy(best).unwrap();
    let best = FloatAnswers::Best(best.iter().map(|&class| class.into()).collect());
    let logits = FloatAnswers::Logits(read_npy(logits).unwrap());
    let quantization = model.model().logits_quantization();
    let score = |answers, float| {
        evaluate::score(answers, Some(float), |q| quantization.dequantize(q), 10, 0.0)
    };
    let all = score(&answers, &best);
    let decibels = score(&answers[..1000], &logits).sqnr_db.unwrap();
    println!("{all:?}, {decibels:.2} dB");
    assert!(all.top1.unwrap() >= 0.9126 && all.agreement.unwrap() >= 0.99, "{all:?}");
    assert!((29.2..30.2).contains(&decibels), "{decibels} dB");
}

/// Quantizes each file of a network, and counts: files with separate batch norms give the same
/// model file, and those in which an exporter has folded them give the same figures.
fn quantized_agrees_with_float(network: &str, apart: &[&str], folded: &[&str]) {
    let (Some((_folder, data)), Some(best), Some(logits)) = (
        calibration(tries(Some(100), None)),
        shared(&format!("expected/{network}_float_argmax_5000.npy")),
        shared(&format!("expected/{network}_float_logits_1000.npy")),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ranges = folder.path().join("ranges.json");
    // The ranges are measured once, as they do not depend on the file.
    let model = |file: &&str| {
        let file = shared(&format!("models/{file}")).expect("the data is whole");
        let ranges = ranges.to_str().unwrap();
        let calibration = match Path::new(ranges).exists() {
            true => vec!["--ranges", ranges, "--arch", network],
            false => {
                let data = data.to_str().unwrap();
                let fast = ["--effort", "fast", "--calibrate", data, "--save-ranges", ranges];
                [&fast[..], &["--arch", network]].concat()
            }
        };
        quantize(&file, &[&calibration[..], &NORMALIZED].concat())
    };
    let apart: Vec<ModelFile> = apart.iter().map(model).collect();
    for other in &apart[1..] {
        assert_eq!(other.bytes(), apart[0].bytes(), "{}", other.path().display());
    }
    let best: Array1<u8> = read_npy(best).unwrap();
    let best = FloatAnswers::Best(best.iter().map(|&class| class.into()).collect());
    let logits = FloatAnswers::Logits(read_npy(logits).unwrap());
    let images = tries(1000, 5000);
    for model in apart.into_iter().take(1).chain(folded.iter().map(model)) {
        let answers = answers(&model, HostBackend::Auto, images);
        let quantization = model.model().logits_quantization();
        let score = |answers, float| {
            evaluate::score(answers, Some(float), |q| quantization.dequantize(q), 10, 0.0)
        };
        let agreement = score(&answers, &best).agreement.unwrap();
        let decibels = score(&answers[..1000], &logits).sqnr_db.unwrap();
        println!("{network}: agreement {agreement:.4}, {decibels:.2} dB");
        assert!(agreement >= 0.991, "{network}: agreement {agreement}");
        assert!(decibels >= 29.0, "{network}: {decibels} dB");
    }
}

/// The calibration images, or the first of them.
fn calibration(images: Option<usize>) -> Option<(tempfile::TempDir, PathBuf)> {
    const IMAGE: usize = 3073;
    let data = shared("cifar10/calib_train_1000.bin")?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.bin");
    let bytes = std::fs::read(&data).unwrap();
    std::fs::write(&path, &bytes[..images.map_or(bytes.len(), |images| images * IMAGE)]).unwrap();
    Some((folder, path))
}

/// The results of learned rounding from a few images, or in a thorough run from all.
#[test]
fn resnet20_learns() {
    let (images, needed) = tries((Some(16), 32.0), (None, 34.3));
    let (Some(network), Some((_folder, data)), Some(logits)) = (
        shared("models/resnet20.safetensors"),
        calibration(images),
        shared("expected/resnet20_float_logits_1000.npy"),
    ) else {
        return;
    };
    let logits = FloatAnswers::Logits(read_npy(logits).unwrap());
    let options = ["--arch", "resnet20", "--calibrate", data.to_str().unwrap()];
    let model = quantize(&network, &[&options[..], &NORMALIZED].concat());
    let quantization = model.model().logits_quantization();
    let answers = answers(&model, HostBackend::Auto, 1000);
    let score = evaluate::score(&answers, Some(&logits), |q| quantization.dequantize(q), 10, 0.0);
    let decibels = score.sqnr_db.unwrap();
    println!("{images:?} images: {decibels:.2} dB");
    assert!(decibels >= needed, "{images:?} images: {decibels} dB");
}

/// ResNet-20, quantized with these options on some images of the 1,000: its model file, and for the
/// 5,000 images the share of right answers, and of answers that are the float network's.
fn resnet20_with(images: Option<usize>, options: &[&str]) -> Option<(ModelFile, f64, f64)> {
    let (Some(network), Some((_folder, data)), Some(best)) = (
        shared("models/resnet20.safetensors"),
        calibration(images),
        shared("expected/resnet20_float_argmax_5000.npy"),
    ) else {
        return None;
    };
    let own = ["--arch", "resnet20", "--calibrate", data.to_str().unwrap()];
    let model = quantize(&network, &[&own[..], options, &NORMALIZED].concat());
    let best: Array1<u8> = read_npy(best).unwrap();
    let best: Vec<usize> = best.iter().map(|&class| class.into()).collect();
    let answers = answers(&model, HostBackend::Auto, 5000);
    let right = |(answer, float): (&(Answer, Option<usize>), &usize)| answer.1 == Some(*float);
    let float = answers.iter().zip(&best).filter(|&both| right(both)).count();
    assert_eq!(float, 4574, "what the float network has right");
    let score = evaluate::score(&answers, Some(&FloatAnswers::Best(best)), f32::from, 10, 0.0);
    let (top1, agreement) = (score.top1.unwrap(), score.agreement.unwrap());
    println!("{options:?}, {images:?} images: top-1 {top1:.4}, agreement {agreement:.4}");
    Some((model, top1, agreement))
}

/// Weights of four bits lose almost nothing if their rounding is learned: from a few images, or in
/// a thorough run from all.
#[test]
fn resnet20_learns_in_four_bits() {
    let made = resnet20_with(tries(Some(32), None), &["--weights", "4"]);
    let Some((model, top1, agreement)) = made else { return };
    // Of 272,474 weights, 1,072 are in the first and the last layer.
    assert!(model.bytes().len() < 160_000, "{} bytes", model.bytes().len());
    assert!(top1 >= 0.9148 - 0.005, "top-1 {top1}");
    assert!(agreement >= 0.97, "agreement {agreement}");
}

/// In 120 KB most layers have weights of three bits; measured errors decide which. Takes minutes.
#[test]
fn resnet20_fits_in_120_kilobytes() {
    if !tries(false, true) {
        return skipped("ResNet-20 in 120 KB: BROOKLET_THOROUGH is not set");
    }
    let Some((model, top1, _)) = resnet20_with(None, &["--flash", "120K"]) else { return };
    assert!(model.bytes().len() <= 120 << 10, "{} bytes", model.bytes().len());
    assert!(top1 >= 0.913, "top-1 {top1}");
}

#[test]
fn resnet20_agrees_with_float() {
    quantized_agrees_with_float(
        "resnet20",
        &[
            "resnet20.safetensors",
            "resnet20-12fca82f.th",
            "resnet20_opset17_bn.onnx",
            "resnet20_torchscript_opset17_bn.onnx",
        ],
        &["resnet20_torchscript_opset17_folded.onnx", "resnet20_torch2.15_default.onnx"],
    );
}

#[test]
fn resnet56_agrees_with_float() {
    if !tries(false, true) {
        return skipped("ResNet-56 against its float network: BROOKLET_THOROUGH is not set");
    }
    quantized_agrees_with_float(
        "resnet56",
        &["resnet56.safetensors", "resnet56_opset17_bn.onnx"],
        &[],
    );
}
