//! Keras networks that are refused, made here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::spellings::message;
use brooklet_import::{Options, load};

/// The error for a Keras network of an image and these layers. Its weights are another network's.
fn refused(layers: &[(&str, &str)]) -> String {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../quantize/tests/made/sequence.keras");
    let mut made = zip::ZipArchive::new(File::open(made).unwrap()).unwrap();
    let mut weights = Vec::new();
    made.by_name("model.weights.h5").unwrap().read_to_end(&mut weights).unwrap();
    let layer = |(class, config): &(&str, &str)| {
        format!(r#"{{"class_name": "{class}", "config": {{"name": "it"{config}}}}}"#)
    };
    let input = ("InputLayer", r#", "batch_shape": [null, 8, 8, 3]"#);
    let layers: Vec<String> = [input].iter().chain(layers).map(layer).collect();
    let layers = layers.join(", ");
    let config = format!(r#"{{"class_name": "Sequential", "config": {{"layers": [{layers}]}}}}"#);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.keras");
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in [("config.json", config.as_bytes()), ("model.weights.h5", &weights)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    let error = load(&path, &Options::default()).unwrap_err();
    message(&error).replace(&path.display().to_string(), "FILE")
}

#[test]
fn keras_layers_of_other_families_are_refused_by_name() {
    let own = "is a class from custom code";
    let family = "is not supported | brooklet runs";
    for (layer, words) in [
        (("UpSampling2D", ""), ["operator UpSampling2D", family, "enlarge maps"]),
        (("Conv2DTranspose", ""), ["operator Conv2DTranspose", family, "enlarge maps"]),
        (("LSTM", ""), ["operator LSTM", family, "no recurrent layers"]),
        (("MultiHeadAttention", ""), ["operator MultiHeadAttention", family, "no attention"]),
        (("LayerNormalization", ""), ["operator LayerNormalization", "own mean", "batch norms"]),
        (("Lambda", ""), ["`Lambda`", own, "format=\"onnx\""]),
        (("RepeatVector", ""), ["operator RepeatVector", "model.export", "TFLite"]),
        (
            ("TFOpLambda", r#", "function": "signal.stft""#),
            ["operator tf.signal.stft", "is not supported", "model.export"],
        ),
        (
            ("Activation", r#", "activation": "softsign""#),
            ["an activation of `softsign`", "use ReLU", "Mish"],
        ),
        (
            ("ReLU", r#", "max_value": 6.0, "threshold": 0.5"#),
            ["a ReLU with the threshold 0.5", "without", "threshold"],
        ),
    ] {
        let message = refused(&[layer]);
        assert!(message.starts_with("FILE: `it`: "), "{message}");
        for words in words {
            assert!(message.contains(words), "{words} is not in: {message}");
        }
    }
}
