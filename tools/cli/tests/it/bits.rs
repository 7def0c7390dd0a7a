//! Weights in few bits: only as few as the flash requires, and kept through all commands.

use std::fs;
use std::path::Path;

use crate::common::tries;
use crate::shell::{brooklet, json, resnet8};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use serde_json::Value;

/// Numbers of bits below eight.
const NARROW: [u64; 4] = [3, 4, 5, 6];

/// `a.brook`, made with these options.
fn quantize(folder: &Path, options: &str) -> Value {
    let from = "a.safetensors --arch resnet8 --effort fast --calibrate random:4";
    json(folder, &format!("quantize {from} -o a.brook {options}"))
}

/// Names of the layers with weights in this number of bits.
fn with_bits(report: &Value, bits: u64) -> Vec<String> {
    let layers = report["layers"].as_array().unwrap().iter();
    let with = layers.filter(|layer| layer["weight_bits"].as_u64() == Some(bits));
    with.map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
}

/// Bits of the weights of all layers that have weights.
fn bits_of_layers(report: &Value) -> Vec<u64> {
    let layers = report["layers"].as_array().unwrap().iter();
    layers.filter_map(|layer| layer["weight_bits"].as_u64()).collect()
}

fn answer(folder: &Path, backend: HostBackend) -> Vec<i16> {
    let file = ModelFile::open(folder.join("a.brook")).unwrap();
    let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 7) as u8).collect();
    file.simulator(backend).unwrap().run(&pixels).logits
}

#[test]
fn flash_takes_bits_from_layers_until_the_file_fits() {
    let folder = resnet8();
    let folder = folder.path();
    for &kernels in tries(&["portable"][..], &["portable", "armv7em", "rv32", "helium", "rvv"]) {
        let backend = format!("--backend {kernels}");
        let whole = quantize(folder, &backend);
        assert!(bits_of_layers(&whole).iter().all(|&bits| bits == 8));
        let bytes = whole["model_bytes"].as_u64().unwrap();
        let mut before = u64::MAX;
        for flash in [bytes, bytes - 1, bytes - 10_000, bytes - 45_000] {
            let report = quantize(folder, &format!("{backend} --flash {flash}"));
            let bytes_now = report["model_bytes"].as_u64().unwrap();
            assert!(bytes_now <= flash, "{kernels}, {flash}");
            let bits = bits_of_layers(&report);
            assert_eq!(
                bits.iter().all(|&bits| bits == 8),
                flash == bytes,
                "{kernels}, {flash}: {bits:?}"
            );
            // Not fewer bits than needed: the rest is less than the next choice would take.
            assert!(bytes_now + 8_000 > flash, "{kernels}: {bytes_now} of {flash}, {bits:?}");
            let sum = bits.iter().sum();
            assert!(sum < before, "{bits:?}");
            let expected = answer(folder, HostBackend::Reference);
            let runs = |host: &HostBackend| *host != HostBackend::Portable || kernels == "portable";
            for backend in HostBackend::of_this_machine().filter(runs) {
                assert_eq!(answer(folder, backend), expected, "{kernels}, {flash}, {backend:?}");
            }
            before = sum;
        }
    }
    let line = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:4 \
                -o b.brook --flash 20K";
    let refused = brooklet(folder, line).unwrap_err();
    assert!(
        refused.contains("bytes of flash even with all weights in 3 bits, more than 20,480"),
        "{refused}"
    );
    assert!(!fs::exists(folder.join("b.brook")).unwrap());
}

#[test]
fn layers_keep_their_bits_whatever_is_planned() {
    let folder = resnet8();
    let folder = folder.path();
    for &bits in tries(&NARROW[..1], &NARROW) {
        keep_their_bits(folder, bits);
    }
    // With eight bits nothing changes, and nothing is saved if no limit of flash is given.
    let whole = quantize(folder, "--weights 8 --flash 20K");
    assert!(bits_of_layers(&whole).iter().all(|&bits| bits == 8));
}

fn keep_their_bits(folder: &Path, bits: u64) {
    let made = quantize(folder, &format!("--weights {bits}"));
    let narrow = with_bits(&made, bits);
    assert_eq!(with_bits(&made, 8).len(), 2, "the first and the last");
    let text = brooklet(folder, "inspect a.brook").unwrap();
    assert_eq!(text.matches(&format!("ohwi-{bits}")).count(), narrow.len(), "{text}");
    let expected = answer(folder, HostBackend::Reference);
    for (board, packing) in [
        ("qemu-mps2-an386", "pairs"),
        ("qemu-mps2-an385", "eights"),
        ("qemu-mps3-an547", "vectors"),
        ("qemu-riscv-virt-rvv", "hwio"),
    ] {
        for options in ["", "--optimize speed"] {
            let plan = format!("plan a.brook --in-place --board {board} {options}");
            assert_eq!(json(folder, &plan)["verdict"]["fits"], true, "{board}");
            let report = json(folder, &format!("inspect a.brook --board {board}"));
            assert_eq!(with_bits(&report, bits), narrow, "{board} {options}");
            let layers = report["layers"].as_array().unwrap().iter();
            for layer in layers.filter(|layer| layer["weight_bits"] == bits) {
                assert_eq!(layer["packing"], format!("{packing}-{bits}"), "{board} {options}");
                // The costs of these kernels are known, or estimated.
                assert!(layer["instructions"].as_u64().unwrap() > 0, "{board}: {layer}");
            }
            assert_eq!(answer(folder, HostBackend::Auto), expected, "{board} {options}");
        }
    }
}

#[test]
fn what_has_no_choice_of_bits_is_refused() {
    let folder = resnet8();
    let folder = folder.path();
    let whole = quantize(folder, "--save-ranges ranges.json");
    let bytes = whole["model_bytes"].as_u64().unwrap();
    let saved = "quantize a.safetensors --arch resnet8 -o b.brook --ranges ranges.json --flash";
    // If the model fits, or the bits are given, there is nothing to choose.
    brooklet(folder, &format!("{saved} {bytes}")).unwrap();
    brooklet(folder, &format!("{saved} {} --weights 4", bytes - 1)).unwrap();
    let too_little = format!("{saved} {}", bytes - 1);
    for (line, says) in [
        (&*too_little, "with weights in 8 bits"),
        (&*too_little, "--calibrate DATA instead of --ranges; or --weights 4"),
        (
            "quantize a.safetensors --arch resnet8 --weights 2 -o b.brook",
            "possible values: 3, 4, 5, 6, 8",
        ),
        ("plan a.brook --flash 10K", "--board NAME"),
    ] {
        let refused = brooklet(folder, line).unwrap_err();
        assert!(refused.contains(says), "{line}: {refused}");
    }
}

/// Depthwise convolutions, which have few weights, keep eight bits.
#[test]
fn weights_of_depthwise_convolutions_stay_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../quantize/tests/made");
    fs::copy(made.join("maps_fomo.onnx"), folder.join("a.onnx")).unwrap();
    let line = "quantize a.onnx --weights 4 --effort fast --calibrate random:4 -o a.brook";
    let report = json(folder, line);
    let bits = |kind: &str| -> Vec<u64> {
        let layers = report["layers"].as_array().unwrap().iter();
        let of_kind = layers.filter(|layer| layer["kind"] == kind);
        of_kind.map(|layer| layer["weight_bits"].as_u64().unwrap()).collect()
    };
    assert_eq!(bits("depthwise_conv"), [8, 8, 8]);
    assert!(bits("conv").contains(&4), "{:?}", bits("conv"));
}
