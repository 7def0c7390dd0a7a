//! Whether a model fits a board, and its costs there: all commands give the same answer.

use std::fs;
use std::process::Command;

use crate::common::tries;
use crate::onnx::{Onnx, attribute};
use crate::shell::{brooklet, json, resnet8, succeed};
use brooklet_firmware::Registry;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_into;
use serde_json::Value;

/// The arena of a model as it was made fits, but that of the model packed for the board's kernels,
/// which need scratch memory, does not.
#[test]
fn fit_counts_what_the_boards_kernels_need() {
    let folder = resnet8();
    let folder = folder.path();
    let network = "a.safetensors --arch resnet8 --effort fast --calibrate random:1";
    succeed(folder, &format!("quantize {network} --input 40x40 -o a.brook"));
    let report = json(folder, "fit a.brook");
    let boards = report["boards"].as_array().unwrap();
    let micro = boards.iter().find(|verdict| verdict["board"] == "qemu-microbit").unwrap();
    assert!(report["arena_bytes"].as_i64().unwrap() <= 12_128, "{report}");
    assert_eq!(micro["fits"], false, "{micro}");
    assert_eq!(micro["arena_bytes_left"], 12_128 - 12_832, "{micro}");
    let refused = brooklet(folder, "flash a.brook --board qemu-microbit").unwrap_err();
    assert!(refused.contains("it lacks 704 bytes of RAM"), "{refused}");

    // `quantize` fails if the model does not fit the given board, and names the file that it wrote.
    let line = format!("quantize {network} --input 40x40 --board qemu-microbit -o b.brook");
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let words = line.split_whitespace().chain(["--json"]);
    let output = command.current_dir(folder).args(words).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let says = ["b.brook: is written, but does not fit qemu-microbit: it lacks 704 bytes of RAM"];
    assert!(says.iter().all(|say| told.contains(say)), "{told}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["arena_bytes"], &made["verdict"]["fits"]), (&12_832.into(), &false.into()));
    assert_eq!(ModelFile::open(folder.join("b.brook")).unwrap().model().arena_bytes(), 12_832);
    succeed(folder, &format!("quantize {network} --board qemu-mps2-an386 -o c.brook"));
}

/// A convolution and a mean of an image of this size: rows and arena grow with it.
fn conv(size: i64, outputs: i64) -> Vec<u8> {
    Onnx::new(&[1, 3, size, size])
        .floats("w", &[outputs, 3, 3, 3], |index| (index as f32 * 0.7).sin())
        .node("Conv", "x w", "c", &[attribute("pads", &[1; 4])])
        .node("GlobalAveragePool", "c", "y", &[])
        .bytes()
}

/// For networks from small to too large, and all boards: `fit` agrees with `plan` after packing,
/// and with the numbers of board and file.
#[test]
fn fit_plan_and_flash_agree() {
    let folder = resnet8();
    let folder = folder.path();
    let mut lines = Vec::new();
    for &size in tries(&[40, 44, 64, 96][..], &[32, 36, 40, 44, 64, 96]) {
        lines.push(format!("a.safetensors --arch resnet8 --input {size}x{size}"));
    }
    for &(size, outputs) in
        tries(&[(48, 128), (64, 400)][..], &[(16, 8), (42, 32), (48, 128), (64, 400)])
    {
        fs::write(folder.join(format!("{size}.onnx")), conv(size, outputs)).unwrap();
        lines.push(format!("{size}.onnx"));
    }
    let registry = Registry::find().unwrap();
    let (mut fitting, mut others) = (0, 0);
    for line in lines {
        let options = "--effort fast --calibrate random:1 -o m.brook";
        succeed(folder, &format!("quantize {line} {options}"));
        let file = ModelFile::open(folder.join("m.brook")).unwrap();
        let report = json(folder, "fit m.brook");
        let verdicts = report["boards"].as_array().unwrap();
        let boards = registry.boards().iter().zip(verdicts);
        for (spec, verdict) in boards.filter(|(spec, _)| tries(!spec.only_in_all, true)) {
            let packed = tempfile::tempdir().unwrap();
            let packed = packed_into(packed.path(), spec, &file).unwrap();
            let model = packed.as_ref().unwrap_or(&file).model();
            let in_window = spec.weights_window.is_none_or(|window| {
                brooklet::resident_bytes(model.file()) <= window.resident_bytes as usize
                    && brooklet::smallest_window(model.graph()) <= window.bytes as usize
            });
            // The checks of the firmware's loader.
            let fits = model.arena_bytes() <= spec.arena_bytes as usize
                && in_window
                && model.file().len() <= spec.slot.bytes as usize
                && model.input().row_bytes() <= spec.row_bytes as usize;
            assert_eq!(verdict["fits"], fits, "{line} on {}", spec.name);
            let left = i64::from(spec.arena_bytes) - model.arena_bytes() as i64;
            assert_eq!(verdict["arena_bytes_left"], left, "{line} on {}", spec.name);
            fs::copy(folder.join("m.brook"), folder.join("p.brook")).unwrap();
            let plan = json(folder, &format!("plan p.brook --board {}", spec.name));
            // `fit` adds the time to each board's verdict.
            for (key, value) in plan["verdict"].as_object().unwrap() {
                assert_eq!(verdict[key], *value, "{key} of {line} on {}", spec.name);
            }
            (fitting, others) = (fitting + u32::from(fits), others + u32::from(!fits));
        }
    }
    assert!(fitting > 20 && others > 5, "{fitting} fit, {others} do not");
}

/// A chip without a board is planned for like a board with its kernels and memory.
#[test]
fn a_chip_needs_no_board() {
    let folder = resnet8();
    let folder = folder.path();
    let network = "a.safetensors --arch resnet8 --effort fast --calibrate random:1";
    let chip = "--chip cortex-m4 --ram 60K --flash 512K";
    let made = json(folder, &format!("quantize {network} {chip} --optimize speed -o a.brook"));
    assert_eq!(
        (&made["verdict"]["board"], &made["verdict"]["fits"]),
        (&"cortex-m4".into(), &true.into())
    );
    let board = "--board qemu-mps2-an386 --ram 60K --flash 512K";
    let mut plans = Vec::new();
    for (device, file) in [(chip, "c.brook"), (board, "b.brook")] {
        let plan = json(folder, &format!("plan a.brook {device} --optimize speed -o {file}"));
        let verdict = &plan["verdict"];
        plans.push([&verdict["slot_bytes_left"], &verdict["arena_bytes_left"]].map(Value::clone));
    }
    assert_eq!(plans[0], plans[1]);
    let [chip_file, board_file] =
        ["c.brook", "b.brook"].map(|name| fs::read(folder.join(name)).unwrap());
    assert!(chip_file == board_file, "the same kernels, the same budget, the same bytes");

    let fit = json(folder, "fit c.brook --chip CORTEX-M0 --ram 8K --flash 1M");
    let verdict = &fit["boards"][0];
    assert_eq!(fit["boards"].as_array().unwrap().len(), 1);
    assert!(verdict["fits"] == false && verdict["arena_bytes_left"].as_i64() < Some(0), "{fit}");
    let refused = |line: &str| brooklet(folder, line).unwrap_err();
    let error = refused("plan c.brook --chip cortex-m9 --ram 8K --flash 1M");
    assert!(error.contains("is not a known core") && error.contains("rv32imac"), "{error}");
    let error = refused("plan c.brook --chip cortex-m4 --ram 8K");
    assert!(error.contains("needs the RAM and flash"), "{error}");
    assert!(refused("fit c.brook --ram 8K").contains("--chip"));
}

/// The prediction of `inspect` for a file that is packed for other kernels equals that after
/// `plan`, for every convolution.
#[test]
fn instructions_are_predicted_for_the_file_as_it_is_flashed() {
    let folder = resnet8();
    let folder = folder.path();
    let network = "a.safetensors --arch resnet8 --effort fast --calibrate random:1";
    for weights in ["8", "4"] {
        succeed(folder, &format!("quantize {network} --weights {weights} -o a.brook"));
        // No board here has all kernels of this core.
        succeed(
            folder,
            &format!("quantize {network} --weights {weights} --backend rv32 -o b.brook"),
        );
        let registry = Registry::find().unwrap();
        let mut backends = Vec::new();
        for spec in registry.boards() {
            let board = &spec.name;
            if tries(backends.contains(&&spec.backend), false) {
                continue;
            }
            backends.push(&spec.backend);
            fs::copy(folder.join("a.brook"), folder.join("p.brook")).unwrap();
            succeed(folder, &format!("plan p.brook --board {board} --in-place"));
            let planned = json(folder, &format!("inspect p.brook --board {board}"));
            assert!(planned["packed_for"].is_null(), "{planned}");
            for file in ["a", "b"] {
                let report = json(folder, &format!("inspect {file}.brook --board {board}"));
                assert_eq!(report["instructions"], planned["instructions"], "{file} on {board}");
                for layer in report["layers"].as_array().unwrap() {
                    let counted = layer["instructions"].as_u64() > Some(1000);
                    assert!(counted || layer["kind"] != "conv", "{board}: {layer}");
                }
            }
            let report = json(folder, &format!("inspect a.brook --board {board}"));
            assert_eq!(report["packed_for"], **board, "{report}");
            let least = report["instructions"].as_f64().unwrap() * 1e3 / f64::from(spec.clock_hz);
            let time = report["milliseconds"].as_f64().unwrap() / least;
            assert!((0.7..3.0).contains(&time), "{board}: {time} cycles an instruction");
            assert_eq!(report["clock_hz"], spec.clock_hz, "{report}");
            let text = succeed(folder, &format!("inspect a.brook --board {board}"));
            assert!(text.contains(&format!("predicted for the file packed for {board}")), "{text}");
        }
    }
}

/// Saved ranges are not a measurement of the model that is made with them.
#[test]
fn a_model_of_saved_ranges_has_no_evidence() {
    let folder = resnet8();
    let folder = folder.path();
    let network = "quantize a.safetensors --arch resnet8";
    let save = "--effort fast --calibrate random:4 --save-ranges r.json -o a.brook";
    assert!(json(folder, &format!("{network} {save}"))["evidence"]["sqnr_db"].is_f64());
    let line = format!("{network} --ranges r.json -o b.brook");
    assert!(json(folder, &line)["evidence"].is_null());
    assert!(!succeed(folder, &line).contains("calibration"), "{line}");
}

/// An untrained ResNet-8, quantized quickly.
const SEARCH: &str = "a.safetensors --arch resnet8 --calibrate random:6 --effort fast";

/// Each point is what its command makes, the front is right, and the chosen model is written.
#[test]
fn a_network_is_made_into_the_best_model_for_a_board() {
    let folder = resnet8();
    let folder = folder.path();
    let line = format!("fit {SEARCH} --board qemu-mps2-an386 --ram 40K --flash 1M -o best.brook");
    let report = json(folder, &line);
    let points = report["points"].as_array().unwrap();
    let number = |point: &Value, key: &str| point[key].as_f64().unwrap();
    let costs = ["milliseconds", "arena_bytes", "model_bytes"];
    for point in points {
        assert!(number(point, "arena_bytes") <= 40.0 * 1024.0, "{point}");
        assert!(number(point, "milliseconds") > number(point, "instructions") / 25e3, "{point}");
        let beaten = points.iter().any(|other| {
            let quality = |point| (number(point, "agreement"), number(point, "sqnr_db"));
            let better = |key: &&str| number(other, key) < number(point, key);
            let as_good = |key: &&str| number(other, key) <= number(point, key);
            quality(other) >= quality(point)
                && costs.iter().all(as_good)
                && (quality(other) > quality(point) || costs.iter().any(better))
        });
        assert_eq!(point["on_front"], !beaten, "{point}");
    }
    let bits: Vec<_> = points.iter().map(|point| &point["weights"]).collect();
    assert!(bits.contains(&&8.into()) && bits.contains(&&4.into()), "{report}");

    let chosen = points.iter().find(|point| point["name"] == report["chosen"]).unwrap();
    let best = fs::read(folder.join("best.brook")).unwrap();
    assert_eq!(chosen["model_bytes"], best.len());
    // One of the fastest, and the smallest.
    let least = points.iter().min_by_key(|point| point["arena_bytes"].as_u64()).unwrap();
    for point in [chosen, least] {
        let command = point["command"].as_str().unwrap();
        let (command, _) = command.split_once(" -o ").unwrap();
        let (_, options) = point["command"].as_str().unwrap().split_once("best.brook").unwrap();
        let line = format!("{}{options} -o again.brook", &command["brooklet ".len()..]);
        let made = json(folder, &line);
        assert_eq!(made["arena_bytes"], point["arena_bytes"], "{line}");
        let evidence = &made["evidence"];
        assert_eq!(evidence["sqnr_db"], point["sqnr_db"], "judged by the same images: {line}");
        let inspected = json(folder, "inspect again.brook --board qemu-mps2-an386");
        assert_eq!(inspected["instructions"], point["instructions"], "{line}");
        if point["name"] == chosen["name"] {
            assert!(fs::read(folder.join("again.brook")).unwrap() == best, "{line}");
        }
    }
}

/// If nothing fits, the error tells by how much, and what would fit.
#[test]
fn what_does_not_fit_is_told_with_what_would() {
    let folder = resnet8();
    let folder = folder.path();
    let line = format!("fit {SEARCH} --input 40x40 --board qemu-microbit");
    let refused = brooklet(folder, &line).unwrap_err();
    let says = [
        "no model fits qemu-microbit: the closest model has 8-bit weights, 8-bit stream, and lacks",
        "bytes of RAM",
        "images of 36x36: --allow-smaller-input tries them",
        "another board: nucleo-f446re, qemu-mps2-an385,",
    ];
    let told = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(says.iter().all(|say| told.contains(say)), "{refused}");

    let report = json(folder, &format!("{line} --allow-smaller-input -o small.brook"));
    let points = report["points"].as_array().unwrap();
    let sizes = [36, 32].map(|side| serde_json::json!([side, side, 3]));
    for size in &sizes {
        assert!(points.iter().any(|point| point["input"] == *size), "{report}");
    }
    assert!(points.iter().all(|point| sizes.contains(&point["input"])), "{report}");
    let verdict = json(folder, "fit small.brook --board qemu-microbit");
    assert_eq!(verdict["boards"][0]["fits"], true, "{verdict}");
    let file = ModelFile::open(folder.join("small.brook")).unwrap();
    let chosen = points.iter().find(|point| point["name"] == report["chosen"]).unwrap();
    let [side, _, _] = file.input();
    assert_eq!(chosen["input"], serde_json::json!([side, side, 3]), "{chosen}");
    assert_eq!(file.preprocess().crop, Some([side as u32; 2]));

    let board = "--chip cortex-m4 --ram 60K --flash 512K";
    let late = format!("fit {SEARCH} {board} --max-ms 50");
    assert!(brooklet(folder, &late).unwrap_err().contains("add --mhz"));
    let refused = brooklet(folder, &format!("{late} --mhz 64")).unwrap_err();
    assert!(refused.contains("no model fits cortex-m4") && refused.contains(" ms"), "{refused}");
    let report = json(folder, &format!("fit {SEARCH} {board} --max-ms 250 --mhz 64"));
    let points = report["points"].as_array().unwrap();
    assert!(!points.is_empty(), "{report}");
    assert!(points.iter().all(|point| point["milliseconds"].as_f64() <= Some(250.0)), "{report}");

    let refused = brooklet(folder, "fit a.safetensors --arch resnet8").unwrap_err();
    assert!(refused.contains("is a network") && refused.contains("--calibrate DATA"), "{refused}");
    let refused = brooklet(folder, &format!("fit {SEARCH}")).unwrap_err();
    assert!(refused.contains("needs the board"), "{refused}");
}
