//! Blocks that run several times with the same weights.

use crate::blocks;
use brooklet::Model;
use brooklet_import::network::{Conv, Network, NodeId, Op};
use brooklet_plan::plan::{Goal, plan};
use brooklet_quantize::compare;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::recipe::{Effort, Recipe, Silent};

fn conv(outputs: usize, inputs: usize, kernel: usize, seed: usize) -> Conv {
    let weight = |(o, y, x, i)| {
        ((3 * o + 7 * i + 5 * y + x + 11 * seed) as f32 * 0.7).sin() / (2.0 + i as f32)
    };
    blocks::conv([outputs, inputs, kernel], weight, 0.05)
}

/// A stem, a residual block that runs three times, and a classifier. `other` is added to the
/// block's weights each time: if it is 0, it is the same block.
fn network(other: f32) -> Network {
    let mut network = Network::new([8, 8, 3], "x").unwrap();
    let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
    let mut stream = push(Op::Conv(conv(8, 3, 3, 0)), &[0]);
    stream = push(Op::Relu, &[stream]);
    for time in 0u8..3 {
        let block = |seed| {
            let mut conv = conv(8, 8, 3, seed);
            conv.weights.mapv_inplace(|weight| weight + other * f32::from(time));
            // The batch norm may differ between runs.
            conv.bias[0] += f32::from(time) / 8.0;
            Op::Conv(conv)
        };
        let inner = push(block(1), &[stream]);
        let inner = push(Op::Relu, &[inner]);
        let main = push(block(2), &[inner]);
        let sum = push(Op::Add, &[main, stream]);
        stream = push(Op::Relu, &[sum]);
    }
    let pool = push(Op::GlobalAveragePool, &[stream]);
    let logits = push(Op::Conv(conv(3, 8, 1, 3)), &[pool]);
    network.canonical(&[(logits, String::new())]).unwrap()
}

/// A block that runs three times is stored once at every effort, and the logits are as close to
/// the float network's as with three blocks.
#[test]
fn a_block_that_runs_several_times_is_stored_once() {
    for (effort, stream16) in
        [(Effort::Fast, false), (Effort::Default, false), (Effort::Default, true)]
    {
        let made = |network: &Network| {
            let data = Dataset::open("random:32", network.input, &Default::default()).unwrap();
            let recipe = Recipe { effort, stream16, ..Recipe::default() };
            let preprocess = Default::default();
            let made = recipe.run(network, &data, &preprocess, &Silent).unwrap();
            let fused = recipe.fused(&made.network).unwrap();
            let program = fused.quantize(&made.ranges, &preprocess, &made.learned).unwrap();
            let layers = compare::layers(network, &program, &preprocess, &data, 32, || ());
            let sqnr_db = layers.unwrap().last().unwrap().sqnr_db.unwrap();
            (program.write(&plan(&program, Goal::Size).unwrap()), sqnr_db)
        };
        let (recursive, sqnr_db) = made(&network(0.0));
        let (three, of_three) = made(&network(0.01));
        assert!(sqnr_db > 30.0 && sqnr_db > of_three - 3.0, "{sqnr_db} dB, {of_three} dB");
        // The file lacks two blocks of two convolutions.
        let less = three.len() - recursive.len();
        assert!(less >= 4 * 8 * 8 * 9, "{less} bytes less");
        let model = Model::parse(&recursive).unwrap();
        let layers = model.graph().layers;
        let of = |layer: usize| layers[layer].weights;
        assert_eq!([of(2), of(3)], [of(4), of(5)]);
        assert_eq!([of(4), of(5)], [of(6), of(7)]);
        assert_ne!(layers[2].bias, layers[4].bias);
    }
}
