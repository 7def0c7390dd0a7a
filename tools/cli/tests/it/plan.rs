//! `brooklet plan` writes a plan of the same network, and shows it correctly.

use std::fs;
use std::path::Path;

use crate::shell::{brooklet, json, succeed};
use brooklet_plan::memory_map::MemoryMap;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use serde_json::Value;

/// A ResNet-20 in a folder of its own.
fn resnet20() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new resnet20 -o a.safetensors");
    let from = "a.safetensors --arch resnet20 --effort fast --calibrate random:2";
    let line = format!("quantize {from} --board qemu-mps2-an385 -o a.brook");
    succeed(folder.path(), &line);
    folder
}

fn report(folder: &Path, options: &str) -> Value {
    json(folder, &format!("plan a.brook --in-place --board qemu-mps2-an385 {options}"))
}

fn answer(folder: &Path) -> Vec<i16> {
    let file = ModelFile::open(folder.join("a.brook")).unwrap();
    let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 7) as u8).collect();
    file.simulator(HostBackend::Reference).unwrap().run(&pixels).logits
}

#[test]
fn a_plan_is_found_again_from_the_model_file() {
    let folder = resnet20();
    let path = folder.path().join("a.brook");
    let before = fs::read(&path).unwrap();
    let smallest = report(folder.path(), "");
    assert!(fs::read(&path).unwrap() == before, "the plan that quantize made");
    assert_eq!(smallest["verdict"]["fits"], true);
    assert_eq!(smallest["arena_bytes"], 17_728);
    assert_eq!(smallest["peak"]["bytes"], 17_728);
    let held = smallest["peak"]["holds"].as_array().unwrap();
    let sum: u64 = held.iter().map(|holds| holds["bytes"].as_u64().unwrap()).sum();
    assert_eq!(sum, 17_728);
}

#[test]
fn speed_takes_the_memory_that_it_is_given_and_changes_no_answer() {
    let folder = resnet20();
    let before = answer(folder.path());
    let smallest = report(folder.path(), "");
    let mut arena = smallest["arena_bytes"].as_u64().unwrap();
    let mut whole = None;
    let mut segments = smallest["segments"].as_array().unwrap().len();
    for ram in ["20000", "32K", "1M"] {
        let quick = report(folder.path(), &format!("--optimize speed --ram {ram}"));
        let bytes = quick["arena_bytes"].as_u64().unwrap();
        assert!(bytes >= arena && quick["verdict"]["fits"] == true, "{ram}: {bytes}");
        let count = quick["segments"].as_array().unwrap().len();
        assert!(count >= segments, "{ram}: {count} segments");
        (arena, segments, whole) = (bytes, count, quick["whole_bytes"].as_u64());
        assert_eq!(answer(folder.path()), before, "{ram}");
    }
    assert!(segments > smallest["segments"].as_array().unwrap().len());
    assert_eq!(Some(arena), whole);
    assert_eq!(report(folder.path(), ""), smallest, "and back");
}

#[test]
fn speed_takes_the_flash_that_it_is_given_and_changes_no_answer() {
    let folder = resnet20();
    let before = answer(folder.path());
    let instructions = || {
        let report = succeed(folder.path(), "inspect a.brook --board qemu-mps2-an385 --json");
        let report: Value = serde_json::from_str(&report).unwrap();
        let layers = report["layers"].as_array().unwrap();
        let winograd = |packing: &Value| packing.as_str().unwrap_or("").starts_with("winograd");
        let layers = layers.iter().filter(|layer| winograd(&layer["packing"])).count();
        (report["instructions"].as_u64().unwrap(), layers)
    };
    report(folder.path(), "");
    let (mut most, mut fewest) = instructions();
    assert_eq!(fewest, 0);
    for flash in [300_000, 400_000, 600_000, 1_200_000] {
        let quick = report(folder.path(), &format!("--optimize speed --flash {flash}"));
        assert!(quick["model_bytes"].as_u64().unwrap() <= flash, "{flash}: {quick}");
        let (now, winograd) = instructions();
        assert!(now < most && winograd >= fewest, "{flash}: {now} instructions, {winograd} layers");
        (most, fewest) = (now, winograd);
        assert_eq!(answer(folder.path()), before, "{flash}");
    }
    // All 3x3 convolutions at stride 1.
    assert_eq!(fewest, 17);
    // If flash has waits, weights that are read repeatedly are small.
    let quick = report(folder.path(), "--optimize speed --flash-wait 60 --cache 16K");
    assert!(quick["model_bytes"].as_u64().unwrap() < 300_000, "{quick}");
    let (now, winograd) = instructions();
    assert!(now > most && winograd == 17, "{now} instructions, {winograd} layers");
    assert_eq!(answer(folder.path()), before);
}

#[test]
fn a_board_that_is_too_small_is_told_by_how_much() {
    let folder = resnet20();
    let lacking = report(folder.path(), "--ram 16K --flash 1K");
    assert_eq!(lacking["verdict"]["fits"], false);
    assert_eq!(lacking["verdict"]["arena_bytes_left"], 16 * 1024 - 17_728);
    let text = succeed(folder.path(), "plan a.brook --board qemu-mps2-an385 --ram 16K");
    assert!(text.contains("does not fit qemu-mps2-an385: lacks 1,344 bytes of RAM;"), "{text}");
    let refused = brooklet(folder.path(), "plan a.brook --optimize speed").unwrap_err();
    assert!(refused.contains("add --board NAME"), "{refused}");
}

#[test]
fn the_map_shows_every_row() {
    let folder = resnet20();
    report(folder.path(), "--svg map.svg");
    let svg = fs::read_to_string(folder.path().join("map.svg")).unwrap();
    let file = ModelFile::open(folder.path().join("a.brook")).unwrap();
    let model = file.model();
    // Each row has a rectangle, unless it is updated in place.
    for layer in (0..model.layers().len()).filter(|&layer| model.layer(layer).shortcut().is_none())
    {
        let rows = 0..model.layer(layer).rows.get();
        let shown = |y: &u16| svg.contains(&format!("{}, row {y}: ", model.name(layer)));
        let updated = model.layers().iter().any(|record| record.shortcut() == Some(layer));
        assert!(updated || rows.clone().all(|y| shown(&y)), "{}", model.name(layer));
    }
    let map = MemoryMap::new(model);
    assert_eq!(map.bytes_at(map.peak()), model.arena_bytes());
    assert!(map.text().lines().count() == 17 && !map.text().is_empty());
}

/// Weights behind a driver are written last; a larger window reads less, and answers stay the same.
#[test]
fn a_weights_window_takes_what_it_says() {
    let folder = resnet20();
    let path = folder.path().join("a.brook");
    let before = answer(folder.path());
    let (mut least, mut resident) = (u64::MAX, 0);
    for bytes in [8_192, 20_000, 65_536, 1_000_000] {
        let plan = report(folder.path(), &format!("--weights-window {bytes}"));
        let window = &plan["weights_window"];
        let read = window["read_bytes"].as_u64().unwrap();
        assert!(window["bytes"] == bytes && read < least, "{plan}");
        (least, resident) = (read, window["resident_bytes"].as_u64().unwrap());
        let weights = window["weight_bytes"].as_u64().unwrap();
        let all = plan["model_bytes"].as_u64().unwrap();
        assert!(weights + resident == all && weights > 9 * all / 10, "{plan}");
        // Each weight is read once if the segments run one after another.
        assert!(bytes < 1_000_000 || read <= weights, "{read} of {weights}");
    }
    let file = ModelFile::open(&path).unwrap();
    assert_eq!(brooklet::resident_bytes(file.bytes()) as u64, resident);
    assert_eq!(answer(folder.path()), before);
    // If the file is planned again, its weights stay last.
    let written = fs::read(&path).unwrap();
    report(folder.path(), "");
    assert!(fs::read(&path).unwrap() == written);
    let small = brooklet(folder.path(), "plan a.brook --weights-window 1K").unwrap_err();
    let smallest = brooklet::smallest_window(file.model().graph());
    assert!(small.contains(&format!("--weights-window {smallest} is the smallest")), "{small}");
}

/// README's figure is what the command draws of a ResNet-8.
#[test]
fn the_figure_of_readme_is_drawn_from_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new resnet8 -o net.safetensors");
    let quantize =
        "quantize net.safetensors --arch resnet8 --effort fast --calibrate random:1 -o a.brook";
    succeed(folder.path(), quantize);
    succeed(folder.path(), "plan a.brook --rows-svg rows.svg");
    let drawn = fs::read_to_string(folder.path().join("rows.svg")).unwrap();
    let figure = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/guide/rows.svg");
    if std::env::var_os("BROOKLET_BLESS").is_some() {
        fs::write(figure, &drawn).unwrap();
    }
    let same = fs::read_to_string(figure).unwrap() == drawn;
    assert!(same, "src/guide/rows.svg is another drawing: BROOKLET_BLESS=1 writes it anew");
}
