//! The command as a user meets it: what it prints, what it refuses and how, what it leaves behind.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{shared_data, skipped};
use crate::onnx::{Onnx, attribute, scalar};
use brooklet::format::Packing;
use brooklet_import as import;
use brooklet_import::Imported;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::test_image::TestImage;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::weights::Learned;
use image::RgbImage;
use ndarray::{Array1, Array2};
use ndarray_npy::{read_npy, write_npy};
use serde_json::{Value, json};
use tempfile::TempDir;

fn weight(index: usize) -> f32 {
    (index as f32 * 0.7).sin()
}

/// A residual block between a convolution and ten classes, for images of 8x8.
fn tiny() -> Onnx {
    let pads = [attribute("pads", &[1; 4])];
    Onnx::new(&[0, 3, 8, 8])
        .floats("w0", &[8, 3, 3, 3], weight)
        .floats("w1", &[8, 8, 3, 3], weight)
        .floats("w2", &[10, 8], weight)
        .node("Conv", "x w0", "c0", &pads)
        .node("Relu", "c0", "r0", &[])
        .node("Conv", "r0 w1", "c1", &pads)
        .node("Add", "r0 c1", "sum", &[])
        .node("Relu", "sum", "r1", &[])
        .node("GlobalAveragePool", "r1", "pool", &[])
        .node("Flatten", "pool", "flat", &[])
        .node("Gemm", "flat w2", "y", &[scalar("transB", 1)])
}

/// One convolution, of an image with `rows` and `columns`.
fn conv(rows: i64, columns: i64, channels: i64, outputs: i64, weight: fn(usize) -> f32) -> Onnx {
    Onnx::new(&[1, channels, rows, columns])
        .floats("w", &[outputs, channels, 3, 3], weight)
        .node("Conv", "x w", "bad_conv", &[attribute("pads", &[1; 4])])
        .node("GlobalAveragePool", "bad_conv", "y", &[])
}

/// A folder to work in, with a network, a model of it, its ranges, and images.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        desk.write("tiny.onnx", &tiny().bytes());
        desk.succeeds(
            "quantize tiny.onnx --effort fast --calibrate random:4 --save-ranges ranges.json -o tiny.brook",
        );
        RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 99]))
            .save(desk.path("fits.png"))
            .unwrap();
        RgbImage::new(9, 7).save(desk.path("other.png")).unwrap();
        // What every refused command would overwrite.
        desk.write("out.brook", b"a good model");
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("BROOKLET_BOARDS");
        command
    }

    /// Runs `brooklet` with these words.
    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What is printed by a command that must succeed, and say nothing beside: no progress bar.
    fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.is_empty(), "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The report, as JSON, of a command that must succeed.
    fn report(&self, line: &str) -> Value {
        serde_json::from_str(&self.succeeds(&format!("{line} --json"))).unwrap()
    }

    /// One error with all of `says` in it and a remedy; no panic; nothing written.
    fn refuses(&self, line: &str, says: &[&str]) {
        let before = self.files();
        let output = self.run(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        let told = format!("brooklet {line}\n{errors}");
        // 1: the command; 2: the parser of its options.
        let (mark, remedy) = match output.status.code() {
            Some(1) => ("× ", "help: "),
            Some(2) => ("error: ", "try '--help'"),
            code => panic!("{code:?}: {told}"),
        };
        assert_eq!(errors.matches(mark).count(), 1, "{told}");
        assert!(errors.contains(remedy), "{told}");
        assert!(!errors.contains("panicked") && !errors.contains("╰─▶"), "{told}");
        assert!(output.stdout.is_empty(), "{told}");
        for say in says {
            assert!(errors.contains(say), "no {say:?} in: {told}");
        }
        assert_eq!(self.files(), before, "{told}");
        assert_eq!(self.read("out.brook"), b"a good model", "{told}");
    }

    /// Names of all files and folders at the top.
    fn files(&self) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

#[test]
fn networks_that_are_refused() {
    let desk = Desk::new();
    let whole = tiny().bytes();
    desk.write("cut.onnx", &whole[..whole.len() / 2]);
    desk.write("empty.onnx", b"");
    desk.write("named.tflite", &[&8u64.to_le_bytes()[..], b"{}      "].concat());
    desk.write("text.onnx", b"<html>not found</html>");
    desk.write("image.xyz", &desk.read("fits.png"));
    desk.write("broken.safetensors", b"\xff\xff\0\0\0\0\0\0{");
    desk.write("broken.pt", b"PK\x03\x04 and no more");
    desk.write("lstm.onnx", &tiny().node("LSTM", "y w2", "lstm", &[]).bytes());
    desk.write("open.onnx", &{
        let open = Onnx::new(&[0, 3, 0, 0]).floats("w", &[4, 3, 3, 3], weight);
        open.node("Conv", "x w", "y", &[]).bytes()
    });
    desk.write("nan.onnx", &conv(8, 8, 3, 4, |_| f32::NAN).bytes());
    desk.write("huge.onnx", &conv(8, 8, 3, 4, |_| f32::MAX).bytes());
    let arch = "the file holds";
    let empty = [("conv1.weight", [16usize, 3, 3, 3])].map(|(name, shape)| {
        let data: &[u8] = &[0; 16 * 27 * 4];
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.into(), data))
    });
    let empty = empty.map(|(name, view)| (name, view.unwrap()));
    desk.write("stem.safetensors", &safetensors::serialize(empty, None).unwrap());

    for (network, says) in [
        ("nothing.onnx", &["nothing.onnx: cannot be read", "check the path"][..]),
        (".", &["cannot be read"]),
        ("cut.onnx", &["cut.onnx: is not a valid ONNX file", "incomplete"]),
        ("empty.onnx", &["empty.onnx: is not a valid ONNX file"]),
        ("named.tflite", &["named.tflite: is named like a TFLite network", "a safetensors file"]),
        ("text.onnx", &["text.onnx: is named like an ONNX network", "text"]),
        ("image.xyz", &["image.xyz: is not a kind of network", "an image", ".safetensors"]),
        ("tiny.brook", &["tiny.brook: is not a kind of network", "a brooklet model"]),
        ("broken.pt --arch resnet20", &["broken.pt: is not a valid PyTorch checkpoint"]),
        ("broken.safetensors --arch resnet20", &["broken.safetensors: "]),
        ("stem.safetensors", &["stem.safetensors: holds weights only", "--arch: resnet18"]),
        ("stem.safetensors --arch resnet20", &["`bn1.weight`: is missing", arch]),
        ("stem.safetensors --arch resnet21", &["'resnet21'", "resnet20, resnet32"]),
        ("lstm.onnx", &["lstm.onnx: `lstm`: operator LSTM is not supported"]),
        ("open.onnx", &["open.onnx: ", "has no fixed size", "fixed height, width"]),
        ("nan.onnx", &["nan.onnx: `bad_conv`: the weights contain NaN", "earlier checkpoint"]),
        ("huge.onnx", &["huge.onnx: `bad_conv`: ", "not finite", "--mean"]),
        ("tiny.onnx --input 9x9", &["tiny.onnx: says the size of its input", "leave out --input"]),
    ] {
        desk.refuses(&format!("quantize {network} --calibrate random:2 -o out.brook"), says);
    }
    desk.refuses("quantize tiny.onnx -o out.brook", &["tiny.onnx: ", "--calibrate DATA"]);
}

#[test]
fn options_and_data_that_are_refused() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("none")).unwrap();
    fs::create_dir_all(desk.path("classes/cat")).unwrap();
    for class in ["a", "b"] {
        desk.write(&format!("two/{class}/1.png"), &desk.read("fits.png"));
    }
    desk.write("sizes/1.png", &desk.read("other.png"));
    desk.write("broken/1.png", &desk.read("fits.png")[..60]);
    desk.write("short.bin", &[0; 3072]);
    desk.write("noise.npy", b"\x93NUMPY");
    desk.write("noise.npz", b"PK");
    for (data, says) in [
        ("nothing", &["nothing: cannot be read"][..]),
        ("none", &["none: holds no images", "one subfolder a class"]),
        ("classes", &["classes: holds no images"]),
        ("two", &["tiny.onnx: has 10 classes, but two has 2 names", "--labels"]),
        ("sizes", &["sizes/1.png: is 7×9×3", "8×8×3", "--resize 8 --crop 8x8"]),
        ("broken", &["broken/1.png: is not a png or jpeg image"]),
        ("short.bin", &["short.bin: is not a CIFAR-10 binary file: 3072 bytes"]),
        ("noise.npy", &["noise.npy: is not an array of uint8 images"]),
        ("noise.npz", &["noise.npz: is not an array of uint8 images"]),
        ("fits.png", &["fits.png: is one image"]),
        ("random:0", &["random:0: holds no images"]),
        ("random:many", &["`many` is not a number"]),
    ] {
        desk.refuses(&format!("quantize tiny.onnx --calibrate {data} -o out.brook"), says);
    }

    let ranges = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut ranges = desk.json("ranges.json");
        change(&mut ranges["ranges"]);
        desk.write(name, ranges.to_string().as_bytes());
    };
    let whole = desk.json("ranges.json");
    let layer = whole["ranges"].as_object().unwrap().keys().next().unwrap().clone();
    ranges("lacks.json", &|ranges| _ = ranges.as_object_mut().unwrap().remove(&layer));
    ranges("stray.json", &|ranges| ranges["stage9"] = json!({"min": 0, "max": 1}));
    ranges("turned.json", &|ranges| ranges[&layer] = json!({"min": 1, "max": -1}));
    ranges("endless.json", &|ranges| ranges[&layer] = json!({"min": 0, "max": 1e39}));
    ranges("flat.json", &|ranges| ranges[&layer] = json!({"min": 0, "max": 1e-30}));
    let mut uneven = whole.clone();
    uneven["equalization"] = json!({"stem": [1.0, 2.0]});
    desk.write("uneven.json", uneven.to_string().as_bytes());
    let mut below = whole.clone();
    below["absorption"] = json!({"stem": [-1.0, 0, 0, 0, 0, 0, 0, 0]});
    desk.write("below.json", below.to_string().as_bytes());
    desk.write("cut.json", br#"{"images": 3, "ranges": {"#);
    desk.write("list.json", b"[1, 2]");
    let named = format!("`{layer}`");
    for (file, says) in [
        ("nothing.json", &["nothing.json: cannot be read"][..]),
        ("cut.json", &["cut.json: does not hold activation ranges", "--save-ranges"]),
        ("list.json", &["list.json: does not hold activation ranges"]),
        ("fits.png", &["fits.png: is not UTF-8 text"]),
        ("lacks.json", &["lacks.json: ", &named, "has no range", "--save-ranges"]),
        ("stray.json", &["stray.json: `stage9`: the network has no such layer"]),
        ("turned.json", &["turned.json: ", &named, "1 to -1"]),
        ("endless.json", &["endless.json: ", &named]),
        ("uneven.json", &["uneven.json: `stem`: its equalization is not one positive factor"]),
        ("below.json", &["below.json: `stem`: its absorption is not one value of at least 0"]),
        ("flat.json", &["flat.json: ", &layer]),
    ] {
        desk.refuses(&format!("quantize tiny.onnx --ranges {file} -o out.brook"), says);
    }

    desk.write("two.txt", b"cat\ndog\n");
    desk.write("zero.json", br#"{"crop": [0, 0]}"#);
    desk.write("large.json", br#"{"resize": 100000}"#);
    desk.write("still.json", br#"{"std": [1, 0, 1]}"#);
    desk.write("stray.json", br#"{"scale": 2}"#);
    for (options, says) in [
        ("--mean 0.5,0.5", &["'0.5,0.5'", "R,G,B, as in 0.485,0.456,0.406"][..]),
        ("--mean a,b,c", &["R,G,B"]),
        ("--std 0", &["std must be above zero"]),
        ("--crop 8x", &["'8x'", "HxW, as in 224x224"]),
        ("--crop 0x8", &["HxW"]),
        ("--crop 9x9", &["tiny.onnx: a crop of 9x9 does not fit its input of 8x8", "to 8x8"]),
        ("--resize 0", &["'0'", "from 1 to 65535"]),
        ("--resize 100000", &["from 1 to 65535"]),
        ("--preprocess zero.json", &["zero.json: ", "from 1 to 65535"]),
        ("--preprocess large.json", &["large.json: ", "from 1 to 65535"]),
        ("--preprocess still.json", &["still.json: std must be above zero"]),
        ("--preprocess stray.json", &["stray.json: ", "unknown field `scale`"]),
        ("--preprocess zero.json --crop 8", &["cannot be used with"]),
        ("--labels two.txt", &["tiny.onnx: has 10 classes, but two.txt has 2 names"]),
        ("--labels nothing.txt", &["nothing.txt: cannot be read"]),
        ("--labels fits.png", &["fits.png: is not UTF-8 text"]),
        ("--save-ranges new.json", &["'--ranges <FILE.json>' cannot be used with"]),
        ("--backend gpu", &["'gpu'", "portable, armv6m, armv7m, armv7em, helium, rv32, rvv"]),
        ("--calibrate random:2", &["cannot be used with"]),
    ] {
        desk.refuses(
            &format!("quantize tiny.onnx --ranges ranges.json -o out.brook {options}"),
            says,
        );
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    for (output, says) in [
        ("nowhere/new", &["nowhere/new: cannot be written", "mkdir -p nowhere"][..]),
        ("folder", &["folder: cannot be written", "not of a folder"]),
        ("/proc/new", &["/proc/new: cannot be written", "permissions of /proc"]),
    ] {
        for line in [
            "quantize tiny.onnx --ranges ranges.json -o",
            // Refused before the long work, not after it.
            "quantize tiny.onnx --calibrate random:1000000000 -o",
            "quantize tiny.onnx --calibrate random:1000000000 -o out.brook --save-ranges",
            "run tiny.brook fits.png --logits",
            "eval tiny.brook random:1000000000 --logits",
            "flash tiny.brook --board qemu-mps2-an386 --run fits.png --logits",
        ] {
            desk.refuses(&format!("{line} {output}"), says);
        }
    }
}

#[test]
fn model_files_that_are_refused() {
    let desk = Desk::new();
    let whole = desk.read("tiny.brook");
    let everywhere = |model: &str, says: &[&str]| {
        for line in [
            "inspect MODEL",
            "run MODEL fits.png",
            "eval MODEL random:2",
            "flash MODEL --board qemu-mps2-an386",
            "bench MODEL --board qemu-mps2-an386",
        ] {
            desk.refuses(&line.replace("MODEL", model), says);
        }
    };
    everywhere("nothing.brook", &["nothing.brook: cannot be read", "check the path"]);
    everywhere("tiny.onnx", &["tiny.onnx: not a model file", "`brooklet quantize` makes one"]);
    desk.write("cut.brook", &whole[..whole.len() - 1]);
    everywhere("cut.brook", &["cut.brook: the model file is cut off", "quantize it again"]);
    for length in [0, 7, 8, 63, 64, whole.len() / 2] {
        desk.write("cut.brook", &whole[..length]);
        desk.refuses("inspect cut.brook", &["cut.brook: the model file is cut off"]);
    }
    for (place, says) in [
        (0, "not a model file"),
        (8, "format version"),
        (whole.len() / 2, "damaged: CRC"),
        (whole.len() - 1, "damaged: CRC"),
    ] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        desk.write("bit.brook", &bytes);
        desk.refuses("inspect bit.brook", &["bit.brook: ", says]);
    }

    // Packed for another backend: seen, but not run.
    let Ok(Imported::Float(network)) =
        import::load(desk.path("tiny.onnx"), &import::Options::default())
    else {
        panic!("it is a float network");
    };
    let ranges: Ranges = serde_json::from_value(desk.json("ranges.json")).unwrap();
    let fused = Fused::new(&network).unwrap();
    let program = fused
        .quantize(&ranges, &Preprocess::default(), &Learned::new())
        .unwrap()
        .packed(Packing::Pairs);
    desk.write("pairs.brook", &program.write(&plan(&program, Goal::Size).unwrap()));
    assert_eq!(desk.report("inspect pairs.brook")["layers"][1]["packing"], "pairs");
    for line in ["run pairs.brook fits.png", "eval pairs.brook random:2"] {
        let says = ["pairs.brook: ", "pairs", "brooklet plan MODEL --backend NAME"];
        desk.refuses(&format!("{line} --backend portable"), &says);
        desk.report(line);
    }
}

#[test]
fn images_and_answers_that_are_refused() {
    let desk = Desk::new();
    desk.write("cut.png", &desk.read("fits.png")[..70]);
    write_npy(desk.path("few.npy"), &Array2::<f32>::zeros((2, 10))).unwrap();
    write_npy(desk.path("narrow.npy"), &Array2::<f32>::zeros((4, 9))).unwrap();
    write_npy(desk.path("ints.npy"), &Array2::<i8>::zeros((4, 10))).unwrap();
    write_npy(desk.path("best.npy"), &Array1::<u8>::zeros(2)).unwrap();
    for (line, says) in [
        ("run tiny.brook", &["<IMAGES>"][..]),
        ("run tiny.brook nothing.png", &["nothing.png: cannot be read"]),
        ("run tiny.brook fits.png other.png", &["other.png: is 7×9×3", "takes 8×8×3", "--resize"]),
        ("run tiny.brook tiny.onnx", &["tiny.onnx: is not a png or jpeg image"]),
        ("run tiny.brook cut.png", &["cut.png: is not a png or jpeg image", "whole"]),
        ("eval tiny.brook random:4 --skip 4", &["random:4: has 4 images", "lower --skip"]),
        ("eval tiny.brook random:4 --limit 0", &["raise --limit"]),
        ("eval tiny.brook random:4 --float nothing.npy", &["nothing.npy: cannot be read"]),
        ("eval tiny.brook random:4 --float fits.png", &["fits.png: ", "float32 logits"]),
        ("eval tiny.brook random:4 --float ints.npy", &["ints.npy: ", "float32 logits"]),
        ("eval tiny.brook random:4 --float few.npy", &["few.npy: has answers for 2 images"]),
        ("eval tiny.brook random:4 --float best.npy", &["best.npy: has answers for 2 images"]),
        ("eval tiny.brook random:4 --float narrow.npy", &["narrow.npy: has 9 logits", "10"]),
    ] {
        desk.refuses(line, says);
    }
}

#[test]
fn boards_that_are_unknown_or_too_small() {
    let desk = Desk::new();
    // 1.2 MB of weights; a map whose rows take 174 KB; images whose rows take 192 bytes.
    desk.write("heavy.onnx", &conv(4, 4, 256, 512, weight).bytes());
    desk.write("wide.onnx", &conv(2, 340, 3, 512, weight).bytes());
    desk.write("long.onnx", &conv(2, 64, 3, 4, weight).bytes());
    for name in ["heavy", "wide", "long"] {
        desk.succeeds(&format!("quantize {name}.onnx --calibrate random:1 -o {name}.brook"));
    }
    for command in ["flash", "bench"] {
        for (rest, says) in [
            ("tiny.brook --board arduino", &["no board `arduino`", "qemu-mps2-an386, "][..]),
            ("tiny.brook", &["--board"]),
            (
                "heavy.brook --board qemu-netduinoplus2",
                &[
                    "heavy.brook: does not fit qemu-netduinoplus2: it lacks ",
                    "bytes of flash",
                    "fewer weights",
                ],
            ),
            (
                "wide.brook --board qemu-netduinoplus2",
                &[
                    "wide.brook: does not fit qemu-netduinoplus2: it lacks ",
                    "bytes of RAM",
                    "more RAM",
                ],
            ),
            (
                "long.brook --board qemu-microbit",
                &["does not fit qemu-microbit: it lacks ", "64 bytes of a row", "`row_bytes`"],
            ),
            ("tiny.brook --board qemu-mps2-an386 --ram 12KB", &["--ram", "such as", "192K"]),
            (
                "tiny.brook --board qemu-mps2-an386 --ram 5M",
                &["qemu-mps2-an386 cannot be limited to 5242880 bytes", "it has 4194304"],
            ),
            (
                "tiny.brook --board qemu-mps2-an386 --ram 9K",
                &["qemu-mps2-an386: with 9216 bytes of RAM", "too few", "more RAM"],
            ),
        ] {
            desk.refuses(&format!("{command} {rest}"), says);
        }
    }
    // What `flash` refuses is what `fit` says.
    let (netduino, micro, sifive) = ("qemu-netduinoplus2", "qemu-microbit", "qemu-sifive-e");
    for (model, lacks, small) in [
        ("heavy", "slot_bytes_left", &[netduino, micro][..]),
        ("wide", "arena_bytes_left", &[netduino, micro, sifive]),
        ("long", "row_bytes_left", &[micro, sifive]),
    ] {
        let report = desk.report(&format!("fit {model}.brook"));
        for verdict in report["boards"].as_array().unwrap() {
            let name = verdict["board"].as_str().unwrap();
            assert_eq!(verdict[lacks].as_i64().unwrap() < 0, small.contains(&name), "{verdict}");
            let negative = |figure: &Value| figure.as_i64().is_some_and(|left| left < 0);
            let lacking = verdict.as_object().unwrap().values().any(negative);
            assert_eq!(verdict["fits"], !lacking, "{verdict}");
        }
        assert!(desk.succeeds(&format!("fit {model}.brook")).contains("lacks"));
    }
    desk.refuses("flash tiny.brook --board qemu-mps2-an386 --check", &["--run"]);
    desk.refuses(
        "bench tiny.brook --board qemu-riscv-virt --cycles",
        &["--cycles", "qemu-riscv-virt", "qemu-mps2-an386"],
    );
    let mut elsewhere = desk.command("boards");
    let output = elsewhere.env("BROOKLET_BOARDS", desk.folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("inside of a checkout"));
}

#[test]
fn reports_as_json() {
    let desk = Desk::new();
    fs::create_dir(desk.path("new")).unwrap();
    for class in 0..10 {
        desk.write(&format!("data/{class}/1.png"), &desk.read("fits.png"));
    }
    let has = |report: &Value, fields: &[&str]| {
        for field in fields {
            assert!(report.get(field).is_some_and(|value| !value.is_null()), "{field}: {report}");
        }
    };
    let sizes = ["arena_bytes", "session_bytes", "model_bytes", "macs", "layers"];
    let made = desk.report("quantize tiny.onnx --calibrate data -o new/a.brook");
    has(&made, &sizes);
    has(&made["evidence"], &["images", "top1", "top5", "agreement", "sqnr_db"]);
    let model = desk.report("inspect new/a.brook");
    has(&model, &sizes);
    assert_eq!(model["model_bytes"], desk.read("new/a.brook").len());
    let macs = 64 * 27 * 8 + 64 * 72 * 8 + 80;
    assert_eq!((&model["macs"], &model["layers"][1]["macs"]), (&json!(macs), &json!(64 * 27 * 8)));
    for layer in model["layers"].as_array().unwrap() {
        has(layer, &["name", "kind", "shape", "scale", "zero_point", "macs", "weight_bytes"]);
        has(layer, &["ring_rows", "arena_offsets", "row_bytes"]);
    }
    // The same ranges, from a file, give the same model; the old file is replaced.
    desk.write("new/b.brook", b"old");
    desk.succeeds("quantize tiny.onnx --ranges ranges.json -o new/b.brook");
    assert_eq!(desk.read("new/b.brook"), desk.read("tiny.brook"));

    // What is learned depends on data and seed alone, and can be left out.
    let quantize = |options: &str| {
        let report =
            desk.report(&format!("quantize tiny.onnx --calibrate random:8 -o c.brook {options}"));
        (report["evidence"]["sqnr_db"].as_f64().unwrap(), desk.read("c.brook"))
    };
    let learned = quantize("");
    assert_eq!(quantize("--effort default --calibration mse --seed 0"), learned);
    let fast = quantize("--effort fast");
    assert_eq!(quantize("--without absorption,equalization,rounding,bias-correction"), fast);
    assert!(learned.0 > fast.0, "{} {}", learned.0, fast.0);
    assert_ne!(quantize("--without rounding").1, quantize("--without bias-correction").1);
    for calibration in ["auto", "min-max", "percentile", "entropy"] {
        let (sqnr, _) = quantize(&format!("--calibration {calibration}"));
        assert!(sqnr > 20.0, "{calibration}: {sqnr}");
    }

    let images = desk.report("run new/a.brook fits.png fits.png --logits new/run.npy");
    assert_eq!(images.as_array().unwrap().len(), 2);
    has(&images[0], &["image", "device", "logits", "top"]);
    let top = images[0]["top"].as_array().unwrap();
    assert_eq!(top.len(), 5);
    assert_eq!(top[0]["name"], top[0]["class"].to_string());
    let logits: Array2<i8> = read_npy(desk.path("new/run.npy")).unwrap();
    assert_eq!(logits.dim(), (2, 10));
    assert_eq!(json!(logits.row(1).to_vec()), images[1]["logits"]);

    let real = logits.row(0).broadcast((10, 10)).unwrap().mapv(f32::from);
    write_npy(desk.path("float.npy"), &real).unwrap();
    let score = desk
        .report("eval new/a.brook data --skip 2 --limit 5 --float float.npy --logits new/eval.npy");
    has(&score, &["images", "top1", "top5", "agreement", "sqnr_db", "images_per_second"]);
    assert_eq!((&score["images"], &score["agreement"]), (&json!(5), &json!(1.0)));
    assert_eq!(read_npy::<_, Array2<i8>>(desk.path("new/eval.npy")).unwrap().nrows(), 5);

    for board in desk.report("boards").as_array().unwrap() {
        has(board, &["name", "core", "clock_hz", "flash_bytes", "ram_bytes", "backend"]);
    }
    assert!(desk.files().iter().all(|name| !name.to_string_lossy().starts_with('.')));
    assert_eq!(fs::read_dir(desk.path("new")).unwrap().count(), 4, "nothing temporary is left");
}

/// What networks of the paper take: what lives at the worst moment and little more.
#[test]
fn networks_of_the_paper() {
    let desk = Desk::new();
    for (arch, side, most) in
        [("plain20", 32, 14_400), ("resnet110", 32, 18_000), ("resnet18", 224, 151_000)]
    {
        desk.succeeds(&format!("new {arch} -o {arch}.safetensors --seed 7"));
        desk.succeeds(&format!("new {arch} -o again.safetensors --seed 7"));
        assert_eq!(desk.read(&format!("{arch}.safetensors")), desk.read("again.safetensors"));
        desk.succeeds(&format!(
            "quantize {arch}.safetensors --arch {arch} --resize {side} --crop {side} \
             --effort fast --calibrate random:2 -o {arch}.brook"
        ));
        let arena = desk.report(&format!("inspect {arch}.brook"))["arena_bytes"].as_u64().unwrap();
        assert!(arena <= most, "{arch}: {arena}");
        if side == 32 {
            let logits = |backend| {
                let report = desk.report(&format!("run {arch}.brook fits.png --backend {backend}"));
                report[0]["logits"].as_array().unwrap().clone()
            };
            assert_eq!(logits("portable"), logits("reference"));
        }
    }
}

#[test]
fn every_command_has_an_example() {
    let desk = Desk::new();
    for command in ["new", "quantize", "inspect", "run", "eval", "fit", "flash", "bench", "boards"]
    {
        let help = desk.succeeds(&format!("{command} --help"));
        assert!(help.contains("Example"), "{command}");
        assert!(help.contains(&format!("  brooklet {command}")), "{command}");
        assert!(desk.succeeds("--help").contains(&format!("brooklet {command}")), "{command}");
    }
    desk.refuses("frobnicate", &["unrecognized subcommand"]);
    assert!(!desk.run("").status.success());
}

#[cfg(unix)]
#[test]
fn a_report_that_nobody_reads() {
    let desk = Desk::new();
    let mut child = desk.command("inspect tiny.brook");
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    if Path::new("/dev/full").exists() {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = desk.command("inspect tiny.brook").stdout(full).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors.contains("report cannot be written") && !errors.contains("panicked"));
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.write("locked/out.brook", b"old");
    let lock = |mode| {
        fs::set_permissions(desk.path("locked"), fs::Permissions::from_mode(mode)).unwrap();
    };
    lock(0o555);
    if fs::write(desk.path("locked/probe"), b"").is_ok() {
        skipped("a folder without permission: this user may write everywhere");
    } else {
        let line = "quantize tiny.onnx --ranges ranges.json -o locked/out.brook";
        desk.refuses(line, &["locked/out.brook: cannot be written", "permissions of locked"]);
        assert_eq!(desk.read("locked/out.brook"), b"old");
    }
    lock(0o755);
}

#[test]
fn an_int8_network_needs_no_calibration() {
    let Some(data) = shared_data("the command on an int8 network") else {
        return;
    };
    let desk = Desk::new();
    let network = data.join("models/mlperf_resnet8_int8.tflite").canonicalize().unwrap();
    let network = network.display();
    for option in ["--calibrate random:2", "--ranges ranges.json"] {
        desk.refuses(
            &format!("quantize {network} {option} -o out.brook"),
            &["mlperf_resnet8_int8.tflite: is already int8", "leave out --calibrate"],
        );
    }
    desk.succeeds(&format!("quantize {network} -o int8.brook"));

    // What it lost, against the float network, layer by layer: its adds are layers of their own.
    let test = data.join("cifar10/test_first5000.bin").canonicalize().unwrap();
    let compare = |float: &str, model: &str| {
        let float = data.join("models").join(float).canonicalize().unwrap();
        let (float, test) = (float.display(), test.display());
        desk.report(&format!("compare {float} {model} {test} --limit 50 --layers-on 25"))
    };
    let report = compare("mlperf_resnet8_float.tflite", "int8.brook");
    let names = |report: &Value| -> Vec<String> {
        let layers = report["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&report)[3..5], ["stage1.block1.conv2", "stage1.block1.add"]);
    for layer in &report["layers"].as_array().unwrap()[1..] {
        assert!(layer["sqnr_db"].as_f64().unwrap() > 15.0, "{layer}");
    }
    let network = data.join("models/resnet20_onnxruntime_qdq_int8.onnx").canonicalize().unwrap();
    let normalized = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";
    desk.succeeds(&format!("quantize {} {normalized} -o qdq.brook", network.display()));
    let report = compare("resnet20_opset17_bn.onnx", "qdq.brook");
    // Its input is rounded, too.
    let share = |at: usize| report["layers"][at]["share"].as_f64().unwrap();
    assert!(share(0) > 0.0 && share(1) > 0.0, "{report}");
    let logits = report["layers"].as_array().unwrap().last().unwrap();
    let (here, core) = (&logits["sqnr_db"], &report["sqnr_db"]);
    assert!((here.as_f64().unwrap() - core.as_f64().unwrap()).abs() < 2.0, "{here} {core}");
}

#[test]
fn a_model_carries_its_test_images_wherever_it_is_rewritten() {
    let desk = Desk::new();
    let ranges = "--ranges ranges.json -o tested.brook";
    desk.refuses(
        "quantize tiny.onnx --calibrate random:4 --self-test 5 -o out.brook",
        &["'5'", "--self-test <N>", "0..=4"],
    );
    desk.refuses(
        "quantize tiny.onnx --effort fast --calibrate random:2 --self-test 3 -o out.brook",
        &["--self-test 3: the calibration data has 2 images", "--self-test 2"],
    );
    assert!(desk.succeeds("check tiny.brook").contains("the file has no test images"));
    // Without calibration data they are noise; else images from the whole of that.
    desk.succeeds(&format!("quantize tiny.onnx --self-test 1 {ranges}"));
    assert!(desk.succeeds("check tested.brook").contains("self-test: 1 images gave the stored"));
    let calibrated = "quantize tiny.onnx --effort fast --calibrate random:9 -o tested.brook";
    desk.succeeds(&format!("{calibrated} --self-test 3"));
    let stored = |name: &str| {
        let file = ModelFile::open(desk.path(name)).unwrap();
        TestImage::read(&file.model())
    };
    let images = stored("tested.brook");
    let noise = Dataset::open("random:9", [8, 8, 3], &Preprocess::default()).unwrap();
    for (image, index) in images.iter().zip([0, 3, 6]) {
        assert_eq!(image.pixels, noise.get(index).unwrap().pixels.as_slice().unwrap());
    }
    let inspected = desk.report("inspect tested.brook");
    assert_eq!(inspected["test_images"], 3);
    assert_eq!(inspected["test_image_bytes"], 4 + 3 * (8 * 8 * 3 + 10));
    assert!(desk.succeeds("inspect tested.brook").contains("self-test     3 images, 610 bytes"));

    let answers = |name: &str| {
        let report = desk.report(&format!("check {name}"));
        assert_eq!(report["test_images"], 3, "{name}");
        assert!(report["backends"].as_array().unwrap().contains(&json!("reference")), "{name}");
        stored(name)
    };
    assert_eq!(answers("tested.brook"), images);
    fs::copy(desk.path("tested.brook"), desk.path("planned.brook")).unwrap();
    desk.succeeds("plan planned.brook --backend armv7em --in-place");
    assert_ne!(desk.read("planned.brook"), desk.read("tested.brook"));
    assert_eq!(answers("planned.brook"), images);

    // Answers that the kernels do not give.
    let file = ModelFile::open(desk.path("tested.brook")).unwrap();
    let mut program = Program::read(&file.model());
    program.test_images[2].logits[9] ^= 1;
    desk.write("wrong.brook", &program.write(&plan(&program, Goal::Size).unwrap()));
    desk.refuses("check wrong.brook", &["wrong.brook: self-test", "test image 2"]);
    desk.refuses("check wrong.brook --backend reference", &["backend reference", "test image 2"]);
    // What a board would have nothing to be checked by.
    desk.refuses(
        "flash tiny.brook --board none --check",
        &["tiny.brook: there is nothing to check"],
    );
}
