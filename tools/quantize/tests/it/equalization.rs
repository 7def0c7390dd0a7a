//! Channels are scaled so that they are alike, and the network computes the same.

use crate::blocks::{two_blocks, wave};
use brooklet_import::network::{Network, Op};
use brooklet_quantize::channels::equalize::{Choice, Factors, choose};
use brooklet_quantize::data::Dataset;
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::memory::Memory;
use ndarray::Array2;

fn logits(network: &Network) -> Array2<f32> {
    let data = Dataset::open("random:5", network.input, &Default::default()).unwrap();
    FloatModel::new(network).unwrap().run(data.batch(0..5).unwrap().view()).unwrap()
}

fn close(a: &Network, b: &Network) -> bool {
    let (a, b) = (logits(a), logits(b));
    a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0))
}

fn chosen(network: &Network) -> Choice {
    let fused = Fused::new(network).unwrap();
    let data = Dataset::open("random:12", network.input, &Default::default()).unwrap();
    choose(network, &fused, &data, true, Memory::default(), || ()).unwrap()
}

#[test]
fn uneven_channels_are_scaled_and_the_network_computes_the_same() {
    // One channel of the stem is a hundred times as large as the others, and is read by weights
    // of a hundredth.
    let uneven = |o: usize| if o == 2 { 100.0 } else { 1.0 };
    let uneven_network =
        two_blocks(|o, i| wave(o, i).abs() * uneven(o), |o, i| wave(o, i) / uneven(i));
    let choice = chosen(&uneven_network);
    let stem: Vec<f64> = choice.best.channels(1).collect();
    assert!(stem.iter().enumerate().all(|(o, &s)| (s > 4.0) == (o != 2)), "{stem:?}");
    let scaled = choice.best.apply(&uneven_network);
    assert_ne!(scaled, uneven_network);
    assert!(close(&uneven_network, &scaled));

    let names = choice.best.names(&uneven_network);
    let again = Factors::named(&uneven_network, &names);
    assert_eq!(again, choice.best);
    // The factors of a model can be found in its weights, even after rounding.
    let mut noisy = scaled;
    for node in &mut noisy.nodes {
        let Op::Conv(conv) = &mut node.op else { continue };
        conv.weights.indexed_iter_mut().for_each(|((o, _, _, i), w)| {
            *w *= 1.0 + 0.05 * wave(o + 5, i);
        });
    }
    assert_eq!(Factors::of_model(&uneven_network, &noisy), choice.best);
}

#[test]
fn even_channels_stay_about_as_they_are() {
    let even = two_blocks(|o, i| if i == 0 { 0.2 + 0.001 * o as f32 } else { 0.0 }, wave);
    let stem: Vec<f64> = chosen(&even).best.channels(1).collect();
    assert!(stem.iter().all(|&s| s < 1.5), "{stem:?}");
}
