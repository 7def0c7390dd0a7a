//! Checkpoints that are made here, with the keys and shapes of the architecture; and files of
//! another type than their names say.

use std::path::{Path, PathBuf};

use crate::spellings::message;
use brooklet_import::error::{ImportError, Problem};
use brooklet_import::network::{Network, Op};
use brooklet_import::{Imported, Options, load};
use safetensors::tensor::{Dtype, TensorView};

/// A CIFAR ResNet-20 with made-up weights, with or without projections.
fn cifar(
    projections: bool,
    change: impl Fn(&mut Vec<(String, Vec<usize>)>),
) -> Result<Network, ImportError> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![];
    let norm = |shapes: &mut Vec<(String, Vec<usize>)>, conv: String, norm: String, shape| {
        let shape: [usize; 4] = shape;
        shapes.push((format!("{conv}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("{norm}.{part}"), vec![shape[0]]));
        }
    };
    norm(&mut shapes, "conv1".into(), "bn1".into(), [16, 3, 3, 3]);
    let mut depth = 16;
    for stage in 0..3 {
        let width = 16 << stage;
        for block in 0..3 {
            let layer = format!("layer{}.{block}", stage + 1);
            norm(
                &mut shapes,
                format!("{layer}.conv1"),
                format!("{layer}.bn1"),
                [width, depth, 3, 3],
            );
            norm(
                &mut shapes,
                format!("{layer}.conv2"),
                format!("{layer}.bn2"),
                [width, width, 3, 3],
            );
            if projections && depth != width {
                let shortcut = |part| format!("{layer}.shortcut.{part}");
                norm(&mut shapes, shortcut(0), shortcut(1), [width, depth, 1, 1]);
            }
            depth = width;
        }
    }
    shapes.push(("linear.weight".into(), vec![10, 64]));
    shapes.push(("linear.bias".into(), vec![10]));
    change(&mut shapes);
    let one = 1f32.to_le_bytes();
    let bytes: Vec<Vec<u8>> =
        shapes.iter().map(|(_, shape)| one.repeat(shape.iter().product())).collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (format!("module.{name}"), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.safetensors");
    std::fs::write(&path, file).unwrap();
    let options = Options { arch: Some("resnet20".parse().unwrap()), ..Options::default() };
    match load(path, &options)? {
        Imported::Float(network) => Ok(network),
        Imported::Quantized(_) => panic!("it is float"),
    }
}

#[test]
fn the_keys_tell_option_a_from_option_b() {
    let shortcut = |network: &Network| {
        let node = network.nodes.iter().find(|node| node.name == "stage2.block1.shortcut");
        node.unwrap().op.clone()
    };
    assert!(matches!(shortcut(&cifar(false, |_| ()).unwrap()), Op::Subsample(_)));
    assert!(matches!(shortcut(&cifar(true, |_| ()).unwrap()), Op::Conv(_)));
}

#[test]
fn keys_must_be_exactly_the_architecture_s() {
    let error = cifar(false, |shapes| shapes.retain(|(name, _)| name != "layer2.1.bn1.bias"));
    let text = message(&error.unwrap_err());
    assert!(text.contains("made.safetensors: `layer2.1.bn1.bias`: is missing"), "{text}");
    let error = cifar(false, |shapes| shapes.push(("extra.weight".into(), vec![3])));
    let text = message(&error.unwrap_err());
    assert!(text.contains("`extra.weight`: is not part of resnet20"), "{text}");
    let error = cifar(false, |shapes| shapes[0].1 = vec![16, 3, 5, 5]);
    let text = message(&error.unwrap_err());
    assert!(text.contains("`conv1.weight`: has shape [16, 3, 5, 5]"), "{text}");
    assert!(
        cifar(false, |shapes| shapes.push(("bn1.num_batches_tracked".into(), vec![1]))).is_ok()
    );
}

#[test]
fn files_of_the_wrong_kind_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let problem = |path: &Path| load(path, &Options::default()).unwrap_err();
    let error = problem(&write("net.onnx", b"\x1c\0\0\0TFL3rest"));
    assert!(matches!(error.problem, Problem::WrongType { .. }), "{error}");
    let error = problem(&write("net.onnx", b"version https://git-lfs.github.com/spec/v1\n"));
    assert!(error.to_string().contains("Git LFS pointer"), "{error}");
    let error = problem(&write("net.h5", b"\x89HDF\r\n"));
    assert!(matches!(error.problem, Problem::Corrupt { format: "Keras", .. }), "{error}");
    let error = problem(&write("net.pb", b"\x0a\x05"));
    assert!(message(&error).contains("tf2onnx"), "{error}");
    assert!(matches!(problem(&write("notes", b"hello")).problem, Problem::UnknownType { .. }));
    assert!(matches!(problem(&folder.path().join("gone.onnx")).problem, Problem::File(_)));
    // A number that never ends, alone and in a packed list within a tensor.
    let endless = [&[0x08][..], &[0xff; 12]].concat();
    let packed = [&[0x3a, 17, 0x2a, 15, 0x2a, 13][..], &[0xff; 13]].concat();
    for bytes in [endless, packed] {
        let error = problem(&write("endless.onnx", &bytes));
        assert!(matches!(error.problem, Problem::Corrupt { .. }), "{error}");
    }
    for name in ["empty.onnx", "empty.tflite"] {
        assert!(matches!(problem(&write(name, b"")).problem, Problem::Corrupt { .. }), "{name}");
    }
}

/// PyTorch writes the name of the file into the archive. With 21 characters, versions of the library that
/// unpacks it take the second entry of its directory for the first.
#[test]
fn a_checkpoint_is_read_whatever_its_name() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/checkpoints/name-of-21-characters.pth");
    let options = Options { arch: Some("resnet20".parse().unwrap()), ..Options::default() };
    let text = message(&load(Path::new(path), &options).unwrap_err());
    assert!(text.contains("`conv1.weight`: is missing, but resnet20 has it"), "{text}");
}
