//! The build script in the documentation plans models for boards.

use std::fs;
use std::path::Path;

use brooklet::format::Operator;
use brooklet_plan::Spec;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::packing::Kernels;

#[path = "../examples/build_script.rs"]
#[expect(dead_code, reason = "its `main` is cargo's to call")]
mod build_script;

#[test]
fn a_model_is_planned_for_each_board() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = root.join("tests/golden/tiny.brook");
    let before = ModelFile::open(&model).unwrap();
    let image: Vec<u8> =
        (0..before.input().iter().product()).map(|i: usize| (i * 37) as u8).collect();
    let answer = |file: &ModelFile| file.simulator(HostBackend::Reference).unwrap().run(&image);
    let folder = tempfile::tempdir().unwrap();
    let mut boards = 0;
    for entry in fs::read_dir(root.join("boards")).unwrap() {
        let board = entry.unwrap().path().join("board.toml");
        if !board.is_file() {
            continue;
        }
        boards += 1;
        let spec = Spec::read(&board).unwrap();
        let output = folder.path().join(&spec.name);
        build_script::replan(&model, &board, &output).unwrap();
        let planned = ModelFile::open(&output).unwrap();
        let kernels = Kernels::of(&spec).unwrap();
        let convs =
            planned.model().layers().iter().filter(|layer| {
                layer.operator() == Operator::Conv && !kernels.runs(layer.packing())
            });
        assert_eq!(convs.count(), 0, "{}: packed for other kernels", spec.name);
        assert!(planned.model().arena_bytes() <= spec.arena_bytes as usize, "{}", spec.name);
        assert_eq!(answer(&planned), answer(&before), "{}", spec.name);
    }
    assert!(boards >= 5, "{boards} boards");
}
