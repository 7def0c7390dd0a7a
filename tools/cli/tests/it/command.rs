//! The command as a user sees it: its output, and the files that it leaves.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::common::{shared_data, skipped};
use crate::desk::Desk;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::test_image::TestImage;
use brooklet_quantize::data::{Dataset, Preprocess};
use ndarray::Array2;
use ndarray_npy::{read_npy, write_npy};
use serde_json::{Value, json};

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
    // The same ranges from a file give the same model, which replaces the old file.
    desk.write("new/b.brook", b"old");
    desk.succeeds("quantize tiny.onnx --ranges ranges.json -o new/b.brook");
    assert_eq!(desk.read("new/b.brook"), desk.read("tiny.brook"));

    // Learning depends on data and seed alone, and can be left out.
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

    let report = desk.report("run new/a.brook fits.png fits.png --logits new/run.npy");
    let images = &report["images"];
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
    let score = desk.report(
        "eval new/a.brook data --skip 2 --limit 5 --float float.npy --logits new/eval.npy \
         --output new/output.npy",
    );
    has(&score, &["images", "top1", "top5", "agreement", "sqnr_db", "images_per_second"]);
    assert_eq!((&score["images"], &score["agreement"]), (&json!(5), &json!(1.0)));
    let logits: Array2<i8> = read_npy(desk.path("new/eval.npy")).unwrap();
    // The last layer of this network makes its logits.
    assert_eq!(read_npy::<_, Array2<i8>>(desk.path("new/output.npy")).unwrap(), logits);
    assert_eq!(logits.nrows(), 5);

    for board in desk.report("boards")["boards"].as_array().unwrap() {
        has(board, &["name", "core", "clock_hz", "flash_bytes", "ram_bytes", "backend"]);
    }
    assert!(desk.files().iter().all(|name| !name.to_string_lossy().starts_with('.')));
    assert_eq!(fs::read_dir(desk.path("new")).unwrap().count(), 5, "nothing temporary is left");
}

/// The memory of the paper's networks is little more than their rows at the fullest step.
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
                report["images"][0]["logits"].as_array().unwrap().clone()
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

    // The loss against the float network, layer by layer; its additions are layers of their own.
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
    // Without calibration data the test images are noise; otherwise they are spread over that data.
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

    // These are answers that the kernels do not compute.
    let file = ModelFile::open(desk.path("tested.brook")).unwrap();
    let mut program = Program::read(&file.model());
    program.test_images[2].logits[9] ^= 1;
    desk.write("wrong.brook", &program.write(&plan(&program, Goal::Size).unwrap()));
    desk.refuses("check wrong.brook", &["wrong.brook: self-test", "test image 2"]);
    desk.refuses("check wrong.brook --backend reference", &["backend reference", "test image 2"]);
    // A board has nothing to check here.
    desk.refuses(
        "flash tiny.brook --board none --check",
        &["tiny.brook: there is nothing to check"],
    );
}

/// Shells, `man` and the environment work with the command.
#[test]
fn shells_and_manuals_know_the_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = desk.succeeds(&format!("completions {shell}"));
        assert!(script.contains("brooklet") && script.contains("calibrate"), "{shell}");
    }
    assert!(desk.succeeds("man").contains("quantize"));
    assert!(desk.succeeds("man quantize").contains("calibrate"));
    desk.refuses("man nothing", &["no subcommand `nothing`"]);
    desk.refuses("new resnet8 -o net.onnx", &["net.onnx: ", "as safetensors, not as `onnx`"]);
    // The option takes precedence over the environment.
    let plan = |line: &str| {
        let mut command = desk.command(line);
        let output = command.env("BROOKLET_BOARD", "qemu-microbit").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let [own, named, other] = ["", " --board qemu-microbit", " --board qemu-mps3-an547"]
        .map(|option| plan(&format!("plan tiny.brook --json{option}")));
    assert_eq!(own, named);
    assert_ne!(own, other);
}

/// Options in `brooklet.toml` work as if they were typed, and typed options take precedence.
#[test]
fn a_project_has_options_of_its_own() {
    let folder = crate::shell::resnet8();
    let folder = folder.path();
    let json = |line: &str| crate::shell::json(folder, line);
    let typed = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2 -o";
    json(&format!("{typed} typed.brook --weights 4 --board qemu-mps2-an386"));
    let text = "arch = \"resnet8\"\nboard = \"qemu-mps2-an386\"\n[quantize]\neffort = \"fast\"\n\
                calibrate = \"random:2\"\nweights = 4\noutput = \"a.brook\"\n";
    fs::write(folder.join("brooklet.toml"), text).unwrap();
    let made = json("quantize a.safetensors");
    assert_eq!(made["verdict"]["board"], "qemu-mps2-an386", "{made}");
    assert!(
        fs::read(folder.join("a.brook")).unwrap() == fs::read(folder.join("typed.brook")).unwrap()
    );
    json("quantize a.safetensors --weights 8 --chip cortex-m0 --ram 64K --flash 1M -o b.brook");
    assert_eq!(json("inspect b.brook")["layers"][1]["weight_bits"], 8);
    assert_eq!(json("inspect b.brook")["clock_hz"], 25_000_000, "the board is inspect's, too");

    fs::write(folder.join("brooklet.toml"), "bord = \"rpi-pico\"\n").unwrap();
    let refused = crate::shell::brooklet(folder, "boards").unwrap_err();
    assert!(refused.contains("brooklet.toml: `bord`: no command has"), "{refused}");
    fs::write(folder.join("brooklet.toml"), "effort = \"bset\"\n").unwrap();
    let refused =
        crate::shell::brooklet(folder, &format!("{typed} c.brook").replace("--effort fast", ""));
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("bset") && refused.contains("brooklet.toml adds: --effort bset"),
        "{refused}"
    );
}
