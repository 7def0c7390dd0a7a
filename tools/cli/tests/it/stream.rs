//! A residual stream in 16 bits: the layers that make it, the agreement of all backends, and the
//! report about it.

use std::path::Path;

use crate::shell::{brooklet, json, resnet8};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use serde_json::Value;

const FROM: &str = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:40";

fn answer(folder: &Path, name: &str, backend: HostBackend) -> Answer {
    let file = ModelFile::open(folder.join(name)).unwrap();
    let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 7) as u8).collect();
    file.simulator(backend).unwrap().run(&pixels)
}

/// Names of the layers whose outputs are the stream, or scores.
fn in_16_bits(file: &ModelFile) -> Vec<String> {
    let model = file.model();
    let layers = model.layers().iter().enumerate();
    let with = layers.filter(|(_, layer)| layer.is_stream16());
    with.map(|(index, _)| model.name(index).to_owned()).collect()
}

#[test]
fn blocks_shortcuts_and_scores_are_in_16_bits() {
    let folder = resnet8();
    let folder = folder.path();
    let eight: Value = json(folder, &format!("{FROM} -o 8.brook"));
    let same = json(folder, &format!("{FROM} -o same.brook --stream 8"));
    assert_eq!(eight["arena_bytes"], same["arena_bytes"]);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert_eq!(read("8.brook"), read("same.brook"));
    let report = json(folder, &format!("{FROM} -o 16.brook --stream 16 --self-test 2"));
    assert_eq!(report["stream"]["bits"], 16);
    assert_eq!(report["stream"]["other"]["arena_bytes"], eight["arena_bytes"]);
    assert!(report["arena_bytes"].as_u64() > eight["arena_bytes"].as_u64());
    let file = ModelFile::open(folder.join("16.brook")).unwrap();
    let names = [
        "stem",
        "stage1.block1.conv2",
        "stage2.block1.shortcut",
        "stage2.block1.conv2",
        "stage3.block1.shortcut",
        "stage3.block1.conv2",
        "fc",
    ];
    assert_eq!(in_16_bits(&file), names);
    let expected = answer(folder, "16.brook", HostBackend::Reference);
    for backend in HostBackend::of_this_machine() {
        assert_eq!(answer(folder, "16.brook", backend), expected, "{backend:?}");
    }
    // The scores are the same, in finer steps.
    let fine = file.model().logits_quantization();
    let coarse = ModelFile::open(folder.join("8.brook")).unwrap();
    let coarse = coarse.model().logits_quantization();
    assert!(fine.scale < coarse.scale / 100.0, "{fine:?} {coarse:?}");
    let int8 = answer(folder, "8.brook", HostBackend::Reference);
    for (&fine_score, &coarse_score) in expected.logits.iter().zip(&int8.logits) {
        let apart = fine.dequantize(fine_score) - coarse.dequantize(coarse_score);
        assert!(apart.abs() < 8.0 * coarse.scale, "{expected:?} {int8:?}");
    }
    // Its test images pass with every plan.
    for options in ["", "--board qemu-mps2-an386 --optimize speed"] {
        brooklet(folder, &format!("plan 16.brook {options} -o planned.brook")).unwrap();
        brooklet(folder, "check planned.brook").unwrap();
        assert_eq!(answer(folder, "planned.brook", HostBackend::Auto), expected, "{options}");
    }
    let compare = "compare --arch resnet8 a.safetensors 16.brook random:4";
    let text = brooklet(folder, compare).unwrap();
    assert_eq!(text.matches(", int16 ").count(), names.len(), "{text}");
}

#[test]
fn auto_asks_the_gain_and_the_board() {
    let folder = resnet8();
    let folder = folder.path();
    let found = json(folder, &format!("{FROM} -o a.brook --stream auto"));
    let (stream, evidence) = (&found["stream"], &found["evidence"]);
    let db = |value: &Value| value["sqnr_db"].as_f64().unwrap();
    let [now, other] = [db(evidence), db(&stream["other"])];
    let file = ModelFile::open(folder.join("a.brook")).unwrap();
    match stream["bits"].as_u64() {
        Some(16) => assert!(now > other + 0.5 && !in_16_bits(&file).is_empty(), "{found}"),
        _ => assert!(other <= now + 0.5 && in_16_bits(&file).is_empty(), "{found}"),
    }
    // A board that has no room for it.
    let arena = |report: &Value| report["arena_bytes"].as_u64().unwrap();
    let board = "--board qemu-mps2-an386";
    let eight = json(folder, &format!("{FROM} -o b.brook {board}"));
    let tight = format!("{FROM} -o b.brook {board} --ram {} --stream auto", arena(&eight));
    let tight = json(folder, &tight);
    assert_eq!(tight["stream"]["bits"], 8);
    assert_eq!(arena(&tight), arena(&eight));
    assert!(tight["stream"]["other"]["arena_bytes"].as_u64().unwrap() > arena(&eight));
}

#[test]
fn what_contradicts_is_refused() {
    let folder = resnet8();
    let folder = folder.path();
    brooklet(folder, &format!("{FROM} -o a.brook --save-ranges r.json")).unwrap();
    let from = "quantize a.safetensors --arch resnet8 --ranges r.json -o b.brook";
    for (command, word) in [
        (format!("{FROM} -o b.brook --stream 16 --int16 last"), "--int16"),
        (format!("{FROM} -o b.brook --stream 12"), "12"),
        (format!("{from} --stream auto"), "--stream auto: gains are measured on images"),
    ] {
        let refused = brooklet(folder, &command).unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
    // Ranges are enough, without images.
    brooklet(folder, &format!("{from} --stream 16")).unwrap();
    let file = ModelFile::open(folder.join("b.brook")).unwrap();
    assert_eq!(in_16_bits(&file).len(), 7);
}
