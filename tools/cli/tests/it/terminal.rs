//! Escape sequences in files are shown, not obeyed, and very long text is cut.

use std::fs;
use std::process::Command;

use crate::onnx::Onnx;
use crate::shell::{resnet8, succeed};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

/// Names that turn a terminal red, set its window's title, and run backwards.
const NAME: &str = "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{202e}";

/// Both streams of a command.
fn prints(folder: &std::path::Path, line: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let output = command.current_dir(folder).args(line.split_whitespace()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
}

#[test]
fn labels_are_shown_not_obeyed() {
    let desk = resnet8();
    let folder = desk.path();
    let names: Vec<String> = (0..10).map(|class| format!("{class}{NAME}")).collect();
    fs::write(folder.join("labels.txt"), names.join("\n")).unwrap();
    image::RgbImage::new(32, 32).save(folder.join("1.png")).unwrap();
    succeed(
        folder,
        "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2 \
         --labels labels.txt -o a.brook",
    );
    let shown = succeed(folder, "run a.brook 1.png");
    assert!(is_harmless(&shown) && shown.contains(r"\u{1b}[31mred"), "{shown:?}");
    // Programs get the name as it is.
    let shown = succeed(folder, "run a.brook 1.png --json");
    assert!(is_harmless(&shown), "{shown:?}");
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let top = &report["images"][0]["top"][0];
    assert_eq!(top["name"], format!("{}{NAME}", top["class"]));
    let line = "report a.safetensors a.brook random:8 --arch resnet8 -o page.html";
    assert!(is_harmless(&succeed(folder, line)));
    assert!(is_harmless(&fs::read_to_string(folder.join("page.html")).unwrap()));
}

#[test]
fn names_in_errors_are_shown_not_obeyed_and_cut() {
    let desk = tempfile::tempdir().unwrap();
    let folder = desk.path();
    let long = "x".repeat(1 << 20);
    let data = [0; 4];
    let tensor = |name: &str, shape: Vec<usize>, kind| {
        let data = if kind == Dtype::F32 { &data[..] } else { &data[..2] };
        serialize([(name.to_owned(), TensorView::new(kind, shape, data).unwrap())], None).unwrap()
    };
    let write = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    write("name.safetensors", tensor(NAME, vec![1], Dtype::F16));
    write("lines.safetensors", tensor("two\nlines", vec![1], Dtype::F16));
    write("long.safetensors", tensor(&long, vec![1], Dtype::F16));
    write("left.safetensors", tensor(&long, vec![1], Dtype::F32));
    write("dims.safetensors", tensor("conv1.weight", vec![1; 100_000], Dtype::F32));
    write("op.onnx", Onnx::new(&[1, 3, 8, 8]).node(NAME, "x", "y", &[]).bytes());
    write(
        "long.onnx",
        Onnx::new(&[1, 3, 8, 8]).node(&long, &format!("x {long}"), "y", &[]).bytes(),
    );
    write("node.onnx", Onnx::new(&[1, 3, 8, 8]).node("LSTM", "x", NAME, &[]).bytes());
    write("ranges.json", format!("{{\"{long}\": \"{NAME}\"}}").into_bytes());
    for file in [
        "name.safetensors",
        "lines.safetensors",
        "long.safetensors",
        "left.safetensors",
        "dims.safetensors",
        "op.onnx",
        "long.onnx",
        "node.onnx",
    ] {
        let line = format!("quantize {file} --arch resnet8 --calibrate random:2 -o a.brook");
        let (succeeds, told) = prints(folder, &line);
        assert!(!succeeds && is_harmless(&told), "{file}: {told:?}");
        assert!(told.len() < 2500 && told.contains(file), "{file}: {} bytes", told.len());
        // One line for the error, and one for its remedy.
        assert_eq!(told.lines().filter(|line| !line.trim().is_empty()).count(), 2, "{told}");
    }
    #[cfg(unix)]
    {
        let file = format!("{NAME}.brook");
        fs::write(folder.join(&file), "no model").unwrap();
        let (succeeds, told) = prints(folder, &format!("inspect {file}"));
        assert!(!succeeds && is_harmless(&told), "{told:?}");
    }
}

/// Colours are used if they are asked for; by default not without a terminal.
#[test]
fn errors_have_colours_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (option, coloured) in
        [("", false), ("--color auto", false), ("--color always", true), ("--color never", false)]
    {
        let (done, text) = prints(folder.path(), &format!("inspect nothing.brook {option}"));
        assert_eq!((done, text.contains('\u{1b}')), (false, coloured), "{option}: {text:?}");
        assert!(text.contains("nothing.brook"), "{text}");
    }
    let (done, text) = prints(folder.path(), "inspect nothing.brook --color red");
    assert!(!done && text.contains("auto, always, never"), "{text}");
}

/// A quiet command prints only its report.
#[test]
fn quiet_commands_say_nothing_of_their_work() {
    let folder = tempfile::tempdir().unwrap();
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let bench = |options: &str| {
        let model = golden.join("tiny.brook");
        let line = format!("bench {} --board qemu-mps2-an386 --json {options}", model.display());
        prints(folder.path(), &line)
    };
    // It packs the model for the board's kernels, and reports that.
    let (done, text) = bench("");
    assert!(done && text.contains("packed for the board's kernels"), "{text}");
    let (done, text) = bench("--quiet");
    assert!(done && serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    // With more words there are decisions, and times of stages and of all.
    let (done, text) = bench("--verbose");
    let says = ["qemu-mps2-an386: in the emulator", " s  running an image", " s  in all"];
    assert!(done && says.iter().all(|words| text.contains(words)), "{text}");
    let (done, text) = prints(folder.path(), "boards -q -v");
    assert!(!done && text.contains("cannot be used with"), "{text}");
}
