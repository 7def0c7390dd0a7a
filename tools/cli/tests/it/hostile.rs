//! Inputs that are made to abort, hang or fill the memory: each command that reads them ends in
//! time, in little memory, and with at most one clear error.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::onnx::{Onnx, attribute, scalar};
use crate::shell::{resnet8, succeed};
use tempfile::TempDir;

/// Limits of a command: address space in KiB, and seconds of processor time.
const LIMITS: &str = "ulimit -c 0; ulimit -v 4000000; ulimit -t 5";

/// Maximum size of an error in bytes.
const MESSAGE: usize = 2500;

/// A folder with a network, a model of it that takes images of its size, and one that resizes
/// images.
fn desk() -> TempDir {
    let desk = resnet8();
    let quantize = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2";
    succeed(desk.path(), &format!("{quantize} -o a.brook"));
    succeed(desk.path(), &format!("{quantize} --resize 32 --crop 32x32 -o resized.brook"));
    desk
}

/// Runs `brooklet` in bounded memory and time.
fn bounded(folder: &Path, line: &str) -> (ExitStatus, String, String) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{LIMITS}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_brooklet")])
        .args(line.split_whitespace())
        // A thread's stack and heap are address space, too.
        .env("RAYON_NUM_THREADS", "2")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.unwrap().read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let output = reader(child.stdout.take().map(|stream| Box::new(stream) as _));
    let errors = reader(child.stderr.take().map(|stream| Box::new(stream) as _));
    // Waiting takes no processor time. Other tests may keep the cores busy.
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{line}: waits for ever");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    (status, output.join().unwrap(), errors.join().unwrap())
}

/// Checks that a command succeeds, or is refused with one error that names a file and has a remedy.
fn ends_well(folder: &Path, line: &str) -> Option<String> {
    let (status, output, errors) = bounded(folder, line);
    let told = format!("brooklet {line}: {status}\n{errors:.2000}");
    assert!(matches!(status.code(), Some(0..=2)), "{told}");
    assert!(!errors.contains("panicked") && !errors.contains("bug in brooklet"), "{told}");
    assert!(errors.len() <= MESSAGE, "{told}");
    let obeyed = |c: char| c.is_control() && c != '\n';
    assert!(!output.contains(obeyed) && !errors.contains(obeyed), "{told:?}");
    if status.success() {
        assert!(errors.is_empty() || errors.starts_with("warning: "), "{told}");
        return None;
    }
    let names = line.split_whitespace().filter_map(|word| Path::new(word).file_name());
    let named = names.map(|name| name.to_string_lossy()).any(|name| errors.contains(&*name));
    assert!(named, "{told}");
    if status.code() == Some(1) {
        assert_eq!(errors.matches("× ").count(), 1, "{told}");
        assert!(errors.contains("help: ") && output.is_empty(), "{told}");
    }
    Some(errors)
}

/// Checks that a command is refused with all of `says`.
fn refused(folder: &Path, line: &str, says: &[&str]) {
    let errors = ends_well(folder, line).unwrap_or_else(|| panic!("{line} succeeds"));
    for say in says {
        assert!(errors.contains(say), "{line}: no {say:?} in {errors}");
    }
}

/// The commands that may read a file with this name.
fn readers(file: &str) -> Vec<String> {
    const QUANTIZE: &str = "--effort fast -o new.brook";
    let of = |line: &str| line.replace("FILE", file);
    let network = format!("quantize FILE --arch resnet8 --calibrate random:2 {QUANTIZE}");
    let resnet8 = format!("quantize a.safetensors --arch resnet8 {QUANTIZE}");
    let random = "--calibrate random:2";
    let extension = Path::new(file).extension().map(|extension| extension.to_string_lossy());
    let lines = match extension.as_deref() {
        Some("onnx" | "tflite" | "pt" | "pth" | "safetensors") => {
            vec![network, "compare FILE a.brook random:2 --arch resnet8".to_owned()]
        }
        Some("npy" | "npz" | "bin") => vec![
            format!("{resnet8} --calibrate FILE"),
            "eval a.brook FILE".to_owned(),
            "eval resized.brook FILE".to_owned(),
            "eval a.brook random:4 --float FILE".to_owned(),
        ],
        Some("png" | "jpg") => {
            vec!["run a.brook FILE".to_owned(), "run resized.brook FILE".to_owned()]
        }
        Some("txt") => vec![format!("{resnet8} {random} --labels FILE")],
        Some("json") => vec![
            format!("quantize a.safetensors --arch resnet8 --ranges FILE -o new.brook"),
            format!("{resnet8} {random} --preprocess FILE"),
        ],
        Some("brook") => [
            "inspect FILE",
            "check FILE",
            "fit FILE",
            "plan FILE",
            "run FILE a.safetensors",
            "eval FILE random:2",
        ]
        .map(String::from)
        .to_vec(),
        _ => vec![],
    };
    lines.iter().map(|line| of(line)).collect()
}

/// The unpacked contents of a `.gz` file, in a folder.
fn unpacked(file: &Path, folder: &Path) -> PathBuf {
    let path = folder.join(file.file_stem().unwrap());
    let output = fs::File::create(&path).unwrap();
    let status = Command::new("gzip").arg("-dc").arg(file).stdout(output).status().unwrap();
    assert!(status.success(), "{}", file.display());
    path
}

/// Runs each file of `../shared/cases/hostile` through each command that may read it.
#[test]
fn hostile_files_are_refused_or_read() {
    let Some(data) = crate::common::shared_data("hostile files") else { return };
    let hostile = data.join("../cases/hostile");
    let Ok(entries) = fs::read_dir(&hostile) else {
        return crate::common::skipped(&format!(
            "hostile files: there is no {}",
            hostile.display()
        ));
    };
    let desk = desk();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut run = 0;
    for file in files {
        let file = match file.extension() {
            Some(packed) if packed == "gz" => unpacked(&file, desk.path()),
            _ => file,
        };
        // Planning a thousand rows in 63 layers again takes longer, but it ends, and takes little
        // memory.
        let plans = |line: &str| line.starts_with("plan ") || line.starts_with("fit ");
        let is_long = file.ends_with("parse_slow_rows1000.brook");
        let lines = readers(&file.display().to_string());
        for line in lines.into_iter().filter(|line| !(is_long && plans(line))) {
            ends_well(desk.path(), &line);
            run += 1;
        }
    }
    assert!(run > 300, "{run}");
}

/// A board's check of the file that was made to be slow takes a bounded number of instructions,
/// although the board has no kernels for it. In a thorough run also after it was planned for the
/// board, so that its layers share places in the arena.
#[test]
fn a_board_checks_the_slow_file_in_time() {
    let Some(data) = crate::common::shared_data("the slow file") else { return };
    let packed = data.join("../cases/hostile/parse_slow_rows1000.brook.gz");
    if !packed.exists() {
        return crate::common::skipped(&format!("there is no {}", packed.display()));
    }
    let desk = tempfile::tempdir().unwrap();
    unpacked(&packed, desk.path());
    let board = "qemu-mps2-an386";
    let plan = format!("plan parse_slow_rows1000.brook --board {board} -o planned.brook");
    let files = ["parse_slow_rows1000.brook", "planned.brook"];
    for file in crate::common::tries(&files[..1], &files) {
        if *file == "planned.brook" {
            succeed(desk.path(), &plan);
        }
        let line = format!("check {file} --board {board} --json");
        let report: serde_json::Value = serde_json::from_str(&succeed(desk.path(), &line)).unwrap();
        let instructions = report["board"]["check_instructions"].as_u64().unwrap();
        println!("{file}: {instructions} instructions");
        assert!(instructions < 20_000_000, "{file}: {instructions}");
        assert_eq!(report["board"]["refused"].is_string(), *file != "planned.brook", "{report}");
    }
}

/// An `.npy` file with this header.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u32).to_le_bytes();
    [b"\x93NUMPY\x02\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn arrays_that_declare_too_much() {
    let desk = desk();
    let shaped = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
    };
    let nested = |brackets: usize| {
        let (open, close) = ("(".repeat(brackets), ")".repeat(brackets));
        shaped("'|u1'", &format!("{open}1,{close}"))
    };
    let zeros = |bytes| vec![0; bytes];
    for (name, bytes) in [
        ("nested30.npy", npy(&nested(30), &zeros(9))),
        ("nested30000.npy", npy(&nested(30_000), &zeros(9))),
        ("list.npy", npy(&shaped(&"[".repeat(50_000), "(1,)"), &zeros(9))),
        ("petabyte.npy", npy(&shaped("'|u1'", "(1125899906842624, 32, 32, 3)"), &zeros(99))),
        ("overflow.npy", npy(&shaped("'|u1'", "(4294967296, 4294967296, 4, 4)"), &zeros(99))),
        ("nothing.npy", npy(&shaped("'|u1'", "(0, 4294967296, 4294967296, 4)"), &[])),
        ("short.npy", npy(&shaped("'|u1'", "(4, 32, 32, 3)"), &zeros(3 * 3072))),
        ("floats.npy", npy(&shaped("'<f4'", "(2, 1000000000)"), &zeros(80))),
        ("header.npy", [b"\x93NUMPY\x02\x00", &u32::MAX.to_le_bytes()[..]].concat()),
    ] {
        fs::write(desk.path().join(name), bytes).unwrap();
        for line in readers(name) {
            refused(desk.path(), &line, &[name]);
        }
    }
    // An entry that declares more than its bytes can unpack to.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, &npy(&shaped("'|u1'", "(9, 32, 32, 3)"), &[])).unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    // The offsets of the length in the entry's header, and in the file's directory.
    for (signature, place) in [(b"PK\x03\x04", 22), (b"PK\x01\x02", 24)] {
        let header = bytes.windows(4).position(|word| word == signature).unwrap();
        bytes[header + place..][..4].copy_from_slice(&4_000_000_000_u32.to_le_bytes());
    }
    fs::write(desk.path().join("bomb.npz"), bytes).unwrap();
    refused(desk.path(), "eval a.brook bomb.npz", &["bomb.npz: ", "`x.npy` declares 4000000000"]);
}

/// A png of zeros. Its chunks are written here, because an encoder would need the pixels.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::new(width, height);
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn images_that_unpack_to_too_much() {
    let desk = desk();
    for (name, width, height, says) in [
        ("wide.png", 4_000_000, 1, "too many pixels"),
        ("tall.png", 1, 4_000_000, "too many pixels"),
        ("large.png", 10_000, 10_000, "too many to decode"),
    ] {
        fs::write(desk.path().join(name), png(width, height)).unwrap();
        refused(desk.path(), &format!("run resized.brook {name}"), &[name, says]);
    }
    // Sizes in a model are limited as well as those of an image.
    fs::write(desk.path().join("small.png"), png(64, 32)).unwrap();
    let quantize = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2";
    succeed(desk.path(), &format!("{quantize} --resize 4096 --crop 32x32 -o huge.brook"));
    refused(desk.path(), "run huge.brook small.png", &["small.png: ", "--resize"]);
}

/// A network between a convolution and ten classes, to which `middle` adds layers.
fn network(middle: impl FnOnce(Onnx) -> Onnx) -> Onnx {
    let weight = |index: usize| (index as f32 * 0.7).sin();
    let onnx = Onnx::new(&[0, 3, 8, 8])
        .floats("w0", &[8, 3, 3, 3], weight)
        .floats("w2", &[10, 8], weight)
        .node("Conv", "x w0", "c", &[attribute("pads", &[1; 4])]);
    middle(onnx)
        .node("GlobalAveragePool", "m", "pool", &[])
        .node("Flatten", "pool", "flat", &[])
        .node("Gemm", "flat w2", "y", &[scalar("transB", 1)])
}

#[test]
fn networks_that_grow() {
    let desk = desk();
    let write = |name: &str, onnx: Onnx| fs::write(desk.path().join(name), onnx.bytes()).unwrap();
    let doubling = |op: &'static str, attributes: &'static [(&str, i64)]| {
        network(move |mut onnx| {
            onnx = onnx.ints("d0", &[1, 2, 3, 4]);
            let attributes: Vec<_> = attributes.iter().map(|(n, v)| scalar(n, *v)).collect();
            for i in 0..40 {
                onnx = onnx.node(op, &format!("d{i} d{i}"), &format!("d{}", i + 1), &attributes);
            }
            onnx.node("Relu", "c", "m", &[])
        })
    };
    write("doubling.onnx", doubling("Concat", &[("axis", 0)]));
    // One tensor of weights, in more layers than could each hold a copy.
    write("shared.onnx", {
        let mut onnx = Onnx::new(&[0, 512, 8, 8]).floats("w", &[512, 512, 3, 3], |_| 0.0);
        let mut before = "x".to_owned();
        for i in 0..2000 {
            let name = format!("c{i}");
            onnx = onnx.node("Conv", &format!("{before} w"), &name, &[attribute("pads", &[1; 4])]);
            before = name;
        }
        onnx.node("GlobalAveragePool", &before, "y", &[])
    });
    let row = |count: usize| {
        network(move |mut onnx| {
            let mut before = "c".to_owned();
            for i in 0..count {
                let name = if i + 1 == count { "m".to_owned() } else { format!("r{i}") };
                onnx = onnx.node("Relu", &before, &name, &[]);
                before = name;
            }
            onnx
        })
    };
    write("row60000.onnx", row(60_000));
    write("row100000.onnx", row(100_000));
    write("identity.onnx", Onnx::new(&[0, 3, 8, 8]).node("Identity", "x", "y", &[]));
    for (name, says) in [
        ("doubling.onnx", "far larger than the file"),
        ("shared.onnx", "far larger than the file"),
        ("row100000.onnx", "more than 65535 layers"),
        ("identity.onnx", "the output is the input"),
    ] {
        let line = format!("quantize {name} --calibrate random:2 --effort fast -o new.brook");
        refused(desk.path(), &line, &[name, says, "help: "]);
    }
    // A network as long as the format allows, with layers that do nothing: it may well run.
    ends_well(
        desk.path(),
        "quantize row60000.onnx --calibrate random:2 --effort fast -o new.brook",
    );
}

/// A file without an end is refused wherever files are read.
#[test]
fn pipes_and_devices_are_no_files() {
    let desk = desk();
    let made = Command::new("mkfifo").arg(desk.path().join("pipe")).status().unwrap();
    assert!(made.success());
    for (file, what) in [("pipe", "is a pipe"), ("/dev/zero", "is a device")] {
        for line in [
            "quantize FILE --arch resnet8 --calibrate random:2 -o new.brook",
            "quantize a.safetensors --arch resnet8 --calibrate FILE -o new.brook",
            "quantize a.safetensors --arch resnet8 --ranges FILE -o new.brook",
            "quantize a.safetensors --arch resnet8 --calibrate random:2 --labels FILE -o new.brook",
            "quantize a.safetensors --arch resnet8 --calibrate random:2 --preprocess FILE -o b.brook",
            "inspect FILE",
            "check FILE",
            "doctor FILE random:2 --arch resnet8",
            "doctor a.safetensors FILE --arch resnet8",
            "fit FILE",
            "plan FILE",
            "run FILE FILE",
            "run a.brook FILE",
            "eval a.brook FILE",
            "eval a.brook random:2 --float FILE",
            "compare FILE a.brook random:2 --arch resnet8",
            "compare a.safetensors FILE random:2 --arch resnet8",
            "compare a.safetensors a.brook FILE --arch resnet8",
            "ensemble FILE a.brook -o new.brook",
            "flash FILE --board qemu-mps2-an386",
            "flash a.brook --board qemu-mps2-an386 --run FILE",
            "bench FILE --board qemu-mps2-an386",
        ] {
            refused(desk.path(), &line.replace("FILE", file), &[file, what]);
        }
    }
}
