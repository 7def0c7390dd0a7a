//! Errors of the command: each has a remedy, and nothing is written or lost.

use std::fs;

use crate::desk::{Desk, conv, tiny};
use crate::onnx::{Onnx, weight};
use brooklet::format::Packing;
use brooklet_import as import;
use brooklet_import::Imported;
use brooklet_plan::plan::{Goal, plan};
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::weights::Learned;
use ndarray::{Array1, Array2};
use ndarray_npy::write_npy;
use serde_json::{Value, json};

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
    // Its kernel is as large as its map.
    let fixed = Onnx::new(&[1, 3, 8, 8]).floats("w", &[4, 3, 8, 8], weight);
    desk.write("whole.onnx", &fixed.node("Conv", "x w", "y", &[]).bytes());
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
        ("whole.onnx --input 9x9", &["whole.onnx: `y`: the output is [1, 1, 4]", "export"]),
        ("whole.onnx --input 7x8", &["whole.onnx: `y`: "]),
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
        ("none", &["none: holds no images", "one subfolder per class"]),
        ("classes", &["classes: holds no images"]),
        ("two", &["tiny.onnx: has 10 classes, but two has 2 names", "--labels"]),
        ("sizes", &["sizes/1.png: is 7×9×3", "8×8×3", "--resize 8 --crop 8x8"]),
        ("broken", &["broken/1.png: is not an image that is read here"]),
        ("short.bin", &["short.bin: is not a CIFAR-10 binary file: 3072 bytes"]),
        ("noise.npy", &["noise.npy: is not an array of images or features"]),
        ("noise.npz", &["noise.npz: is not an array of images or features"]),
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
        ("--resize 8x", &["write HxW"]),
        ("--resize 8x5000", &["at most 4096 pixels"]),
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
            // It is refused before the long work, not after it.
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
    everywhere(
        "cut.brook",
        &["cut.brook: the model file is cut off", "quantize the network again"],
    );
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

    // A file that is packed for another backend can be inspected, but not run.
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
        ("run tiny.brook tiny.onnx", &["tiny.onnx: is not an image that is read here"]),
        ("run tiny.brook cut.png", &["cut.png: is not an image that is read here", "whole"]),
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
    // `flash` refuses the models that, by `fit`, do not fit.
    let (netduino, micro, sifive) = ("qemu-netduinoplus2", "qemu-microbit", "qemu-sifive-e");
    for (model, lacks, small) in [
        ("heavy", "slot_bytes_left", &[netduino, micro][..]),
        ("wide", "arena_bytes_left", &[netduino, micro, sifive]),
        ("long", "row_bytes_left", &[micro, sifive]),
    ] {
        let report = desk.report(&format!("fit {model}.brook"));
        for verdict in report["boards"].as_array().unwrap() {
            let name = verdict["board"].as_str().unwrap();
            if name.starts_with("qemu-") {
                assert_eq!(verdict[lacks].as_i64() < Some(0), small.contains(&name), "{verdict}");
            }
            let negative = |figure: &Value| figure.as_i64().is_some_and(|left| left < 0);
            let lacking = verdict.as_object().unwrap().values().any(negative);
            assert_eq!(verdict["fits"], !lacking, "{verdict}");
        }
        assert!(desk.succeeds(&format!("fit {model}.brook")).contains("lacks"));
    }
    desk.refuses("flash tiny.brook --board qemu-mps2-an386 --check", &["--run"]);
    desk.refuses(
        "bench tiny.brook --board qemu-riscv-virt-rvv --cycles",
        &["--cycles", "qemu-riscv-virt-rvv", "qemu-mps2-an386"],
    );
    let mut elsewhere = desk.command("boards");
    let output = elsewhere.env("BROOKLET_BOARDS", desk.folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("inside of a checkout"));
}
