//! Small networks that are made here and refused, with the errors for them.

use crate::onnx::{Onnx, attribute, weight};
use crate::spellings::{Load, message};

#[test]
fn an_unsupported_operator_is_named() {
    for (op, says) in [
        ("Det", "convolutions"),
        ("Resize", "no decoders"),
        ("GRU", "no recurrent layers"),
        ("InstanceNormalization", "batch norms"),
    ] {
        let error = Onnx::new(&[1, 3, 8, 8]).node(op, "x", "odd", &[]).load().unwrap_err();
        let text = message(&error);
        let start = format!("made.onnx: `odd`: operator {op} is not supported");
        assert!(text.contains(&start) && text.contains(says), "{text}");
    }
}

#[test]
fn open_sizes_are_refused() {
    let error = Onnx::new(&[0, 3, 0, 0]).node("Relu", "x", "y", &[]).load().unwrap_err();
    let text = message(&error);
    assert!(text.contains("`x`: the input has no fixed size: its shape is [any, 3, any, any]"));
    assert!(text.contains("fixed height, width"), "{text}");
}

#[test]
fn nan_weights_are_refused_by_layer() {
    let error = Onnx::new(&[1, 3, 8, 8])
        .floats("w", &[4, 3, 3, 3], |index| if index == 50 { f32::NAN } else { 1.0 })
        .node("Conv", "x w", "conv1", &[])
        .load()
        .unwrap_err();
    let text = message(&error);
    assert!(text.contains("`conv1`: the weights contain NaN"), "{text}");
}

#[test]
fn absurd_shapes_are_refused() {
    let onnx = || Onnx::new(&[1, 3, 8, 8]).floats("w", &[4, 3, 3, 3], weight);
    for pads in [[i64::MAX; 4], [-1; 4], [1 << 40; 4]] {
        assert!(onnx().node("Conv", "x w", "y", &[attribute("pads", &pads)]).load().is_err());
    }
    for strides in [[0, 0], [-1, 1], [i64::MAX, 1]] {
        assert!(onnx().node("Conv", "x w", "y", &[attribute("strides", &strides)]).load().is_err());
    }
    assert!(Onnx::new(&[1, i64::MAX, 8, 8]).node("Relu", "x", "y", &[]).load().is_err());
    // A constant that would fill the memory, and an endless range.
    let huge = onnx().ints("shape", &[1 << 30, 1 << 30]);
    assert!(huge.node("ConstantOfShape", "shape", "y", &[]).load().is_err());
    let endless = onnx().ints("a", &[0]).ints("b", &[i64::MAX]).ints("c", &[1]);
    assert!(endless.node("Range", "a b c", "y", &[]).load().is_err());
}
