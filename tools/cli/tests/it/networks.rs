//! The guide's table of networks: every row is made here, with weights of `brooklet new`, and run
//! on a Cortex-M and a RISC-V board, and compared with the host. `BROOKLET_BLESS=1` writes the rows
//! again.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::shell::succeed;
use brooklet::format::VECTOR;
use brooklet::ops::conv::{GROUP_CHANNELS, PATCH_COLUMNS};
use brooklet_files::text::thousands;
use brooklet_firmware::{Board, Registry};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::packing::packed_into;
use brooklet_quantize::data::Dataset;
use serde_json::Value;

const BOARDS: [&str; 2] = ["qemu-mps3-an547", "qemu-riscv-virt"];

/// Maximum scratch memory of the boards' packings; the first board's is for 1×1 convolutions with
/// 1,024 channels at stride 2: sums, entries of vectors, and two spans of four columns.
const SCRATCH: u64 = (PATCH_COLUMNS * 4 * (GROUP_CHANNELS + 1024 / VECTOR + 2)
    + 2 * (2 * PATCH_COLUMNS - 1) * 1024) as u64;

/// A network's name in the table, and how it is made; an ensemble has several.
type Network = (&'static str, &'static [&'static str]);

/// One network for each kind of block.
const SMALL: &[Network] = &[
    ("ResNet-8 (MLPerf Tiny), 32×32", &["resnet8"]),
    ("the same with 26 filters", &["resnet8-26"]),
    ("ResNet-20, 32×32, option A", &["resnet20"]),
    ("pre-activation ResNet-20, 32×32", &["preact-resnet20"]),
    ("ResNet-8 and ResNet-20 as an ensemble", &["resnet8", "resnet20"]),
    ("SE-ResNet-20, 32×32", &["se-resnet20"]),
    ("ResNeXt-20, 8 groups, 32×32", &["resnext20"]),
    ("DenseNet-BC, L = 40, k = 12, 32×32", &["densenet40"]),
    ("Highway network of 20 layers, 32×32", &["highway20"]),
    ("MobileNetV2 0.35, 96×96", &["mobilenetv2-35"]),
];

/// Large networks, and those whose blocks are combined differently from those of a small one;
/// `arch` runs these on this computer.
const LARGE: &[Network] = &[
    ("ResNet-20, option B", &["resnet20 --shortcut b"]),
    ("ResNet-20, option C", &["resnet20 --shortcut c"]),
    ("ResNet-20, blocks of one convolution", &["resnet20 --block-convs 1"]),
    ("ResNet-20, blocks of three", &["resnet20 --block-convs 3"]),
    ("plain-20, 32×32", &["plain20"]),
    ("MXNet's `resnet-28-small`, n = 3, 28×28", &["mxnet-small20"]),
    ("ResNet-32, 32×32", &["resnet32"]),
    ("ResNet-44, 32×32", &["resnet44"]),
    ("ResNet-56, 32×32", &["resnet56"]),
    ("ResNet-110, 32×32", &["resnet110"]),
    ("ResNet-1202, 32×32", &["resnet1202"]),
    ("plain-56, 32×32", &["plain56"]),
    ("MXNet's `resnet-28-small`, n = 9, 28×28", &["mxnet-small56"]),
    ("pre-activation ResNet-110, 32×32", &["preact-resnet110"]),
    ("pre-activation ResNet-164, 32×32", &["preact-resnet164"]),
    ("pre-activation ResNet-1001, 32×32", &["preact-resnet1001"]),
    ("ResNet-18, 96×96", &["resnet18 --input 96x96"]),
    ("ResNet-18, 224×224", &["resnet18"]),
    ("ResNet-18-D, 224×224", &["resnet18d"]),
    ("ResNet-34, 224×224", &["resnet34"]),
    ("plain-18, 224×224", &["plain18"]),
    ("plain-34, 224×224", &["plain34"]),
    ("ResNet-50, 224×224, stride in the 3×3", &["resnet50"]),
    ("ResNet-50, stride in the 1×1", &["resnet50 --stride-in 1x1"]),
    ("ResNet-101, 224×224", &["resnet101"]),
    ("ResNet-152, 224×224", &["resnet152"]),
];

#[test]
fn small_networks_are_as_the_guide_says() {
    check(SMALL);
}

#[test]
#[ignore = "ten minutes: cargo xtask test --all"]
fn large_networks_are_as_the_guide_says() {
    check(LARGE);
}

/// A row of the table. Instructions are rounded, as compilers may differ a little.
#[derive(Debug)]
struct Row {
    title: &'static str,
    macs: u64,
    model_bytes: u64,
    /// Size of arena and session.
    ram_bytes: u64,
    /// Memory of the largest layer with its whole input and output.
    whole_bytes: u64,
    instructions: [u64; 2],
}

impl Row {
    /// The columns that are the same with every compiler.
    fn exact(&self) -> String {
        let columns = [self.macs, self.model_bytes, self.ram_bytes, self.whole_bytes];
        let [macs, model, ram, whole] = columns.map(thousands);
        format!("| {} | {macs} | {model} | {ram} | {whole} | ", self.title)
    }

    fn line(&self) -> String {
        let millions = |count: u64| thousands((count + 500_000) / 1_000_000);
        let [cortex, riscv] = self.instructions.map(millions);
        format!("{}{cortex} | {riscv} | yes |", self.exact())
    }

    /// Whether `line` has the same figures, within 2 % of instructions.
    fn is(&self, line: &str) -> bool {
        let Some(rest) = line.strip_prefix(&self.exact()) else { return false };
        let said = rest.split(" | ").map(|column| column.replace(',', "").parse::<f64>());
        said.zip(self.instructions).all(|(said, counted)| {
            let counted = counted as f64 / 1e6;
            said.is_ok_and(|said| (said - counted).abs() <= 0.5 + 0.02 * counted)
        })
    }
}

/// Runs the networks, two at a time, and compares the table with the results.
fn check(networks: &[Network]) {
    static TABLE: Mutex<()> = Mutex::new(());
    let next = Mutex::new(networks.iter());
    let wrong = Mutex::new(Vec::new());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/guide/networks.md");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(network) = { next.lock().unwrap().next() } {
                    let row = run(network);
                    eprintln!("{}", row.line());
                    let _lock = TABLE.lock().unwrap();
                    let text = fs::read_to_string(&path).unwrap();
                    let start = format!("| {} |", row.title);
                    let old = text.lines().find(|line| line.starts_with(&start)).unwrap_or("");
                    if row.is(old) {
                        continue;
                    }
                    if std::env::var_os("BROOKLET_BLESS").is_some() && !old.is_empty() {
                        fs::write(&path, text.replacen(old, &row.line(), 1)).unwrap();
                    } else {
                        wrong.lock().unwrap().push(row.line());
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "the table of networks has no such rows:\n{}", wrong.join("\n"));
}

fn run((title, makings): &Network) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| succeed(folder.path(), line);
    for (index, making) in makings.iter().enumerate() {
        run(&format!("new {making} -o {index}.safetensors"));
        let calibrate = "--effort fast --calibrate random:1";
        run(&format!("quantize {index}.safetensors --arch {making} {calibrate} -o {index}.brook"));
        // The largest network takes half a gigabyte.
        fs::remove_file(folder.path().join(format!("{index}.safetensors"))).unwrap();
    }
    let members: String = (0..makings.len()).map(|index| format!("{index}.brook ")).collect();
    let name = match makings.len() {
        1 => "0.brook",
        _ => {
            run(&format!("ensemble {members} -o all.brook"));
            "all.brook"
        }
    };
    let plan: Value =
        serde_json::from_str(&run(&format!("plan {name} --in-place --json"))).unwrap();
    let file = ModelFile::open(folder.path().join(name)).unwrap();
    let data = Dataset::open("random:1", file.input(), &file.preprocess()).unwrap();
    let pixels = data.get(0).unwrap().pixels;
    let pixels = pixels.as_slice().unwrap();
    let expected = file.simulator(HostBackend::Portable).unwrap().run(pixels);
    // As it was made, it takes no scratch memory, except for the sums of a mean.
    let rows_bytes = file.model().arena_bytes() as u64;
    let registry = Registry::find().unwrap();
    let mut report = |line: &str| eprintln!("{line}");
    let counts = BOARDS.map(|name| {
        let spec = registry.board(name).unwrap();
        let packed = tempfile::tempdir().unwrap();
        let packed = packed_into(packed.path(), spec, &file).unwrap();
        let path = packed.as_ref().unwrap_or(&file).path();
        let mut board = Board::start(&registry, spec, path, &mut report).unwrap();
        let loaded = board.link().check().unwrap();
        let answer = board.link().infer(pixels.chunks(file.model().input().row_bytes())).unwrap();
        let answer = file.answer(&answer.logits, &answer.output);
        assert_eq!(answer, expected, "{title} on {name}");
        let more = u64::from(loaded.arena_bytes).saturating_sub(rows_bytes);
        assert!(more <= SCRATCH, "{title}: {name} takes {more} bytes of RAM more");
        (board.link().profile().unwrap().total, u64::from(loaded.session_bytes))
    });
    let model = file.model();
    Row {
        title,
        macs: (0..model.layers().len()).map(|index| model.graph().macs(index)).sum(),
        model_bytes: fs::metadata(file.path()).unwrap().len(),
        ram_bytes: rows_bytes + counts[1].1,
        whole_bytes: plan["whole_bytes"].as_u64().unwrap(),
        instructions: counts.map(|(instructions, _)| instructions),
    }
}
