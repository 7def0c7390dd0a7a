//! Bytes as a file of activation ranges. It is refused, or a network is quantized with it, planned
//! and written; then the result is a model file, or refused with a named error.

#![no_main]

use brooklet_import::network::{Conv, Network, Op};
use brooklet_mutants::Oracle;
use brooklet_plan::plan::{Goal, plan};
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::ranges::{Range, Ranges};
use brooklet_quantize::weights::Learned;
use libfuzzer_sys::fuzz_target;

/// A network with a residual block and a classifier, whose layers are `input`, `a`, `b` …
fn network() -> Network {
    let conv = |outputs: usize, kernel: usize, inputs: usize| {
        let weights = (0..outputs * kernel * kernel * inputs).map(|i| (i % 7) as f32 / 9.0 - 0.3);
        Op::Conv(Conv {
            weights: ndarray::Array4::from_shape_vec(
                (outputs, kernel, kernel, inputs),
                weights.collect(),
            )
            .expect("as many weights"),
            bias: vec![0.1; outputs],
            stride: [1; 2],
            pads: [kernel / 2; 4],
            dilation: [1; 2],
            groups: 1,
            fully_connected: false,
        })
    };
    let mut network = Network::new([4, 4, 3], "input").expect("a small input");
    let layers = [
        (conv(2, 3, 3), vec![0]),
        (Op::Relu, vec![1]),
        (conv(2, 3, 2), vec![2]),
        (Op::Add, vec![3, 2]),
        (Op::Relu, vec![4]),
        (Op::GlobalAveragePool, vec![5]),
        (conv(3, 1, 2), vec![6]),
    ];
    for ((op, inputs), name) in layers.into_iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        network.push(op, &inputs, name).expect("shapes fit");
    }
    network
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(ranges) = serde_json::from_slice::<Ranges>(bytes) else { return };
    // The command checks this first.
    let around_zero = |range: &Range| {
        range.min.is_finite() && range.max.is_finite() && range.min <= 0.0 && range.max >= 0.0
    };
    if !ranges.ranges.values().all(around_zero) {
        return;
    }
    let network = network();
    let fused = Fused::new(&network).expect("all of it is known");
    let Ok(program) = fused.quantize(&ranges, &Preprocess::default(), &Learned::default()) else {
        return;
    };
    let plan = plan(&program, Goal::Size).expect("a small network");
    let verdict = Oracle::new().judge(&program.write(&plan));
    if let Err(what) = verdict {
        panic!("{what}");
    }
});
