//! The models of `boards/examples` are golden models as `brooklet plan` packs them for a board of each
//! backend. The expected output of the examples has the simulator's answers. `BROOKLET_BLESS=1` writes the
//! models again.

use std::fs;
use std::path::{Path, PathBuf};

use brooklet_plan::Spec;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::self_test::build;

/// The boards whose memory maps and kernels the examples use.
const BOARDS: [&str; 2] = ["qemu-mps2-an386", "qemu-riscv-virt"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The image with this number, as `examples::row` makes it.
fn image(file: &ModelFile, number: usize) -> Vec<u8> {
    let [rows, columns, channels] = file.input();
    let row = |y: usize| {
        (0..columns * channels).map(move |x: usize| (7 * x + 13 * y + 101 * number) as u8)
    };
    (0..rows).flat_map(row).collect()
}

#[test]
fn models_are_packed_for_each_backend() {
    for board in BOARDS {
        let spec = Spec::read(&root().join("boards").join(board).join("board.toml")).unwrap();
        let folder = root().join("boards/examples/models").join(&spec.backend);
        for (name, golden, test_images) in
            [("net.brook", "tiny.brook", 2), ("second.brook", "tiny-stream16.brook", 0)]
        {
            let file = ModelFile::open(root().join("tests/golden").join(golden)).unwrap();
            let mut program = Kernels::of(&spec).unwrap().packed(Program::read(&file.model()));
            program.set_test_images((0..test_images).map(|number| image(&file, number)).collect());
            // Weights behind a driver must be last in the file; weights in memory may be last, too.
            program.weights_last = true;
            let path = folder.join(name);
            let plan = plan(&program, Goal::Size).unwrap();
            let made = build(&program, &plan, &path).unwrap();
            if std::env::var_os("BROOKLET_BLESS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, made.bytes()).unwrap();
            }
            let there = fs::read(&path).unwrap();
            assert!(there == made.bytes(), "{}: BROOKLET_BLESS=1 writes it again", path.display());
        }
    }
}

#[test]
fn examples_print_what_the_simulator_says() {
    let programs = root().join("boards/examples/src/bin");
    let file = ModelFile::open(root().join("tests/golden/tiny.brook")).unwrap();
    let mut simulator = file.simulator(HostBackend::Reference).unwrap();
    let mut examples = 0;
    for entry in fs::read_dir(programs).unwrap() {
        let expected = entry.unwrap().path();
        if expected.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        examples += 1;
        let text = fs::read_to_string(&expected).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("image ")).collect();
        assert!(lines.len() > 1, "{}", expected.display());
        for (number, line) in lines.into_iter().enumerate() {
            let logits = simulator.run(&image(&file, number)).logits;
            let best = (0..logits.len()).rev().max_by_key(|&class| logits[class]).unwrap();
            let said = format!("image {number}: class {best} ({})", logits[best]);
            let rest = line.strip_prefix(&said).unwrap_or_else(|| panic!("{line}: {said}"));
            assert!(rest.is_empty() || rest.starts_with(", "), "{line}: {said}");
        }
    }
    assert!(examples >= 6, "{examples} examples");
}
