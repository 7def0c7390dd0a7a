//! A runner's script for a board that implements MLPerf Tiny's protocol.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use brooklet_firmware::{Registry, compile};
use brooklet_plan::model_file::{HostBackend, ModelFile};

use crate::shell::succeed;

/// An emulated board gives the runner the simulator's answers.
#[test]
fn a_board_answers_the_runner() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let spec = registry.board("qemu-mps2-an386").unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny.brook");
    let plan = format!("plan {} --board {} -o net.brook", golden.display(), spec.name);
    succeed(folder.path(), &plan);
    let model = folder.path().join("net.brook");
    let file = ModelFile::open(&model).unwrap();
    let mut simulator = file.simulator(HostBackend::Reference).unwrap();
    let quantization = file.model().layer(file.model().output()).quantization();

    let (mut script, mut expected) = (String::from("name%"), Vec::new());
    for number in 0..4_usize {
        let image: Vec<u8> = (0..file.model().input().bytes())
            .map(|i| (i * (number + 3) + number * 17) as u8)
            .collect();
        script += &format!("db load {}%", image.len());
        for piece in image.chunks(32) {
            let digits: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            script += &format!("db {digits}%");
        }
        script += "infer 2 1%";
        let output = simulator.run(&image).output;
        let reals = output.iter().map(|&score| format!("{:.3}", quantization.dequantize(score)));
        expected.push(format!("m-results-[{}]", reals.collect::<Vec<_>>().join(",")));
    }

    let qemu = spec.qemu.as_ref().unwrap();
    let firmware = compile::firmware(&registry, spec, &["mlperf"], &mut |_| {}).unwrap();
    let loader =
        format!("loader,file={},addr={:#x},force-raw=on", model.display(), spec.slot.address);
    let log = folder.path().join("said");
    let mut board = Command::new(&qemu.binary)
        .args(&qemu.args)
        .args(["-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-device", &loader, "-kernel"])
        .arg(firmware)
        .stdin(Stdio::piped())
        .stdout(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut runner = board.stdin.take().unwrap();
    runner.write_all(script.as_bytes()).unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let results = |said: &str| -> Vec<String> {
        said.lines().filter(|line| line.starts_with("m-results")).map(str::to_owned).collect()
    };
    for _ in 0..600 {
        if results(&said()).len() == expected.len() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    board.kill().unwrap();
    board.wait().unwrap();
    let said = said();
    assert!(said.contains("m-name-dut-[brooklet qemu-mps2-an386]"), "{said}");
    assert_eq!(results(&said), expected, "{said}");
    // Two images take twice as long as one.
    let laps: Vec<u64> =
        said.lines().filter_map(|line| line.strip_prefix("m-lap-us-")?.parse().ok()).collect();
    assert!(laps.is_sorted_by(|a, b| a < b) && laps.len() == 8, "{laps:?}");
}
