//! Compares timings of cores with LLVM's scheduling models.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::boards::{report, tiny};
use crate::common::{skipped, tries};
use crate::shell::succeed;
use brooklet_firmware::counts::{Counted, Counts};
use brooklet_firmware::cycles::{Core, Share, estimate};
use brooklet_firmware::{Board, Options, Registry};
use brooklet_plan::packing::packed_into;

/// Tolerance for the difference, in percent.
const TOLERANCE: f64 = 15.0;

/// The output of one of LLVM's programs for `input`; `None` if it is not installed.
fn llvm(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(format!("{program}-19"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    String::from_utf8(child.wait_with_output().ok()?.stdout).ok()
}

/// Loops without a branch inside, the one with the most cycles first: consecutive instructions that
/// run equally often, the last of which mostly jumps.
fn loops(counts: &Counts) -> Vec<&[Counted]> {
    let behind = |c: &Counted| c.address + c.code.len() as u64;
    let in_a_row = |a: &Counted, b: &Counted| {
        behind(a) == b.address && a.executed == b.executed && a.left == 0
    };
    let is_loop = |row: &&[Counted]| {
        row.last().is_some_and(|last| 2 * last.left > last.executed && row.len() > 8)
    };
    let mut loops: Vec<_> = counts.instructions.chunk_by(in_a_row).filter(is_loop).collect();
    loops.sort_by_key(|row| std::cmp::Reverse(row.len() as u64 * row[0].executed));
    loops
}

/// Needs `llvm-mca-19` and `llvm-mc-19`, from Debian's package llvm-19; a thorough run fails
/// without them.
#[test]
fn hot_loops_take_what_llvm_mca_says() {
    if llvm("llvm-mca", &["--version"], "").is_none() {
        let missing = "hot loops: there is no llvm-mca-19 (Debian's package llvm-19)";
        assert!(!tries(false, true), "{missing}");
        return skipped(missing);
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shape = "--input 16x16";
    succeed(folder, &format!("new resnet8 {shape} -o net.safetensors"));
    let from = format!("net.safetensors --arch resnet8 {shape} --effort fast --calibrate random:2");
    let registry = Registry::find().unwrap();
    // LLVM cannot assemble all loops of vectors that it disassembles, so two are compared.
    for (board, triple, core, most) in [
        ("qemu-mps2-an500", "thumbv7em-none-eabi", "cortex-m7", 3),
        ("qemu-mps3-an547", "thumbv8.1m.main-none-eabi", "cortex-m55", 2),
    ] {
        let plan = format!("--board {board} --optimize speed -o {board}.brook");
        succeed(folder, &format!("quantize {from} {plan}"));
        let spec = registry.board(board).unwrap();
        let options = Options { count: true, ..Options::default() };
        let path = folder.join(format!("{board}.brook"));
        let mut report = |line: &str| eprintln!("{line}");
        let mut board =
            Board::start_with(&registry, spec, Some(&path), &options, &mut report).unwrap();
        board.link().infer((0..16).map(|_| [100_u8; 48])).unwrap();
        let counts = board.counts().unwrap();
        let mut compared = 0;
        for hot in loops(&counts) {
            if compared == most {
                break;
            }
            let bytes = hot.iter().flat_map(|counted| &counted.code);
            let bytes: String = bytes.map(|byte| format!("{byte:#04x} ")).collect();
            let [triple, cpu] = [format!("--triple={triple}"), format!("--mcpu={core}")];
            let text = llvm("llvm-mc", &["--disassemble", &triple, &cpu], &bytes).unwrap();
            let triple = triple.replace("--triple", "--mtriple");
            let said = llvm("llvm-mca", &[&triple, &cpu, "--iterations=100"], &text).unwrap();
            let cycles = said.lines().find_map(|line| line.strip_prefix("Total Cycles:"));
            let Some(cycles) = cycles else {
                println!("{core}: LLVM does not take what it disassembles to:\n{text}");
                continue;
            };
            // Its model of the Cortex-M55 counts any number of registers as one.
            let several = text.lines().filter_map(|line| line.split_once('{'));
            let halves = several.map(|(_, list)| list.split(',').count().div_ceil(2) - 1);
            let more = if core == "cortex-m55" { halves.sum() } else { 0 };
            let theirs = cycles.trim().parse::<f64>().unwrap() / 100.0 + more as f64;
            let alone = Counts { instructions: hot.to_vec(), ..Counts::default() };
            let refilled = estimate(Core::of(spec).unwrap(), &alone).least;
            let ours = refilled as f64 / hot[0].executed as f64;
            println!(
                "{core}: a loop of {} instructions: {ours:.0} cycles, {theirs:.0} by LLVM",
                hot.len()
            );
            let off = 100.0 * (ours / theirs - 1.0);
            assert!(off.abs() < TOLERANCE, "{core}: {ours} of {theirs} cycles\n{text}");
            compared += 1;
        }
        assert_eq!(compared, most, "{core}");
    }
}

/// The plugin and the firmware count the same instructions: two images take twice those of one. The
/// firmware's timer on Arm rounds each step down to a tick of 40 instructions.
#[test]
fn instructions_are_counted_one_by_one() {
    let registry = Registry::find().unwrap();
    let (file, data) = tiny();
    let folder = tempfile::tempdir().unwrap();
    for (name, most) in [("qemu-mps2-an386", 110), ("qemu-riscv-virt", 101)] {
        let spec = registry.board(name).unwrap();
        let packed = packed_into(folder.path(), spec, &file).unwrap();
        let file = packed.as_ref().unwrap_or(&file);
        let options = Options { count: true, ..Options::default() };
        let [one, two] = [1, 2].map(|images| {
            let path = Some(file.path());
            let mut board =
                Board::start_with(&registry, spec, path, &options, &mut report).unwrap();
            let image = data.get(0).unwrap().pixels;
            let row = file.model().input().row_bytes();
            for _ in 0..images {
                board.link().infer(image.as_slice().unwrap().chunks(row)).unwrap();
            }
            let profiled = board.link().profile().unwrap().total;
            (estimate(Core::of(spec).unwrap(), &board.counts().unwrap()), profiled)
        });
        assert_eq!(2 * one.0.instructions, two.0.instructions);
        assert!(two.0.estimate.abs_diff(2 * one.0.estimate) * 1000 < one.0.estimate);
        let (cycles, profiled) = one;
        let counted = cycles.instructions;
        assert!(counted * 1000 > profiled * 999, "{name}: {counted} of {profiled}");
        assert!(counted * 100 < profiled * most, "{name}: {counted} of {profiled}");
        assert!(cycles.least < cycles.estimate && cycles.estimate < cycles.most);
        // The path of a trait's method contains both: `<brooklet::… as …>::conv`.
        let ours = |part: &&Share| part.name.trim_start_matches('<').starts_with("brooklet::");
        let in_brooklet: u64 =
            cycles.functions.iter().filter(ours).map(|part| part.instructions).sum();
        assert!(in_brooklet * 10 > counted * 9, "{:?}", cycles.functions);
    }
}
