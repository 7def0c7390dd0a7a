//! Channels whose values are far above zero are shifted, and the network computes the same.

use brooklet_import::network::{BatchNorm, Conv, Network, NodeId, Op, Window};
use brooklet_quantize::channels::absorption::{Shifts, choose};
use brooklet_quantize::compare;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::memory::Memory;
use brooklet_quantize::recipe::{Effort, Recipe, Silent, Stage};
use ndarray::Array4;

fn conv(outputs: usize, inputs: usize, kernel: usize, pad: usize) -> Conv {
    let weight = |(o, y, x, i)| ((3 * o + 7 * i + 5 * y + x) as f32 * 0.7).sin() / 3.0;
    Conv {
        weights: Array4::from_shape_fn((outputs, kernel, kernel, inputs), weight),
        bias: (0..outputs).map(|o| o as f32 * 0.1).collect(),
        stride: [1, 1],
        pads: [pad; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected: false,
    }
}

/// A stem with two channels of large values and two of small ones, a pool, a bottleneck with a
/// projection and large biases in its first convolution, and a classifier.
fn network(inner_bias: f32) -> Network {
    let mut network = Network::new([8, 8, 3], "x").unwrap();
    let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
    let mut stem = conv(4, 3, 3, 1);
    stem.weights.mapv_inplace(|weight| weight / 400.0);
    stem.bias = vec![20.0, 0.2, 17.0, 0.3];
    let stem = push(Op::Conv(stem), &[0]);
    let stem = push(Op::Relu, &[stem]);
    let window = Window { kernel: [3, 3], stride: [2, 2], pads: [1; 4] };
    let pool = push(Op::MaxPool(window), &[stem]);
    let mut first = conv(4, 4, 1, 0);
    first.bias = vec![inner_bias; 4];
    let main = push(Op::Conv(first), &[pool]);
    let main = push(Op::Relu, &[main]);
    let main = push(Op::Conv(conv(4, 4, 3, 1)), &[main]);
    let main = push(Op::Relu, &[main]);
    let main = push(Op::Conv(conv(6, 4, 1, 0)), &[main]);
    let mut other = conv(6, 4, 1, 0);
    other.weights.mapv_inplace(|weight| 0.75 * weight);
    let shortcut = push(Op::Conv(other), &[pool]);
    let sum = push(Op::Add, &[main, shortcut]);
    let norm = BatchNorm {
        scale: vec![1.5, 0.2, 1.5, 0.2, 1.5, 0.2],
        shift: vec![0.5; 6],
        mean: vec![0.25; 6],
        var: vec![2.0; 6],
        eps: 1e-5,
    };
    let sum = push(Op::BatchNorm(norm), &[sum]);
    let sum = push(Op::Relu, &[sum]);
    let pool = push(Op::GlobalAveragePool, &[sum]);
    let logits = push(Op::Conv(conv(3, 6, 1, 0)), &[pool]);
    network.canonical(&[(logits, String::new())]).unwrap()
}

fn data(network: &Network) -> Dataset {
    Dataset::open("random:12", network.input, &Default::default()).unwrap()
}

fn chosen(network: &Network) -> Shifts {
    let fused = Fused::new(network).unwrap();
    choose(network, &fused, &data(network), Memory::default(), || ()).unwrap()
}

fn logits(network: &Network) -> ndarray::Array2<f32> {
    FloatModel::new(network).unwrap().run(data(network).batch(0..12).unwrap().view()).unwrap()
}

#[test]
fn maps_that_padding_or_an_addition_reads_are_left_alone() {
    let network = network(30.0);
    let names = chosen(&network).names(&network);
    // Their biases are as large, but a convolution pads the first map, and an addition reads the other.
    for name in ["conv1", "shortcut"].map(|name| format!("stage1.block1.{name}")) {
        assert!(network.nodes.iter().any(|node| node.name == name), "{name}");
        assert!(!names.contains_key(&name), "{names:?}");
    }
    assert!(names.contains_key("stem"), "{names:?}");
}

#[test]
fn channels_of_large_values_are_shifted_and_the_network_computes_the_same() {
    let network = network(30.0);
    let shifts = chosen(&network);
    let by = &shifts.names(&network)["stem"];
    assert!(by[0] > 12.0 && by[1] == 0.0 && by[2] > 12.0 && by[3] == 0.0, "{by:?}");
    let shifted = shifts.apply(&network);
    let (before, after) = (logits(&network), logits(&shifted));
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4 * a.abs().max(1.0)));
    assert_ne!(shifted, network);

    let fused = Fused::new(&network).unwrap();
    assert_eq!(Shifts::named(&network, &fused, &shifts.names(&network)), shifts);
}

#[test]
fn it_brings_the_logits_nearer_and_the_model_shows_what_was_done() {
    let network = network(0.0);
    let (data, preprocess) = (data(&network), Default::default());
    let error = |without: Vec<Stage>| {
        let recipe = Recipe {
            effort: Effort::Default,
            calibration: None,
            without,
            seed: 0,
            bits: Default::default(),
            int16: Default::default(),
            stream16: false,
            memory: Memory::default(),
        };
        let made = recipe.run(&network, &data, &preprocess, &Silent).unwrap();
        let fused = Fused::new(&made.network).unwrap();
        let program = fused.quantize(&made.ranges, &preprocess, &made.learned).unwrap();
        let layers = compare::layers(&network, &program, &preprocess, &data, 12, || ()).unwrap();
        let least = layers.iter().skip(1).filter_map(|layer| layer.sqnr_db).fold(99.0, f64::min);
        assert!(least > 20.0, "{least} dB");
        let db = [layers.last().unwrap().sqnr_db.unwrap(), layers[1].alone_db.unwrap()];
        (db, made)
    };
    let (with, made) = error(vec![]);
    let (without, plain) = error(vec![Stage::Absorption]);
    assert!(made.ranges.absorption.contains_key("stem") && plain.ranges.absorption.is_empty());
    // Checks that scaled batch norms are compared, too.
    assert!(made.ranges.equalization.contains_key("norm"));
    assert!(with[1] > without[1] + 10.0 && with[0] > without[0] + 0.5, "{with:?} {without:?}");
}
