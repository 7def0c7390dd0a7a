//! A block that runs several times has its weights in the file once, and is checked in time.

use crate::common::{image, model_file, sealed};
use crate::interpreter::interpret;
use crate::networks::run;
use brooklet::format::{LayerRecord, Operator, Packing};
use brooklet::kernels::{Portable, Reference};
use brooklet::quant::Multiplier;
use brooklet::{Error, Fault, Model, Shape};
use brooklet_plan::program::{Layer, Program};
use zerocopy::IntoBytes;
use zerocopy::little_endian::F32;

const CHANNELS: u16 = 16;
const SIDE: u16 = 6;
/// Number of bytes of the weights that the layers share.
const WEIGHTS: usize = 9 * CHANNELS as usize * CHANNELS as usize;

fn conv(input: usize, shape: Shape, kernel: u8, pad: u8, weight: impl Fn(usize) -> i8) -> Layer {
    let channels = usize::from(shape.channels);
    let taps = usize::from(kernel).pow(2) * usize::from(CHANNELS);
    let mut layer = Layer::new(format!("conv{input}"), Operator::Conv, input, shape);
    (layer.record.kernel, layer.record.stride) = ([kernel; 2], [1; 2]);
    layer.record.pads = [pad; 4];
    layer.record.scale = F32::new(0.1);
    layer.weights = (0..taps * channels).map(weight).collect();
    layer.bias = (0..shape.channels).map(|o| 10 * i32::from(o) - input as i32).collect();
    layer.multipliers = vec![Multiplier::from_real(0.01).unwrap(); channels];
    layer
}

/// A chain of convolutions: the last makes scores, and the `count` before it have the same weights.
pub(crate) fn chain(count: usize, packing: Packing) -> Program {
    let map = Shape::new(SIDE, SIDE, CHANNELS);
    let mut input = Layer::new("input", Operator::Input, 0, map);
    input.record.scale = F32::new(1.0);
    let mut layers = vec![input];
    for index in 0..count {
        layers.push(conv(index, map, 3, 1, |at| (at * 7 % 11) as i8 - 5));
    }
    layers.push(conv(count, Shape::new(1, 1, 4), SIDE as u8, 0, |at| (at % 5) as i8 - 2));
    Program { logits: layers.len() - 1, layers, ..Program::default() }.packed(packing)
}

/// The file with other records.
fn changed(file: &[u8], change: impl Fn(usize, &mut LayerRecord)) -> Vec<u8> {
    let model = Model::parse(file).unwrap();
    let at = model.header().layers_offset.get() as usize;
    let mut layers = model.layers().to_vec();
    layers.iter_mut().enumerate().for_each(|(index, layer)| change(index, layer));
    let mut file = file.to_vec();
    file[at..at + size_of_val(&layers[..])].copy_from_slice(layers.as_bytes());
    sealed(file)
}

/// The layers' weights would together exceed the file, and the results are those of whole tensors.
#[test]
fn weights_are_stored_once() {
    for packing in [Packing::Ohwi, Packing::Winograd, Packing::WidePairs] {
        let [few, many] = [2, 20].map(|count| chain(count, packing));
        let file = model_file(&many);
        let model = Model::parse(&file).unwrap();
        let bytes = model.layers()[1].weight_bytes.get() as usize;
        let each = (file.len() - model_file(&few).len()) / 18;
        assert!(bytes >= WEIGHTS && each < 512, "{packing:?}: {each} bytes a layer");
        let image = image(&many, 1);
        let maps = interpret(&many, &image);
        let logits = maps.last().unwrap();
        if packing != Packing::WidePairs {
            assert_eq!(&run(&file, Portable, &image, 0x55).0, logits);
        }
        assert_eq!(&run(&file, Reference, &image, 0xaa).0, logits);
    }
}

/// What is known about the first layer's weights holds only for layers of the same form.
#[test]
fn weights_of_another_form_count_again() {
    let file = model_file(&chain(20, Packing::Ohwi));
    let model = Model::parse(&file).unwrap();
    let own = |layer: usize| (1..21).contains(&layer);
    // Every second layer refers to weights next to those of the first.
    let beside = changed(&file, |index, layer| {
        if own(index) {
            layer.weights.set(layer.weights.get() + 16 * index as u32);
        }
    });
    assert_eq!(Model::parse(&beside).err(), Some(Error::Work));
    // Sums depend on the layer: its bias is too large.
    let mut changes = file.clone();
    let bias = model.layers()[20].bias.get() as usize + 4 * 3;
    changes[bias..bias + 4].copy_from_slice(&(i32::MAX - 1).to_le_bytes());
    let fault = Fault::Accumulator { channel: 3 };
    assert_eq!(Model::parse(&sealed(changes)).err(), Some(Error::Layer { layer: 20, fault }));
}

/// Biases for which the weights have to be read again to bound the sums.
#[test]
fn weights_that_are_read_again_count() {
    let with_bias = |layers: std::ops::Range<usize>| {
        let mut program = chain(20, Packing::Ohwi);
        for layer in &mut program.layers[layers] {
            // With arbitrary weights a sum can be 2³⁰ and more; with these weights it is smaller.
            layer.bias.fill((1 << 30) - 1_000_000);
            layer.multipliers.fill(Multiplier::from_real(1e-9).unwrap());
        }
        Model::parse(&model_file(&program)).map(|_| ())
    };
    assert_eq!(with_bias(1..2), Ok(()));
    assert_eq!(with_bias(1..21), Err(Error::Work));
}
