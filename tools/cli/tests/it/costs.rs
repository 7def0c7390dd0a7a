//! Compares the planner's cost model of kernels with counts of every backend.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice;

use crate::onnx::{Onnx, attribute, scalar, weight};
use crate::shell::succeed;
use brooklet::format::Packing;
use brooklet_firmware::{Board, Profile, Registry, Spec};
use brooklet_plan::cost;
use brooklet_plan::cost::{Coefficients, Work};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_quantize::data::Dataset;
use rayon::prelude::*;
use rten_onnx::onnx::AttributeProto;

/// Tolerance for the prediction for a whole network, in percent.
const TOLERANCE: f64 = 5.0;

/// The program with that packing for as many layers as the board has room for.
fn packed(program: &Program, packing: Packing, spec: &Spec) -> Program {
    let mut packed = program.clone();
    for index in 0..packed.layers.len() {
        let before = packed.layers[index].record.packing;
        let in_bytes = packed.layers[index].record.packing().bits() == 8;
        if in_bytes && packed.layers[index].can_be(packing) {
            packed.layers[index].record.packing = packing as u8;
            let planned = plan(&packed, Goal::Size).unwrap();
            let fits = planned.arena_bytes <= spec.arena_bytes as usize
                && packed.write(&planned).len() <= spec.slot.bytes as usize;
            if !fits {
                packed.layers[index].record.packing = before;
            }
        }
    }
    packed
}

/// The packings in which a network is counted.
#[derive(Clone, Copy)]
enum Packings {
    All,
    /// For what does not depend on the packing.
    Smallest,
}

/// A count: kernel, work, instructions.
type Count = (&'static str, Work, f64);

/// The board's counts for an image of noise.
fn profile(registry: &Registry, spec: &Spec, file: &ModelFile) -> Profile {
    let mut report = |line: &str| eprintln!("{line}");
    let mut board = Board::start(registry, spec, file.path(), &mut report).unwrap();
    let noise = Dataset::open("random:1", file.input(), &file.preprocess()).unwrap();
    let pixels = noise.get(0).unwrap().pixels;
    let row = file.model().input().row_bytes();
    board.link().infer(pixels.as_slice().unwrap().chunks(row)).unwrap();
    board.link().profile().unwrap()
}

/// The counts of a network in the packings that the board runs.
fn counts(
    registry: &Registry,
    folder: &Path,
    spec: &Spec,
    network: &str,
    packings: Packings,
) -> Vec<Vec<Count>> {
    let file = ModelFile::open(folder.join(network)).unwrap();
    if !spec.int16 && file.model().layers().iter().any(|layer| layer.has_int16()) {
        return Vec::new();
    }
    let kernels = Kernels::of(spec).unwrap();
    let base = kernels.packed(Program::read(&file.model()));
    let quicker = match packings {
        Packings::All => kernels.quicker(),
        Packings::Smallest => &[],
    };
    let quicker = quicker.iter().map(|&packing| packed(&base, packing, spec));
    let mut counts = Vec::new();
    for (number, program) in std::iter::once(base.clone()).chain(quicker).enumerate() {
        let planned = plan(&program, Goal::Size).unwrap();
        let name = format!("{}.{number}.{network}", spec.name);
        let file = ModelFile::new(folder.join(&name), program.write(&planned)).unwrap();
        if file.bytes().len() > spec.slot.bytes as usize
            || planned.arena_bytes > spec.arena_bytes as usize
        {
            continue;
        }
        std::fs::write(file.path(), file.bytes()).unwrap();
        let model = file.model();
        let profile = profile(registry, spec, &file);
        let instructions: Vec<f64> = profile.layers.iter().map(|&layer| layer as f64).collect();
        if instructions.len() < model.layers().len() {
            continue;
        }
        // The instructions that no layer counts belong to the input.
        let rest = profile.total as f64 - instructions.iter().sum::<f64>();
        let count = |(index, count): (usize, &f64)| {
            let record = model.layer(index);
            let (kernel, work) = cost::work(record, model.input_of(record).shape());
            (kernel, work, if index == 0 { rest } else { *count })
        };
        counts.push(instructions.iter().enumerate().map(count).collect());
    }
    counts
}

/// The coefficients with the smallest errors, for large and small layers, and none below zero: each
/// in turn is set to its best value, given the others, until none changes.
fn fit(counts: &[&Count]) -> Work {
    let weighted = |count: &Count| {
        let weight = 1.0 / count.2.max(1.0).sqrt();
        (count.1.map(|work| work * weight), count.2 * weight)
    };
    let counts: Vec<(Work, f64)> = counts.iter().map(|count| weighted(count)).collect();
    let mut fitted = Work::default();
    for _ in 0..100_000 {
        let before = fitted;
        for column in 0..fitted.len() {
            let (mut above, mut below) = (0.0, 0.0);
            for (work, counted) in &counts {
                let others: f64 = work.iter().zip(fitted).map(|(work, each)| work * each).sum();
                above += work[column] * (counted - others + work[column] * fitted[column]);
                below += work[column] * work[column];
            }
            fitted[column] = if below > 0.0 { (above / below).max(0.0) } else { 0.0 };
        }
        if before.iter().zip(fitted).all(|(before, now)| (before - now).abs() <= 1e-7 * now) {
            break;
        }
    }
    fitted.map(|each| (each * 1e4).round() / 1e4)
}

/// One network for each kind of layer that `cargo xtask bench` does not compare: one with max-pools
/// and maps whose size is not a multiple of any block, one with the operators of other families, and
/// one with additions that are not joins.
#[test]
fn predictions_are_near_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let pooled = [(pooled(folder.path()), Packings::All)];
    let mixed = [(mixed(folder.path()), Packings::Smallest)];
    let added = mlperf(folder.path()).map(|name| (name, Packings::Smallest));
    let networks: Vec<_> = pooled.into_iter().chain(mixed).chain(added).collect();
    compare(folder.path(), &networks, false);
}

/// With `BROOKLET_BLESS` the coefficients are fitted again; if `BROOKLET_BOARD` names a board, only
/// those of its backend.
#[test]
#[ignore = "minutes: cargo xtask test --all"]
fn predictions_are_near_the_counts_of_all_networks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut networks = made(folder, &["resnet8", "resnet8-26", "resnet20", "preact-resnet20"]);
    for (name, bits, narrow) in [
        ("resnet8", 4, "resnet8-4"),
        ("resnet8-26", 4, "resnet8-26-4"),
        ("resnet8", 3, "resnet8-3"),
        ("resnet8", 5, "resnet8-5"),
        ("resnet8-26", 6, "resnet8-26-6"),
    ] {
        let from = format!("{name}.safetensors --arch {name} --effort fast --calibrate random:2");
        succeed(folder, &format!("quantize {from} --weights {bits} -o {narrow}.brook"));
        networks.push(narrow);
    }
    // One tensor in int16 affects several layers: those that write it, read it, and add it.
    for (name, layers, in_int16) in [
        ("resnet8-26", "first,stage3.block1.conv1,last", "resnet8-26-16"),
        ("preact-resnet20", "stage1.block2", "preact-resnet20-16"),
    ] {
        let from = format!("{name}.safetensors --arch {name} --effort fast --calibrate random:2");
        succeed(folder, &format!("quantize {from} --int16 {layers} -o {in_int16}.brook"));
        networks.push(in_int16);
    }
    networks.push(pooled(folder));
    let from = "pooled.onnx --effort fast --calibrate random:2";
    succeed(folder, &format!("quantize {from} --int16 first -o pooled-16.brook"));
    networks.push("pooled-16");
    networks.extend(mlperf(folder));
    networks.push(mixed(folder));
    networks.extend(made(folder, &["mobilenetv2-35", "resnext20"]));
    let mut networks: Vec<_> = networks.into_iter().map(|name| (name, Packings::All)).collect();
    let others = made(folder, &["se-resnet20", "densenet40", "highway20"]);
    networks.extend(others.into_iter().map(|name| (name, Packings::Smallest)));
    compare(folder, &networks, std::env::var_os("BROOKLET_BLESS").is_some());
}

/// Networks by name, with weights of `brooklet new`.
fn made(folder: &Path, networks: &[&'static str]) -> Vec<&'static str> {
    for name in networks {
        succeed(folder, &format!("new {name} -o {name}.safetensors"));
        let from = format!("{name}.safetensors --arch {name} --effort fast --calibrate random:2");
        succeed(folder, &format!("quantize {from} -o {name}.brook"));
    }
    networks.to_vec()
}

/// Of the named networks only those for large images have a max-pool, and maps whose size is not a
/// multiple of any block.
fn pooled(folder: &Path) -> &'static str {
    let pads = attribute("pads", &[1; 4]);
    let [halved, pooled] =
        [("strides", 2), ("kernel_shape", 3)].map(|(name, size)| attribute(name, &[size; 2]));
    let around = slice::from_ref(&pads);
    let pooled = Onnx::new(&[1, 3, 56, 56])
        .floats("stem", &[64, 3, 3, 3], weight)
        .floats("a1", &[64, 64, 3, 3], weight)
        .floats("a2", &[64, 64, 3, 3], weight)
        .floats("down", &[128, 64, 3, 3], weight)
        .floats("b1", &[128, 128, 3, 3], weight)
        .floats("b2", &[128, 128, 3, 3], weight)
        .floats("fc", &[10, 128], weight)
        .node("Conv", "x stem", "c", &[halved.clone(), pads.clone()])
        .node("MaxPool", "c", "m", &[pooled, halved.clone()])
        .node("Conv", "m a1", "a", around)
        .node("Relu", "a", "ar", &[])
        .node("Conv", "ar a2", "as", around)
        .node("Add", "as m", "at", &[])
        .node("Relu", "at", "au", &[])
        .node("Conv", "au down", "d", &[halved, pads.clone()])
        .node("Conv", "d b1", "b", around)
        .node("Relu", "b", "br", &[])
        .node("Conv", "br b2", "bs", around)
        .node("Add", "bs d", "bt", &[]);
    ended(folder, "pooled", pooled, "bt")
}

/// Ends a network with a linear layer `fc` over the means of the map `last`, and quantizes it.
fn ended(folder: &Path, name: &'static str, network: Onnx, last: &str) -> &'static str {
    let network = network
        .node("GlobalAveragePool", last, "mean", &[])
        .node("Flatten", "mean", "flat", &[])
        .node("Gemm", "flat fc", "y", &[scalar("transB", 1)]);
    std::fs::write(folder.join(format!("{name}.onnx")), network.bytes()).unwrap();
    let options = "--effort fast --calibrate random:2";
    succeed(folder, &format!("quantize {name}.onnx {options} -o {name}.brook"));
    name
}

/// Has a layer of each operator that other families than ResNets have, at two sizes: convolutions of
/// each channel and in groups, functions of a number, products, concatenations, averages over a window,
/// and mirrored borders.
fn mixed(folder: &Path) -> &'static str {
    let [strides, three] =
        [("strides", 2), ("kernel_shape", 3)].map(|(n, of)| attribute(n, &[of; 2]));
    let pads = attribute("pads", &[1; 4]);
    let mode = AttributeProto {
        name: Some("mode".into()),
        s: Some("reflect".into()),
        ..Default::default()
    };
    let mut mixed = Onnx::new(&[1, 3, 40, 40])
        .floats("stem", &[16, 3, 3, 3], weight)
        .ints("border", &[0, 0, 1, 1, 0, 0, 1, 1])
        .node("Pad", "x border", "bordered", slice::from_ref(&mode))
        .node("Conv", "bordered stem", "a", &[]);
    for (block, channels) in [16i64, 32].into_iter().enumerate() {
        let name = |part: &str| format!("{part}{block}");
        let (of, made) =
            (if block == 0 { "a".into() } else { name("a") }, format!("a{}", block + 1));
        let alone = scalar("group", channels);
        let in_groups = scalar("group", 4);
        mixed = mixed
            .floats(&name("dw"), &[channels, 1, 3, 3], weight)
            .floats(&name("twice"), &[2 * channels, 1, 3, 3], weight)
            .floats(&name("gw"), &[channels, channels / 4, 3, 3], weight)
            .floats(&name("slope"), &[channels, 1, 1], move |index| 0.1 + 0.02 * index as f32)
            .floats(&name("half"), &[channels, 2 * channels, 1, 1], weight)
            .node(
                "Conv",
                &format!("{of} {}", name("dw")),
                &name("d"),
                &[alone.clone(), pads.clone()],
            )
            .node("HardSwish", &name("d"), &name("h"), &[])
            .node(
                "Conv",
                &format!("{} {}", name("h"), name("gw")),
                &name("g"),
                &[in_groups, pads.clone()],
            )
            .node("PRelu", &format!("{} {}", name("g"), name("slope")), &name("p"), &[])
            .node("GlobalAveragePool", &name("p"), &name("m"), &[])
            .node("Sigmoid", &name("m"), &name("s"), &[])
            .node("Mul", &format!("{} {}", name("p"), name("s")), &name("e"), &[])
            .node("Sigmoid", &name("e"), &name("t"), &[])
            .node("Mul", &format!("{} {}", name("e"), name("t")), &name("f"), &[])
            .node("Concat", &format!("{of} {}", name("f")), &name("c"), &[scalar("axis", 1)])
            .node("Conv", &format!("{} {}", name("c"), name("half")), &name("n"), &[])
            .node(
                "Conv",
                &format!("{} {}", name("n"), name("twice")),
                &name("w"),
                &[alone, pads.clone()],
            )
            .node(
                "AveragePool",
                &name("w"),
                &made,
                &[three.clone(), strides.clone(), pads.clone()],
            );
    }
    ended(folder, "mixed", mixed.floats("fc", &[10, 64], weight), "a2")
}

/// Has additions that are not joins, and a softmax.
fn mlperf(folder: &Path) -> Option<&'static str> {
    let data = crate::common::shared_data("costs of adds and softmax")?;
    let network = data.canonicalize().unwrap().join("models/mlperf_resnet8_int8.tflite");
    succeed(folder, &format!("quantize {} -o mlperf.brook", network.display()));
    Some("mlperf")
}

/// Counts the networks on a board of each backend, and compares; or fits the coefficients again.
fn compare(folder: &Path, networks: &[(&str, Packings)], bless: bool) {
    let registry = Registry::find().unwrap();
    // One core per backend: others take the same instructions.
    let mut backends: BTreeMap<&str, &Spec> = BTreeMap::new();
    for spec in registry.boards().iter().filter(|spec| spec.qemu.is_some()) {
        let best = backends.entry(&spec.backend).or_insert(spec);
        if spec.ram.bytes > best.ram.bytes {
            *best = spec;
        }
    }
    if let Ok(name) = std::env::var("BROOKLET_BOARD") {
        backends.retain(|_, spec| spec.name == name);
    }
    let mut costs = cost::all().clone();
    let mut wrong = Vec::new();
    let count = |spec: &&Spec| {
        let of = |&(name, packings): &(&str, Packings)| {
            counts(&registry, folder, spec, &format!("{name}.brook"), packings)
        };
        networks.iter().flat_map(of).collect::<Vec<Vec<Count>>>()
    };
    let backends: Vec<(&str, &Spec)> = backends.into_iter().collect();
    let counted: Vec<_> = backends.par_iter().map(|(_, spec)| count(spec)).collect();
    for ((backend, spec), networks) in backends.into_iter().zip(counted) {
        assert!(
            networks.len() > 1,
            "{backend}: of all networks and packings only {}",
            networks.len()
        );
        let mut fitted = cost::of(spec).unwrap_or_default();
        if bless {
            let mut kernels: BTreeMap<&str, Vec<&Count>> = BTreeMap::new();
            for count in networks.iter().flatten() {
                kernels.entry(count.0).or_default().push(count);
            }
            let fit = |(kernel, counts): (&str, Vec<&Count>)| (kernel.to_owned(), fit(&counts));
            let kernels = kernels.into_iter().map(fit).collect();
            fitted = Coefficients { kernels, core: fitted.core };
        }
        for network in &networks {
            let counted: f64 = network.iter().map(|count| count.2).sum();
            let predicted = |&(kernel, work, _): &Count| {
                let each = fitted.kernels.get(kernel).copied().unwrap_or_default();
                each.iter().zip(work).map(|(each, work)| each * work).sum::<f64>()
            };
            let predicted: f64 = network.iter().map(predicted).sum();
            let off = 100.0 * (predicted / counted - 1.0);
            println!("{backend}: {counted:.0} counted, {predicted:.0} predicted: {off:+.1} %");
            if off.abs() > TOLERANCE {
                wrong.push(format!("{backend}: {counted:.0} counted, {predicted:.0} predicted"));
            }
        }
        costs.insert(backend.to_owned(), fitted);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if bless {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plan/src/costs.json");
        std::fs::write(path, serde_json::to_string_pretty(&costs).unwrap() + "\n").unwrap();
    }
}
