//! The order of the classes: class folders by name, by number, or in the order of a file of names.

use std::fs;
use std::path::Path;

use crate::common::shared_data;
use crate::shell::{brooklet, json, succeed};
use image::RgbImage;
use serde_json::Value;

/// The first images of the test set, in a folder for each class.
fn write_folders(shared: &Path, folder: &Path, name: impl Fn(u8) -> String) {
    let all = fs::read(shared.join("cifar10/test_first5000.bin")).unwrap();
    for (index, record) in all.chunks(3073).take(200).enumerate() {
        let path = folder.join(name(record[0]));
        fs::create_dir_all(&path).unwrap();
        let pixel = |x, y| {
            let at = 1 + 32 * y as usize + x as usize;
            image::Rgb([record[at], record[at + 1024], record[at + 2048]])
        };
        RgbImage::from_fn(32, 32, pixel).save(path.join(format!("{index}.png"))).unwrap();
    }
}

fn top1(report: &Value) -> f64 {
    report["top1"].as_f64().unwrap()
}

#[test]
fn the_order_of_the_classes_is_found_and_kept() {
    let Some(shared) = shared_data("doctor") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let network = shared.join("models/mlperf_resnet8_int8.tflite");
    let network = network.display();

    // Folders 1 to 10: sorted by name, 10 comes second.
    write_folders(&shared, &folder.join("numbers"), |class| (class + 1).to_string());
    let report = json(folder, &format!("doctor {network} numbers --images 200"));
    let first = &report["tried"][0];
    assert_eq!(
        (&first["classes"], report["alike"].as_array().unwrap().len()),
        (&"in order of numbers".into(), 0),
        "{report}"
    );
    assert!(top1(first) > 0.8 && report["verdict"].as_str().unwrap().contains("give --labels"));

    // Names in no order, and a file with their order: quantize and eval follow what the doctor
    // prints.
    let names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry"];
    write_folders(&shared, &folder.join("names"), |class| names[usize::from(class)].to_owned());
    fs::write(folder.join("names.txt"), names.join("\n")).unwrap();
    let without = json(folder, &format!("doctor {network} names --images 200"));
    assert!(without["options"].is_null(), "{without}");
    let with = json(folder, &format!("doctor {network} names --images 200 --labels names.txt"));
    assert!(with["verdict"].as_str().unwrap().contains("--labels names.txt"), "{with}");
    succeed(folder, &format!("quantize {network} --labels names.txt -o a.brook"));
    assert!(top1(&json(folder, "eval a.brook names")) > 0.8);
    // Folders for only some of the classes keep their numbers.
    fs::create_dir(folder.join("some")).unwrap();
    for name in ["ship", "bird"] {
        fs::rename(folder.join("names").join(name), folder.join("some").join(name)).unwrap();
    }
    assert!(top1(&json(folder, "eval a.brook some")) > 0.7);
    // A folder that is not a class is named; the file of names must have all of them.
    fs::rename(folder.join("some/bird"), folder.join("some/birds")).unwrap();
    let refused = brooklet(folder, "eval a.brook some").unwrap_err();
    assert!(
        refused.contains("its folder `birds` is not one of the network's classes"),
        "{refused}"
    );
    let refused = brooklet(folder, &format!("doctor {network} some --labels names.txt"));
    assert!(refused.unwrap_err().contains("has no line `birds`"));
}
