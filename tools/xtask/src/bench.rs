//! Compares the cost of an image on every board with that of other engines, and with
//! `tests/golden/bench.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_firmware::{Registry, Spec, cycles};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::chores::built;
use crate::steps::{Failure, output_of, run, say};

/// Instructions for the same network, in thousands, by the core's name: the best of CMSIS-NN
/// (July 2026; gcc 12 and clang 19, -O3), muRISCV-NN and TensorFlow Lite Micro, built and counted
/// in the same emulator.
const PEERS: [(&str, u64); 8] = [
    ("Cortex-M0", 97_580),
    ("Cortex-M3", 36_770),
    ("Cortex-M33", 29_930),
    ("Cortex-M4F", 29_550),
    ("Cortex-M55", 4_420),
    ("Cortex-M7", 29_050),
    ("RV32IMAC", 54_680),
    ("RV32IMAC + V", 13_230),
];

/// Tolerance for the growth of a count, in percent.
const TOLERANCE: u64 = 1;

/// Tolerance for the planner's prediction, in percent.
const PREDICTION: u64 = 5;

/// The part of the report of `brooklet bench --json` that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Figures {
    core: String,
    backend: String,
    /// For a board that counts instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
    /// For a board that counts cycles.
    #[serde(skip_serializing_if = "Option::is_none")]
    cycles: Option<u64>,
    predicted_instructions: u64,
    /// For a core whose timings are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_cycles: Option<Estimate>,
    clock_hz: u64,
    macs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_instructions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_cycles: Option<u64>,
    model_bytes: u64,
    arena_bytes: u64,
    session_bytes: u64,
    stack_bytes: u64,
    /// If it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_bytes: Option<u64>,
}

/// The part of the estimate that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Estimate {
    estimate: u64,
}

impl Figures {
    /// Cycles per image, counted or estimated.
    fn cycles(&self) -> Option<u64> {
        self.cycles.or(self.estimated_cycles.as_ref().map(|cycles| cycles.estimate))
    }

    /// The count per image, in the board's unit.
    fn count(&self) -> u64 {
        self.instructions.or(self.cycles).unwrap_or(0)
    }
}

/// Figures by board and plan.
type Boards = BTreeMap<String, BTreeMap<String, Figures>>;

/// Limits of the fast plan on boards that have the room: the arena of TensorFlow Lite Micro for the
/// same network, and a model file of 280 kB.
const QUICK: [u32; 2] = [54_996, 280_000];

/// If it is set, golden files are written again.
const BLESS: &str = "BROOKLET_BLESS";

/// Builds only the command.
pub(crate) fn build() -> Command {
    let mut build = Command::new("cargo");
    build.args(["build", "--package", "brooklet-cli"]);
    build
}

/// Measures MLPerf Tiny's ResNet-8, with weights of `brooklet new`, on the boards that are built, on
/// all of them if `all`, with the command that `build` builds. With `all` the size of code is measured,
/// too, for which the runtime of each backend is linked once more.
pub(crate) fn bench(mut build: Command, all: bool) -> Result<(), Failure> {
    let registry = Registry::find()?;
    // The golden file has all boards.
    let all = all || std::env::var_os(BLESS).is_some();
    let root = registry.root();
    run(build.current_dir(root))?;
    // Firmware is built in a folder within the host's target folder.
    let target = registry.target_dir();
    let target = target.parent().unwrap_or(&target);
    let brooklet = target.join("debug/brooklet");
    let file = |name: &str| target.join(format!("bench.{name}"));
    let (weights, model, planned) = (file("safetensors"), file("brook"), file("planned.brook"));
    let call = |words: &[&str]| {
        let mut command = Command::new(&brooklet);
        command.args(words).current_dir(root);
        command
    };
    run(call(&["new", "resnet8", "-o"]).arg(&weights))?;
    let quantize = ["--effort", "fast", "--calibrate", "random:4"];
    let mut quantize = call(&[&["quantize", "--arch", "resnet8"], &quantize[..]].concat());
    run(quantize.arg(&weights).arg("-o").arg(&model))?;
    let mut boards = Boards::new();
    // If weights come through a driver, most of the count is that of the driver.
    let counted = |spec: &&Spec| spec.is_emulated() && spec.weights_window.is_none();
    for spec in built(&registry, all).filter(counted) {
        say(&spec.name);
        let ram = spec.arena_bytes.min(QUICK[0]).to_string();
        let flash = spec.slot.bytes.min(QUICK[1]).to_string();
        let quick = ["--optimize", "speed", "--ram", &ram, "--flash", &flash];
        for (plan, options) in [("size", &[] as &[&str]), ("speed", &quick)] {
            let mut command = call(&[&["plan", "--board", &spec.name], options].concat());
            run(command.arg(&model).arg("-o").arg(&planned))?;
            let mut command = call(&["bench", "--json", "--board", &spec.name]);
            // A core without known timings has no estimate.
            command.args(cycles::Core::of(spec).map(|_| "--cycles"));
            command.args((!all).then_some("--no-code-size"));
            let output = output_of(command.arg(&planned))?;
            let figures = serde_json::from_slice(&output)
                .map_err(|error| Failure(format!("error: `brooklet bench --json`: {error}")))?;
            boards.entry(spec.name.clone()).or_default().insert(plan.to_owned(), figures);
        }
    }
    print(&boards);
    let json = target.join("bench.json");
    write(&json, &boards)?;
    say(&format!("as JSON: {}", json.display()));
    compare(&boards, &root.join("tests/golden/bench.json"))
}

/// All plans of all boards.
fn plans(boards: &Boards) -> impl Iterator<Item = (&str, &str, &Figures)> {
    boards.iter().flat_map(|(board, plans)| {
        plans.iter().map(move |(plan, figures)| (board.as_str(), plan.as_str(), figures))
    })
}

fn print(boards: &Boards) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "board",
        "plan",
        "core",
        "backend",
        "thousands",
        "of",
        "per MAC",
        "k cycles",
        "ms",
        "best other engine",
        "model",
        "arena",
        "stack",
        "code",
    ]);
    for (board, plan, figures) in plans(boards) {
        let peer = PEERS.iter().find(|(core, _)| *core == figures.core);
        table.add_row([
            board.to_owned(),
            plan.to_owned(),
            figures.core.clone(),
            figures.backend.clone(),
            (figures.count() / 1000).to_string(),
            if figures.cycles.is_some() { "cycles" } else { "instructions" }.to_owned(),
            format!("{:.2}", figures.count() as f64 / figures.macs as f64),
            figures.cycles().map_or(String::new(), |cycles| {
                let estimated = if figures.cycles.is_none() { "~" } else { "" };
                format!("{estimated}{}", cycles / 1000)
            }),
            figures.cycles().map_or(String::new(), |cycles| {
                format!("{:.0}", cycles as f64 * 1e3 / figures.clock_hz as f64)
            }),
            peer.map_or(String::new(), |(_, thousands)| thousands.to_string()),
            figures.model_bytes.to_string(),
            figures.arena_bytes.to_string(),
            figures.stack_bytes.to_string(),
            figures.text_bytes.map_or(String::new(), |bytes| bytes.to_string()),
        ]);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}\n~ is an estimate from the core's timings, for memory that never waits");
}

fn write(path: &Path, boards: &Boards) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure(format!("error: {}: {error}", path.display()));
    let text = serde_json::to_string_pretty(boards).map_err(|error| failed(&error))?;
    std::fs::write(path, text + "\n").map_err(|error| failed(&error))
}

/// Fails if a figure is worse than in the golden file; `BROOKLET_BLESS` writes the file again.
fn compare(boards: &Boards, path: &PathBuf) -> Result<(), Failure> {
    if std::env::var_os(BLESS).is_some() {
        return write(path, boards);
    }
    let failed =
        |error: &dyn std::fmt::Display| Failure(format!("error: {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let golden: Boards = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let mut worse = Vec::new();
    for (board, plan, figures) in plans(boards) {
        let Some(before) = golden.get(board).and_then(|plans| plans.get(plan)) else {
            worse.push(format!("{board}, {plan}: not in the file"));
            continue;
        };
        if let Some(instructions) = figures.instructions
            && instructions.abs_diff(figures.predicted_instructions) * 100
                > instructions * PREDICTION
        {
            worse.push(format!(
                "{board}, {plan}: {instructions} instructions, predicted {}; the test `costs` fits \
                 the costs again",
                figures.predicted_instructions,
            ));
        }
        let none = |figure: Option<u64>| figure.unwrap_or(0);
        for (what, now, before) in [
            ("instructions", none(figures.instructions), none(before.instructions)),
            ("cycles", none(figures.cycles()), none(before.cycles())),
            (
                "instructions to check the model",
                none(figures.check_instructions),
                none(before.check_instructions),
            ),
            ("cycles to check the model", none(figures.check_cycles), none(before.check_cycles)),
            ("bytes of model file", figures.model_bytes, before.model_bytes),
            ("bytes of arena", figures.arena_bytes, before.arena_bytes),
            ("bytes of session", figures.session_bytes, before.session_bytes),
            ("bytes of code", none(figures.text_bytes), none(before.text_bytes)),
        ] {
            if now * 100 > before * (100 + TOLERANCE) {
                worse.push(format!("{board}, {plan}: {now} {what}, before {before}"));
            }
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    let list = worse.join("\n       ");
    Err(Failure(format!(
        "error: {list}\n  help: if this is intended, BROOKLET_BLESS=1 cargo xtask bench writes {} again",
        path.display()
    )))
}
