//! Tests the page of `brooklet report` in a browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shell::succeed;
use brooklet_firmware::apt;
use ndarray::Array2;
use ndarray_npy::read_npy;
use serde_json::Value;

/// The contents of a page after a browser has run it, and the browser's messages.
fn open(page: &Path) -> (String, String) {
    const CHROMIUM: &str = "chromium";
    if !apt::runs(CHROMIUM, &["--version"]) {
        apt::allow();
        apt::install(&[CHROMIUM], "to open pages in tests", &mut |line| eprintln!("{line}"))
            .unwrap();
    }
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(CHROMIUM)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_page_runs_the_model_and_a_browser_has_nothing_to_say_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    succeed(folder.path(), "new resnet8 -o r8.safetensors");
    succeed(
        folder.path(),
        "quantize --arch resnet8 --effort fast --calibrate random:8 r8.safetensors -o r8.brook",
    );
    let compare = "compare --arch resnet8 r8.safetensors r8.brook random:6";
    let report: Value =
        serde_json::from_str(&succeed(folder.path(), &format!("{compare} --json"))).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let share: f64 = layers.iter().map(|layer| layer["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-6, "{share}");
    for layer in &layers[1..] {
        assert!(layer["cosine"].as_f64().is_none_or(|cosine| cosine > 0.9), "{layer}");
        assert!(layer["sqnr_db"].as_f64().is_none_or(|db| db > 10.0), "{layer}");
    }
    // A single quantized layer causes less noise than all.
    let all = report["sqnr_db"].as_f64().unwrap();
    assert!(layers.iter().all(|layer| layer["alone_db"].as_f64().is_none_or(|db| db > all - 1.0)));

    succeed(folder.path(), "eval r8.brook random:6 --logits logits.npy");
    let logits: Array2<i8> = read_npy(path("logits.npy")).unwrap();
    // One model is packed for a board, the other in a packing that only the reference runs in the
    // page.
    let plan = "plan r8.brook --board qemu-mps2-an386 --optimize speed -o quick.brook";
    succeed(folder.path(), plan);
    for (model, board) in [("r8.brook", "--board qemu-mps2-an386"), ("quick.brook", "")] {
        let line = format!("{compare} {board} -o page.html");
        let line = line.replace("compare ", "report ").replace("r8.brook", model);
        let text = succeed(folder.path(), &line);
        assert!(text.contains("the model runs in it"), "{text}");
        assert!(text.contains(report["advice"]["text"].as_str().unwrap()), "{text}");
        let page = fs::read_to_string(path("page.html")).unwrap();
        // Nothing is fetched: the only addresses are names of XML namespaces.
        let addresses = page.matches("://").count();
        assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count());
        assert!(!page.contains(&*folder.path().to_string_lossy()), "{model}: names its folder");
        assert!(page.len() < 1_500_000, "{model}: {} bytes", page.len());
        let (dom, said) = open(&path("page.html"));
        assert!(!said.contains("CONSOLE"), "{said}");
        for (index, layer) in layers.iter().enumerate().skip(1) {
            assert!(dom.contains(&format!("id=\"layer{index}\"")), "{layer}");
            // Once in the drawing, once in the table.
            assert_eq!(dom.matches(&format!("href=\"#layer{index}\"")).count(), 2, "{layer}");
        }
        // The page has run the first image, with the simulator's scores, and shows its rows.
        let scores: Vec<_> = logits.row(0).iter().map(|score| score.to_string()).collect();
        assert!(dom.contains(&format!("data-scores=\"{}\"", scores.join(" "))), "{model}: {dom}");
        assert!(dom.contains("data-same=\"true\""), "{model}");
        assert!(dom.contains("class=\"kept\"") && dom.contains("class=\"row\""), "{model}");
        // The Tab key reaches the arena's rows, which have names.
        assert!(dom.contains("tabindex=\"0\" role=\"img\" aria-label=\""), "{model}");
        assert!(dom.trim_end().ends_with("</html>"));
    }

    // The browser would have printed errors.
    fs::write(path("broken.html"), "<!DOCTYPE html><script>nothing()</script>").unwrap();
    let (_, said) = open(&path("broken.html"));
    assert!(said.contains("CONSOLE"), "{said}");
}

#[test]
fn another_network_s_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new resnet8 -o r8.safetensors");
    succeed(folder.path(), "new resnet20 -o r20.safetensors");
    succeed(
        folder.path(),
        "quantize --arch resnet8 --effort fast --calibrate random:2 r8.safetensors -o r8.brook",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let line = "compare --arch resnet20 r20.safetensors r8.brook random:2";
    let output = command.args(line.split_whitespace()).current_dir(folder.path()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(errors.contains("are not this network's"), "{errors}");
}
