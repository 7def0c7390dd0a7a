//! Channels whose values are far above zero are shifted, and the network computes the same.

use crate::blocks::bottleneck;
use brooklet_import::network::Network;
use brooklet_quantize::channels::absorption::{Shifts, choose};
use brooklet_quantize::compare;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::memory::Memory;
use brooklet_quantize::recipe::{Effort, Recipe, Silent, Stage};
use ndarray::Array2;

fn data(network: &Network) -> Dataset {
    Dataset::open("random:12", network.input, &Default::default()).unwrap()
}

fn chosen(network: &Network) -> Shifts {
    let fused = Fused::new(network).unwrap();
    choose(network, &fused, &data(network), Memory::default(), || ()).unwrap()
}

fn logits(network: &Network) -> Array2<f32> {
    FloatModel::new(network).unwrap().run(data(network).batch(0..12).unwrap().view()).unwrap()
}

#[test]
fn channels_of_large_values_are_shifted_and_the_network_computes_the_same() {
    let network = bottleneck(30.0);
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
    let network = bottleneck(0.0);
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
