//! Packed weights are checked to be the packed form of int8.

use crate::common::{in_bits_of, model_file, network, sealed};
use brooklet::format::{LayerRecord, Packing};
use brooklet::{Error, Fault, Model};
use brooklet_plan::program::{Layer, Program};

#[test]
fn transformed_weights_are_checked() {
    for packing in [Packing::Winograd, Packing::HwioTiles] {
        let program = network(8, 3).packed(packing);
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let transformed = |layer: &LayerRecord| layer.packing() == packing;
        let layer = model.layers().iter().position(transformed).unwrap();
        let at = model.layer(layer).weights.get() as usize;
        for byte in 0..16 {
            // At the first position, kernel row and channels: any other value is not a transform,
            // and padding of input channels must be zero.
            let mut broken = file.clone();
            broken[at + byte] ^= 1;
            let fault = Model::parse(&sealed(broken)).map(|_| ());
            let channels = model.layer(layer).channels.get();
            let beside = if packing == Packing::HwioTiles { channels } else { 4 };
            let channel = byte as u16 / 4 % beside;
            let error = Error::Layer { layer: layer as u16, fault: Fault::Transform { channel } };
            let there = channel < channels;
            let expected = if there { Err(error) } else { Ok(()) };
            assert_eq!(fault, expected, "{packing:?}, byte {byte}");
        }
    }
}

/// Backends would compute different results with -128.
#[test]
fn a_weight_that_is_too_small_is_refused() {
    for packing in Packing::ALL.into_iter().filter(|packing| packing.bits() == 8) {
        let program = network(8, 3).packed(packing);
        let packed = |layer: &Layer| layer.record.packing() == packing;
        let layer = program.layers.iter().skip(1).position(packed).unwrap() + 1;
        Model::parse(&model_file(&program)).unwrap();
        for at in 0..program.layers[layer].weights.len() {
            let mut program = program.clone();
            program.layers[layer].weights[at] = -128;
            let Err(Error::Layer { layer: found, fault }) = Model::parse(&model_file(&program))
            else {
                panic!("{packing:?}, weight {at}");
            };
            assert_eq!(usize::from(found), layer);
            assert!(matches!(fault, Fault::Weight | Fault::Transform { .. }), "{fault:?}");
        }
    }
}

#[test]
fn what_fills_pairs_up_is_zero() {
    for packing in [Packing::Pairs, Packing::WidePairs] {
        let program = network(8, 3).packed(packing);
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let taps = |layer: &LayerRecord| {
            usize::from(layer.kernel[1]) * usize::from(model.input_of(layer).channels.get())
        };
        let odd =
            |layer: &LayerRecord| layer.packing() == packing && !taps(layer).is_multiple_of(4);
        let layer = model.layers().iter().position(odd).unwrap();
        // The padding of the first kernel row of channel 0, such as a7 in the packing's
        // documentation.
        let (width, from_end) = if packing == Packing::Pairs { (1, 2) } else { (2, 6) };
        let row = 2 * width * taps(model.layer(layer)).next_multiple_of(4);
        let mut broken = file.clone();
        broken[model.layer(layer).weights.get() as usize + row - from_end] ^= 1;
        let fault = Model::parse(&sealed(broken)).map(|_| ());
        assert!(
            matches!(fault, Err(Error::Layer { fault: Fault::Transform { .. }, .. })),
            "{packing:?}: {fault:?}"
        );
    }
}

/// In a layer with padded kernel rows, the padding is checked: any file that is accepted has the
/// same program.
#[test]
fn what_fills_weights_in_few_bits_up_is_zero() {
    let fills = |packing: &Packing| packing.bits() < 8 && packing.unpacked() != Some(Packing::Ohwi);
    for packing in Packing::ALL.into_iter().filter(fills) {
        let program = in_bits_of(network(8, 3), packing);
        let file = model_file(&program);
        let model = Model::parse(&file).unwrap();
        let odd = |layer: &LayerRecord| {
            let inputs = usize::from(model.input_of(layer).channels.get());
            layer.packing() == packing && !(usize::from(layer.kernel[1]) * inputs).is_multiple_of(2)
        };
        let layer = model.layers().iter().position(odd).unwrap();
        let record = model.layer(layer);
        let inputs = usize::from(model.input_of(record).channels.get());
        let kernel = [usize::from(record.kernel[0]), usize::from(record.kernel[1]) * inputs];
        let channels = usize::from(record.channels.get());
        let (mut refused, mut weights) = (0, 0);
        for bit in 0..8 * packing.bytes(channels, kernel) {
            let mut broken = file.clone();
            broken[record.weights.get() as usize + bit / 8] ^= 1 << (bit % 8);
            match Model::parse(&sealed(broken)) {
                Err(Error::Layer { fault: Fault::Transform { .. }, .. }) => refused += 1,
                Err(error) => panic!("{packing:?}: {error}"),
                Ok(changed) => {
                    let differs = Program::read(&changed).layers[layer].weights
                        != program.layers[layer].weights;
                    weights += usize::from(differs);
                }
            }
        }
        let bits = packing.bits() as usize;
        assert_eq!(weights, bits * channels * kernel[0] * kernel[1], "{packing:?}");
        assert!(refused >= channels * kernel[0], "{packing:?}: {refused}");
    }
}
