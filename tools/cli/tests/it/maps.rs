//! Networks that end in a map: a class for each cell.

use std::fs;
use std::path::Path;

use crate::onnx::{Onnx, attribute, scalar};
use crate::shell::{brooklet, json, succeed};
use image::{Rgb, RgbImage};
use ndarray::{Array2, Array4};
use ndarray_npy::{read_npy, write_npy};

/// For each cell of 4x4 pixels: background, red, or green.
fn cells(ends_in: &str) -> Vec<u8> {
    let weight = |index: usize| match (index / 48, index % 48 / 16) {
        (1, 0) | (2, 1) => 0.5,
        _ => 0.0,
    };
    let network =
        Onnx::new(&[1, 3, 8, 12])
            .floats("w", &[3, 3, 4, 4], weight)
            .floats("b", &[3], |class| if class == 0 { 3.0 } else { 0.0 });
    let strides = [attribute("strides", &[4, 4])];
    match ends_in {
        "" => network.node("Conv", "x w b", "y", &strides),
        name => {
            let axis = if name == "Softmax" { vec![scalar("axis", 1)] } else { vec![] };
            network.node("Conv", "x w b", "c", &strides).node(name, "c", "y", &axis)
        }
    }
    .bytes()
}

/// Red in the cell of row 1 and column 0, green in that of row 0 and column 2, dark elsewhere.
fn image() -> RgbImage {
    RgbImage::from_fn(12, 8, |x, y| match (y / 4, x / 4) {
        (1, 0) => Rgb([255, 0, 0]),
        (0, 2) => Rgb([0, 255, 0]),
        _ => Rgb([9, 9, 9]),
    })
}

/// What a command that fails prints, without line breaks.
fn refused(folder: &Path, line: &str) -> String {
    let text = brooklet(folder, line).unwrap_err();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const QUANTIZE: &str = "--mean 0 --std 1 --effort fast --calibrate data";

#[test]
fn cells_are_answered_compared_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Labels of images say nothing about cells, and are not used.
    fs::create_dir_all(folder.join("data/one")).unwrap();
    for name in ["data/one/a.png", "a.png"] {
        image().save(folder.join(name)).unwrap();
    }
    fs::write(folder.join("names.txt"), "nothing\nred\ngreen\n").unwrap();
    fs::write(folder.join("a.onnx"), cells("Softmax")).unwrap();
    let made = format!("quantize a.onnx {QUANTIZE} --labels names.txt --self-test 1 -o a.brook");
    let made = json(folder, &made);
    assert!(made["evidence"]["top1"].is_null() && made["evidence"]["agreement"] == 1.0, "{made}");

    let report = &json(folder, "run a.brook a.png --logits a.npy")["images"][0];
    let found = report["map"]["cells"].as_array().unwrap();
    let place = |cell: &serde_json::Value| {
        let number = |key: &str| cell[key].as_u64().unwrap();
        (number("row"), number("column"), cell["name"].as_str().unwrap().to_owned())
    };
    let mut places: Vec<_> = found.iter().map(place).collect();
    places.sort();
    assert_eq!(places, [(0, 2, "green".to_owned()), (1, 0, "red".to_owned())]);
    // Logits of 8, 3 and 0.
    let probability = found[0]["probability"].as_f64().unwrap();
    assert!((probability - 0.993).abs() < 0.004, "{probability}");
    assert_eq!(report["map"]["classes"][0]["cells"], 4);
    let text = succeed(folder, "run a.brook a.png");
    assert!(text.contains("2x3 cells: nothing in 4, red in 1, green in 1"), "{text}");
    let logits: Array4<i8> = read_npy(folder.join("a.npy")).unwrap();
    assert_eq!(logits.dim(), (1, 2, 3, 3));
    assert!(
        logits.iter().map(|&q| i64::from(q)).eq(report["logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|q| q.as_i64().unwrap()))
    );
    assert!(logits[[0, 1, 0, 1]] > logits[[0, 1, 0, 0]]);

    assert!(succeed(folder, "inspect a.brook").contains("8x12x3, 2x3 cells of 3 classes"));
    assert!(succeed(folder, "check a.brook").contains("gave the stored bytes"));
    let compared = json(folder, "compare a.onnx a.brook data");
    assert_eq!((&compared["agreement"], &compared["parted"]), (&1.0.into(), &vec![0; 0].into()));
    assert!(compared["sqnr_db"].as_f64().unwrap() > 30.0, "{compared}");
    let exported = json(folder, "export a.brook -o b.onnx --compare data");
    assert_eq!(exported["agreement"]["same_class"], 1.0, "{exported}");
    succeed(folder, "quantize b.onnx -o b.brook");
    let again = &json(folder, "run b.brook a.png")["images"][0];
    assert_eq!(again["logits"], report["logits"]);

    // The float network's maps, and those of another network.
    let real = logits.mapv(f32::from);
    write_npy(folder.join("float.npy"), &real).unwrap();
    fs::rename(folder.join("a.png"), folder.join("data/a.png")).unwrap();
    fs::remove_dir_all(folder.join("data/one")).unwrap();
    let report = json(folder, "eval a.brook data --float float.npy --output out.npy");
    assert_eq!((&report["agreement"], &report["classes"]), (&1.0.into(), &serde_json::Value::Null));
    let output: Array4<i8> = read_npy(folder.join("out.npy")).unwrap();
    assert_eq!(output.dim(), (1, 2, 3, 3));
    write_npy(folder.join("float.npy"), &Array4::<f32>::zeros((1, 3, 2, 3))).unwrap();
    assert!(
        refused(folder, "eval a.brook data --float float.npy")
            .contains("[images, rows, columns, classes]")
    );
    write_npy(folder.join("float.npy"), &Array2::<f32>::zeros((1, 18))).unwrap();
    assert!(
        refused(folder, "eval a.brook data --float float.npy")
            .contains("[images, rows, columns, classes]")
    );
    fs::create_dir(folder.join("data/two")).unwrap();
    fs::rename(folder.join("data/a.png"), folder.join("data/two/a.png")).unwrap();
    for (command, part) in [
        ("eval a.brook data", "a map of 2x3 cells"),
        ("doctor a.onnx data", "a map of 2x3 cells"),
        ("report a.onnx a.brook data -o a.html", "`brooklet compare`"),
    ] {
        let error = refused(folder, command);
        assert!(error.contains(part), "{command}: {error}");
    }
}

#[test]
fn one_score_for_each_cell_is_a_heatmap() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("data")).unwrap();
    image().save(folder.join("data/a.png")).unwrap();
    for end in ["Sigmoid", ""] {
        let network = Onnx::new(&[1, 3, 8, 12])
            .floats("w", &[1, 3, 4, 4], |index| if index < 16 { 0.5 } else { 0.0 })
            .floats("b", &[1], |_| -3.0);
        let strides = [attribute("strides", &[4, 4])];
        let network = match end {
            "" => network.node("Conv", "x w b", "y", &strides),
            end => network.node("Conv", "x w b", "c", &strides).node(end, "c", "y", &[]),
        };
        fs::write(folder.join("a.onnx"), network.bytes()).unwrap();
        succeed(folder, &format!("quantize a.onnx {QUANTIZE} -o a.brook"));
        let report = &json(folder, "run a.brook data/a.png")["images"][0]["map"];
        let found = report["cells"].as_array().unwrap();
        // Scores of 5 and -3 have probabilities of 0.993 and 0.047.
        assert_eq!(found.len(), if end.is_empty() { 6 } else { 1 }, "{report}");
        assert_eq!((&found[0]["row"], &found[0]["column"]), (&1.into(), &0.into()));
        let score = found[0]["score"].as_f64().unwrap();
        assert!((score - 5.0).abs() < 0.1, "{score}");
        assert_eq!(found[0]["probability"].is_null(), end.is_empty());
        let exported = json(folder, "export a.brook -o b.onnx --compare data");
        assert_eq!(exported["agreement"]["same_class"], 1.0, "{exported}");
    }
}

/// The sizes of the map are those of the classes, so they do not tell the axes apart.
#[test]
fn only_a_softmax_over_the_classes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let calibrated = "--effort fast --calibrate random:2 -o a.brook";
    for (op, axis, is_read) in [
        ("Softmax", 1, true),
        ("Softmax", -3, true),
        ("Softmax", 2, false),
        ("Softmax", -1, false),
        ("LogSoftmax", 3, false),
        ("ArgMax", 1, true),
        ("ArgMax", 2, false),
    ] {
        let network = Onnx::new(&[1, 3, 3, 3])
            .floats("w", &[3, 3, 1, 1], |index| (index as f32).sin())
            .node("Conv", "x w", "c", &[])
            .node(op, "c", "y", &[scalar("axis", axis)]);
        fs::write(folder.join("a.onnx"), network.bytes()).unwrap();
        let line = format!("quantize a.onnx {calibrated}");
        match is_read {
            true => drop(succeed(folder, &line)),
            false => assert!(refused(folder, &line).contains("over dimension"), "{op} {axis}"),
        }
    }
}
