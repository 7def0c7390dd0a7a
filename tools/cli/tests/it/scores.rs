//! Networks with one score, which is reported as it is, or as the probability that it stands for.

use std::fs;

use crate::common::shared_cases;
use crate::onnx::{Onnx, attribute, scalar};
use crate::shell::{brooklet, json, succeed};
use image::RgbImage;

/// The mean of the pixels: above the middle of the range the score is positive.
fn brightness(sigmoid: bool) -> Vec<u8> {
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("w0", &[1, 3, 1, 1], |_| 1.0 / 3.0)
        .floats("w1", &[1, 1], |_| 4.0)
        .node("Conv", "x w0", "c", &[attribute("pads", &[0; 4])])
        .node("GlobalAveragePool", "c", "p", &[])
        .node("Flatten", "p", "f", &[]);
    match sigmoid {
        true => {
            network.node("Gemm", "f w1", "g", &[scalar("transB", 1)]).node("Sigmoid", "g", "y", &[])
        }
        false => network.node("Gemm", "f w1", "y", &[scalar("transB", 1)]),
    }
    .bytes()
}

#[test]
fn one_score_is_reported_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (class, light) in [("day", 200u8), ("night", 60)] {
        for number in 0..10u8 {
            let path = folder.join("data").join(if class == "day" { "2-day" } else { "1-night" });
            fs::create_dir_all(&path).unwrap();
            let image = RgbImage::from_pixel(8, 8, image::Rgb([light + number * 5; 3]));
            image.save(path.join(format!("{number}.png"))).unwrap();
        }
    }
    for sigmoid in [true, false] {
        fs::write(folder.join("a.onnx"), brightness(sigmoid)).unwrap();
        let options = "--mean 0.5 --std 0.5 --effort fast --calibrate data -o a.brook";
        let made = json(folder, &format!("quantize a.onnx {options}"));
        assert_eq!(made["evidence"]["top1"], 1.0, "{made}");
        let text = succeed(folder, "run a.brook data/2-day/3.png");
        assert!(!text.contains("100.00 %") && text.contains("2-day"), "{text}");
        let day = &json(folder, "run a.brook data/2-day/3.png")["images"][0];
        let night = &json(folder, "run a.brook data/1-night/3.png")["images"][0];
        let score = |report: &serde_json::Value| report["score"]["score"].as_f64().unwrap();
        // 4 · (215 / 127.5 − 1), and 4 · (75 / 127.5 − 1).
        assert!((score(day) - 2.745).abs() < 0.05 && (score(night) + 1.647).abs() < 0.05, "{day}");
        let probability = |report: &serde_json::Value| report["score"]["probability"].as_f64();
        assert_eq!(probability(day).is_some(), sigmoid);
        if sigmoid {
            let exact = 1.0 / (1.0 + (-score(day)).exp());
            assert!((probability(day).unwrap() - exact).abs() < 1e-6, "{day}");
        }
        let report = json(folder, "eval a.brook data");
        assert_eq!(report["top1"], 1.0, "{report}");
        assert_eq!(report["threshold"], if sigmoid { 0.5 } else { 0.0 });
        assert!(report["top5"].is_null());
        // With a threshold above all of them nothing is day.
        let high = if sigmoid { "0.99" } else { "9" };
        let report = json(folder, &format!("eval a.brook data --threshold {high}"));
        assert_eq!(report["top1"], 0.5, "{report}");
        let [night, day] = [0, 1].map(|class| report["classes"][class].clone());
        let found = |class: &serde_json::Value| {
            let number = |field: &str| class[field].as_u64();
            (number("class"), number("images"), number("right"), number("taken_for"))
        };
        assert_eq!(found(&night), (Some(0), Some(10), Some(10), None), "{report}");
        assert_eq!(found(&day), (Some(1), Some(10), Some(0), Some(0)), "{report}");
        let table = succeed(folder, &format!("eval a.brook data --threshold {high} --per-class"));
        assert!(table.contains("others taken for") && table.contains("0.00 %"), "{table}");
        // A folder stands for the images in it, sorted by name.
        let each = json(folder, "run a.brook data/2-day data/1-night/0.png");
        let names: Vec<&str> = each["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["image"].as_str().unwrap())
            .collect();
        assert_eq!(
            (names.len(), names[0], names[9], names[10]),
            (11, "data/2-day/0.png", "data/2-day/9.png", "data/1-night/0.png")
        );
        let empty = brooklet(folder, "run a.brook data").unwrap_err();
        assert!(empty.contains("data: holds no images"), "{empty}");
        let compared = succeed(folder, "compare a.onnx a.brook data");
        assert!(compared.contains("float top-1   100.00 %"), "{compared}");
        let refused = brooklet(folder, "ensemble a.brook a.brook -o all.brook").unwrap_err();
        assert!(refused.contains("has one score"), "{refused}");
    }
    let refused = brooklet(folder, "eval a.brook data --threshold nan").unwrap_err();
    assert!(refused.contains("--threshold"), "{refused}");
}

/// A sigmoid anywhere else is an activation, and a layer of its own.
#[test]
fn a_sigmoid_inside_is_an_activation() {
    let folder = tempfile::tempdir().unwrap();
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("w0", &[4, 3, 1, 1], |_| 1.0)
        .node("Conv", "x w0", "c", &[attribute("pads", &[0; 4])])
        .node("Sigmoid", "c", "s", &[])
        .node("GlobalAveragePool", "s", "y", &[]);
    fs::write(folder.path().join("a.onnx"), network.bytes()).unwrap();
    let line = "quantize a.onnx --calibrate random:1 -o a.brook";
    succeed(folder.path(), line);
    let report = json(folder.path(), "inspect a.brook");
    let layer = &report["layers"][2];
    assert_eq!(
        (&layer["kind"], &layer["name"]),
        (&"lookup".into(), &"stem.sigmoid".into()),
        "{report}"
    );
}

#[test]
fn networks_with_a_sigmoid_are_imported() {
    let Some(cases) = shared_cases("scores") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["sigmoid1.onnx", "sigmoid_float.tflite"] {
        let path = cases.join("14-one-score").join(name);
        let path = path.display();
        let line = format!("quantize {path} --effort fast --calibrate random:4 -o a.brook");
        succeed(folder, &line);
        let report = json(folder, "inspect a.brook");
        let [rows, columns, _] = [0, 1, 2].map(|index| report["input"][index].as_u64().unwrap());
        RgbImage::new(columns as u32, rows as u32).save(folder.join("x.png")).unwrap();
        let run = &json(folder, "run a.brook x.png")["images"][0];
        assert!(run["score"]["probability"].is_f64(), "{name}: {run}");
    }
}

/// Two heads: both run, or only the chosen one.
#[test]
fn both_heads_run_or_one_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("w0", &[4, 3, 1, 1], |index| 0.1 * (index as f32 - 5.0))
        .floats("w1", &[3, 4], |index| 0.3 * (index as f32 - 6.0))
        .floats("w2", &[1, 4], |index| index as f32 - 1.0)
        .node("Conv", "x w0", "c", &[attribute("pads", &[0; 4])])
        .node("GlobalAveragePool", "c", "p", &[])
        .node("Flatten", "p", "f", &[])
        .node("Gemm", "f w2", "angle", &[scalar("transB", 1)])
        .node("Gemm", "f w1", "y", &[scalar("transB", 1)]);
    fs::write(folder.path().join("a.onnx"), network.bytes_with_outputs(&["y", "angle"])).unwrap();
    let line = "quantize a.onnx --calibrate random:4 --effort fast -o a.brook";
    succeed(folder.path(), line);
    RgbImage::from_pixel(8, 8, image::Rgb([200, 10, 90]))
        .save(folder.path().join("x.png"))
        .unwrap();
    let both = &json(folder.path(), "run a.brook x.png")["images"];
    assert_eq!(both[0]["logits"].as_array().unwrap().len(), 3, "{both}");
    assert_eq!(both[0]["others"][0]["values"].as_array().unwrap().len(), 1, "{both}");
    succeed(folder.path(), &format!("{line} --outputs angle"));
    let one = &json(folder.path(), "run a.brook x.png")["images"];
    let angle = one[0]["score"]["score"].as_f64().unwrap();
    let other = both[0]["others"][0]["values"][0].as_f64().unwrap();
    assert!((angle - other).abs() < 0.05 * angle.abs().max(1.0), "{angle} {other}");
}
