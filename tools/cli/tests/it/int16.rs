//! Outputs in int16: for layers that are named, or that are worth it, and kept through all
//! commands.

use std::path::Path;

use crate::shell::{brooklet, json, resnet8};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use serde_json::Value;

/// `a.brook`, made with these options.
fn quantize(folder: &Path, options: &str) -> Value {
    let from = "a.safetensors --arch resnet8 --effort fast --calibrate random:40";
    json(folder, &format!("quantize {from} -o a.brook {options}"))
}

/// Names of the layers whose outputs are int16.
fn in_int16(report: &Value) -> Vec<String> {
    let layers = report["layers"].as_array().unwrap().iter();
    let with = layers.filter(|layer| layer["activation_bits"] == 16);
    with.map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
}

fn answer(folder: &Path, backend: HostBackend) -> Answer {
    let file = ModelFile::open(folder.join("a.brook")).unwrap();
    let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 7) as u8).collect();
    file.simulator(backend).unwrap().run(&pixels)
}

#[test]
fn layers_and_blocks_have_names() {
    let folder = resnet8();
    let folder = folder.path();
    let int8 = quantize(folder, "");
    assert_eq!(in_int16(&int8), [""; 0]);
    for (words, names) in [
        ("first", &["stem"][..]),
        ("last", &["pool", "fc"]),
        ("stage2.block1.conv1", &["stage2.block1.conv1"]),
        ("stage1.block1,first", &["stem", "stage1.block1.conv1", "stage1.block1.conv2"]),
        ("stage2", &["stage2.block1.conv1", "stage2.block1.shortcut", "stage2.block1.conv2"]),
    ] {
        let report = quantize(folder, &format!("--int16 {words}"));
        assert_eq!(in_int16(&report), names, "{words}");
        let arena = |report: &Value| report["arena_bytes"].as_u64().unwrap();
        assert_eq!(report["int16"]["int8_arena_bytes"], arena(&int8), "{words}");
        assert!(words == "last" || arena(&report) > arena(&int8), "{words}");
        let rows = report["layers"].as_array().unwrap().iter();
        for layer in rows.filter(|layer| layer["activation_bits"] == 16) {
            let [_, columns, channels] = [0, 1, 2].map(|i| layer["shape"][i].as_u64().unwrap());
            assert_eq!(layer["row_bytes"], 2 * columns * channels, "{layer}");
        }
        let expected = answer(folder, HostBackend::Reference);
        for backend in HostBackend::of_this_machine() {
            assert_eq!(answer(folder, backend), expected, "{words}, {backend:?}");
        }
        let text = brooklet(folder, "inspect a.brook").unwrap();
        assert_eq!(text.matches(" int16 ").count(), names.len(), "{text}");
        let compare = "compare --arch resnet8 a.safetensors a.brook random:4";
        let text = brooklet(folder, compare).unwrap();
        assert_eq!(text.matches(", int16 ").count(), names.len(), "{text}");
    }
}

#[test]
fn layers_keep_int16_whatever_is_planned() {
    let folder = resnet8();
    let folder = folder.path();
    // Weights of layers that read or write int16 have eight bits.
    let made = quantize(folder, "--int16 stage1.block1,last --weights 4");
    let names = in_int16(&made);
    assert_eq!(names.len(), 4);
    let expected = answer(folder, HostBackend::Reference);
    for (board, fits) in [
        ("qemu-mps2-an386", true),
        ("qemu-mps3-an547", true),
        ("qemu-riscv-virt-rvv", true),
        ("qemu-netduinoplus2", false),
    ] {
        for options in ["", "--optimize speed"] {
            let plan = format!("plan a.brook --in-place --board {board} {options}");
            assert_eq!(json(folder, &plan)["verdict"]["fits"], fits, "{board}");
            let report = json(folder, &format!("inspect a.brook --board {board}"));
            assert_eq!(in_int16(&report), names, "{board} {options}");
            for layer in report["layers"].as_array().unwrap() {
                let (name, bits) = (layer["name"].as_str().unwrap(), &layer["weight_bits"]);
                if names.iter().any(|int16| int16 == name) && !bits.is_null() {
                    assert_eq!((bits, &layer["packing"]), (&8.into(), &"ohwi".into()), "{name}");
                }
                // The costs of these kernels are known.
                let instructions = layer["instructions"].as_u64();
                assert!(!fits || instructions > Some(0) || name == "input", "{board}: {layer}");
            }
            assert_eq!(answer(folder, HostBackend::Auto), expected, "{board} {options}");
        }
    }
    let told = brooklet(folder, "plan a.brook --board qemu-netduinoplus2").unwrap();
    assert!(told.contains("lacks int16; what would fit: a model without --int16"), "{told}");
    let members = "ensemble a.brook a.brook -o all.brook";
    brooklet(folder, members).unwrap();
    // An ensemble's softmax reads logits in int16.
    let all = ModelFile::open(folder.join("all.brook")).unwrap();
    assert!(all.model().layers().iter().filter(|layer| layer.is_int16()).count() == 8);
}

#[test]
fn what_is_no_layer_is_refused() {
    let folder = resnet8();
    let folder = folder.path();
    let quantize = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:4";
    for (words, says) in [
        ("stage9", "no layer or block `stage9`"),
        ("stage1.block1.conv", "no layer or block"),
        ("input", "`input` is exact in int8"),
        ("auto,first", "auto finds the layers itself"),
    ] {
        let refused = brooklet(folder, &format!("{quantize} --int16 {words} -o b.brook"));
        let refused = refused.unwrap_err();
        assert!(refused.contains(says) && refused.contains("help"), "{words}: {refused}");
    }
    brooklet(folder, &format!("{quantize} -o b.brook --save-ranges r.json")).unwrap();
    let from = "quantize a.safetensors --arch resnet8 --ranges r.json -o c.brook --int16";
    let refused = brooklet(folder, &format!("{from} auto")).unwrap_err();
    assert!(refused.contains("gains are measured on images"), "{refused}");
    assert_eq!(in_int16(&json(folder, &format!("{from} first"))), ["stem"]);
}

/// On a trained network each chosen layer gains what was measured, and the model gains from all:
/// for ResNet-8, whose int8 model has 37.4 dB on unseen images, more than 6 dB. Without learned
/// weights there is less to gain, but the test is faster.
#[test]
fn what_is_worth_it_is_found() {
    let Some(data) = crate::common::shared_data("int16") else { return };
    let data = data.canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (effort, of_last, of_found) =
        crate::common::tries(("--effort fast", 0.5, 0.5), ("", 2.0, 5.0));
    let path = |name: &str| data.join(name).display().to_string();
    let network = path("models/mlperf_resnet8_float_opset17_bn.onnx");
    let all = std::fs::read(data.join("cifar10/calib_train_1000.bin")).unwrap();
    std::fs::write(folder.join("c.bin"), &all[..crate::common::tries(100, 1000) * 3073]).unwrap();
    let test = path("cifar10/test_first5000.bin");
    let float = path("expected/mlperf_resnet8_float_logits_1000.npy");
    let [int8, last, found] = ["", "--int16 last", "--int16 auto"].map(|options| {
        let from = format!("{network} --calibrate c.bin");
        let report = json(folder, &format!("quantize {from} -o a.brook {effort} {options}"));
        let eval = json(folder, &format!("eval a.brook {test} --limit 1000 --float {float}"));
        let db = eval["sqnr_db"].as_f64().unwrap();
        println!("{options}: {db:.2} dB, {:?}", in_int16(&report));
        (report, db)
    });
    assert!(last.1 >= int8.1 + of_last, "{} dB, in int8 {} dB", last.1, int8.1);
    assert!(found.1 >= int8.1 + of_found, "{} dB, in int8 {} dB", found.1, int8.1);
    let int16 = &found.0["int16"];
    let (before, now) = (&int16["int8_sqnr_db"], &found.0["evidence"]["sqnr_db"]);
    assert_eq!(before, &int8.0["evidence"]["sqnr_db"]);
    assert!(now.as_f64().unwrap() > before.as_f64().unwrap() + of_found);
    let layers = int16["layers"].as_array().unwrap();
    assert_eq!(layers.len(), in_int16(&found.0).len());
    for layer in layers {
        assert!(layer["gain_db"].as_f64().unwrap() >= 0.25, "{layer}");
    }
    // With int16 throughout the arena would be twice as large.
    let arena = |report: &Value| report["arena_bytes"].as_u64().unwrap();
    assert!(arena(&found.0) < 2 * arena(&int8.0));
}
