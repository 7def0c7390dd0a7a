//! Weights in four bits: as many as the flash asks for, and kept wherever the model goes.

use std::fs;
use std::path::Path;

use crate::shell::{brooklet, json, resnet8};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use serde_json::Value;

/// `a.brook`, made with these options.
fn quantize(folder: &Path, options: &str) -> Value {
    let from = "a.safetensors --arch resnet8 --effort fast --calibrate random:4";
    json(folder, &format!("quantize {from} -o a.brook {options}"))
}

/// Names of layers by the bits of their weights.
fn with_bits(report: &Value, bits: u64) -> Vec<String> {
    let layers = report["layers"].as_array().unwrap().iter();
    let with = layers.filter(|layer| layer["weight_bits"].as_u64() == Some(bits));
    with.map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
}

fn answer(folder: &Path, backend: HostBackend) -> Vec<i16> {
    let file = ModelFile::open(folder.join("a.brook")).unwrap();
    let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 7) as u8).collect();
    file.simulator(backend).unwrap().run(&pixels).logits
}

#[test]
fn flash_takes_bits_from_one_layer_after_another_until_the_file_fits() {
    let folder = resnet8();
    let folder = folder.path();
    for kernels in ["portable", "armv7em", "rv32", "helium", "rvv"] {
        let backend = format!("--backend {kernels}");
        let whole = quantize(folder, &backend);
        assert_eq!(with_bits(&whole, 4), [""; 0]);
        let bytes = whole["model_bytes"].as_u64().unwrap();
        let mut before = Vec::new();
        for flash in [bytes, bytes - 1, bytes - 10_000, bytes - 25_000] {
            let report = quantize(folder, &format!("{backend} --flash {flash}"));
            assert!(report["model_bytes"].as_u64().unwrap() <= flash, "{kernels}, {flash}");
            let halves = with_bits(&report, 4);
            // Those that were worth the most are still: one more at least, but where all fits.
            assert!(before.iter().all(|name| halves.contains(name)), "{halves:?} from {before:?}");
            assert_eq!(halves.is_empty(), flash == bytes, "{kernels}, {flash}: {halves:?}");
            assert!(flash > bytes - 10_000 || halves.len() > before.len(), "{halves:?}");
            let expected = answer(folder, HostBackend::Reference);
            let runs = |host: &HostBackend| *host != HostBackend::Portable || kernels == "portable";
            for backend in HostBackend::of_this_machine().filter(runs) {
                assert_eq!(answer(folder, backend), expected, "{kernels}, {flash}, {backend:?}");
            }
            before = halves;
        }
    }
    let line = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:4 \
                -o b.brook --flash 20K";
    let refused = brooklet(folder, line).unwrap_err();
    assert!(refused.contains("bytes of flash with all weights in 4 bits, not 20,480"), "{refused}");
    assert!(!fs::exists(folder.join("b.brook")).unwrap());
}

#[test]
fn layers_keep_their_four_bits_whatever_is_planned() {
    let folder = resnet8();
    let folder = folder.path();
    let made = quantize(folder, "--weights 4");
    let halves = with_bits(&made, 4);
    assert_eq!(with_bits(&made, 8).len(), 2, "the first and the last");
    let text = brooklet(folder, "inspect a.brook").unwrap();
    assert_eq!(text.matches("ohwi-4").count(), halves.len(), "{text}");
    let expected = answer(folder, HostBackend::Reference);
    for (board, packing) in [
        ("qemu-mps2-an386", "pairs-4"),
        ("qemu-mps2-an385", "eights-4"),
        ("qemu-mps3-an547", "vectors-4"),
        ("qemu-riscv-virt-rvv", "hwio-4"),
    ] {
        for options in ["", "--optimize speed"] {
            let plan = format!("plan a.brook --in-place --board {board} {options}");
            assert_eq!(json(folder, &plan)["verdict"]["fits"], true, "{board}");
            let report = json(folder, &format!("inspect a.brook --board {board}"));
            assert_eq!(with_bits(&report, 4), halves, "{board} {options}");
            let layers = report["layers"].as_array().unwrap().iter();
            for layer in layers.filter(|layer| layer["weight_bits"] == 4) {
                assert_eq!(layer["packing"], packing, "{board} {options}");
                // What they take is known, or thought to be.
                assert!(layer["instructions"].as_u64().unwrap() > 0, "{board}: {layer}");
            }
            assert_eq!(answer(folder, HostBackend::Auto), expected, "{board} {options}");
        }
    }
    // Eight bits are what they were, and flash that was not asked for is not saved.
    let whole = quantize(folder, "");
    assert_eq!(with_bits(&quantize(folder, "--weights 8 --flash 20K"), 4), [""; 0]);
    assert_eq!(with_bits(&whole, 4), [""; 0]);
}

#[test]
fn what_has_no_choice_of_bits_is_refused() {
    let folder = resnet8();
    let folder = folder.path();
    let whole = quantize(folder, "--save-ranges ranges.json");
    let bytes = whole["model_bytes"].as_u64().unwrap();
    let saved = "quantize a.safetensors --arch resnet8 -o b.brook --ranges ranges.json --flash";
    // What fits needs no choice, nor does who has chosen.
    brooklet(folder, &format!("{saved} {bytes}")).unwrap();
    brooklet(folder, &format!("{saved} {} --weights 4", bytes - 1)).unwrap();
    let too_little = format!("{saved} {}", bytes - 1);
    for (line, says) in [
        (&*too_little, "with weights in 8 bits"),
        (&*too_little, "--calibrate DATA instead of --ranges; or --weights 4"),
        ("quantize a.safetensors --arch resnet8 --weights 3 -o b.brook", "possible values: 4, 8"),
        ("plan a.brook --flash 10K", "--board NAME"),
    ] {
        let refused = brooklet(folder, line).unwrap_err();
        assert!(refused.contains(says), "{line}: {refused}");
    }
}
