//! Every board computes the same bytes as the host, and as other engines.

use std::collections::BTreeMap;
use std::path::Path;

use crate::debugger::Debugger;
use crate::shell::succeed;
use brooklet_firmware::{Board, FirmwareError, Options, Registry, Spec, SuiteFailure};
use brooklet_import as import;
use brooklet_import::Imported;
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_plan::packing::{Kernels, packed_into};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::preprocessing::to_record;
use brooklet_plan::program::Program;
use brooklet_plan::self_test::build;
use brooklet_plan::test_image::TestImage;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::lower::int8::lower;
use brooklet_suite::{CaseNumber, Difference, Failure};
use ndarray::Array2;
use ndarray_npy::read_npy;

/// Number of images of each network that a board classifies: QEMU is faster than other emulators.
fn images(spec: &Spec) -> usize {
    if spec.qemu.is_some() { crate::common::tries(4, 20) } else { crate::common::tries(1, 4) }
}

/// RAM with which a board runs every network here, and the suite.
const AMPLE: u32 = 1 << 17;

/// Runs `test` for the boards of the checkout that can be emulated and have at least this much RAM;
/// if `BROOKLET_BOARD` names one, only for that. Boards whose kernels and parts others have, too,
/// take part in a thorough run.
///
/// Boards run one after another: an emulated board that waits uses a core of this computer as much
/// as one that computes. Tests run in parallel, which is enough.
fn on_boards_with(ram_bytes: u32, test: impl Fn(&Registry, &Spec)) {
    let registry = Registry::find().unwrap();
    assert!(registry.boards().len() >= 9);
    let only = std::env::var("BROOKLET_BOARD").ok();
    let wanted = |spec: &&Spec| {
        spec.is_emulated()
            && spec.ram.bytes >= ram_bytes
            && match &only {
                Some(name) => *name == spec.name,
                None => crate::common::tries(!spec.only_in_all, true),
            }
    };
    registry.boards().iter().filter(wanted).for_each(|spec| test(&registry, spec));
}

/// The same for one board of each backend, with and without int16, to test what kernels compute on
/// any chip. In a thorough run for every board.
fn on_backends_with(ram_bytes: u32, test: impl Fn(&Registry, &Spec)) {
    let boards = Registry::find().unwrap();
    let mut first: BTreeMap<_, &Spec> = BTreeMap::new();
    let fast = boards.boards().iter().filter(|spec| spec.qemu.is_some() && !spec.only_in_all);
    for spec in fast.filter(|spec| spec.ram.bytes >= ram_bytes) {
        first.entry((&spec.backend, spec.int16)).or_insert(spec);
    }
    let one_of_each = |spec: &Spec| first.values().any(|first| first.name == spec.name);
    let named = std::env::var_os("BROOKLET_BOARD").is_some();
    on_boards_with(ram_bytes, |registry, spec| {
        if named || crate::common::tries(one_of_each(spec), true) {
            test(registry, spec);
        }
    });
}

/// A board with the model, packed for its kernels.
fn start(
    registry: &Registry,
    spec: &Spec,
    file: &ModelFile,
) -> Result<Board, brooklet_firmware::FirmwareError> {
    let folder = tempfile::tempdir().unwrap();
    let packed = packed_into(folder.path(), spec, file).unwrap();
    Board::start(registry, spec, packed.as_ref().unwrap_or(file).path(), &mut report)
}

pub(crate) fn report(line: &str) {
    eprintln!("{line}");
}

/// The board's answers for the first images of a data set.
fn board_answers(
    registry: &Registry,
    spec: &Spec,
    file: &ModelFile,
    data: &Dataset,
) -> Vec<Answer> {
    let mut board = start(registry, spec, file).unwrap();
    let row = file.model().input().row_bytes();
    let answers = (0..images(spec))
        .map(|index| {
            let pixels = data.get(index).unwrap().pixels;
            let pixels = pixels.as_standard_layout();
            let answer = board.link().infer(pixels.as_slice().unwrap().chunks(row)).unwrap();
            file.answer(&answer.logits, &answer.output)
        })
        .collect();
    let stack = board.link().profile().unwrap().stack_bytes;
    let kept = spec.stack_bytes;
    assert!(stack > 1024 && stack < kept, "{}: {stack} of {kept} bytes of stack", spec.name);
    answers
}

/// A small network of the golden files with noise, which needs no data.
pub(crate) fn tiny() -> (ModelFile, Dataset) {
    golden("tiny.brook")
}

fn golden(name: &str) -> (ModelFile, Dataset) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    let file = ModelFile::open(golden).unwrap();
    let data = Dataset::open("random:20", file.input(), &Preprocess::default()).unwrap();
    (file, data)
}

/// The host's answers for the first images of a data set; slower boards take fewer images.
fn host_answers(file: &ModelFile, data: &Dataset) -> Vec<Answer> {
    let mut host = file.simulator(HostBackend::Reference).unwrap();
    (0..crate::common::tries(4, 20))
        .map(|index| host.run(data.get(index).unwrap().pixels.as_slice().unwrap()))
        .collect()
}

#[test]
fn boards_agree_with_the_host() {
    let (file, data) = tiny();
    let expected = host_answers(&file, &data);
    on_boards_with(0, |registry, spec| {
        let answers = board_answers(registry, spec, &file, &data);
        assert_eq!(answers, expected[..images(spec)], "{}", spec.name);
    });
}

/// A stream in 16 bits is exact, too, with the kernels of every board.
#[test]
fn boards_agree_with_a_stream_in_16_bits() {
    let (file, data) = golden("tiny-stream16.brook");
    let expected = host_answers(&file, &data);
    on_backends_with(0, |registry, spec| {
        let answers = board_answers(registry, spec, &file, &data);
        assert_eq!(answers, expected[..images(spec)], "{}", spec.name);
    });
}

/// Maps are exact, too, and all of their rows are sent.
#[test]
fn boards_agree_with_a_map() {
    let (file, data) = golden("tiny-map.brook");
    let expected = host_answers(&file, &data);
    assert!(file.map().is_some());
    on_backends_with(0, |registry, spec| {
        let answers = board_answers(registry, spec, &file, &data);
        assert_eq!(answers, expected[..images(spec)], "{}", spec.name);
    });
}

/// Object detection by a class for each cell, with the blocks of MobileNetV2, as TensorFlow's
/// converter quantizes it.
#[test]
fn detection_by_cells_agrees_with_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let network =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../quantize/tests/int8/fomo_softmax.tflite");
    let file = model(&network, &Preprocess::default(), folder.path());
    let data = Dataset::open("random:20", file.input(), &Preprocess::default()).unwrap();
    let expected = host_answers(&file, &data);
    assert_eq!(file.map(), Some([3, 4, 3]));
    on_boards_with(0, |registry, spec| {
        if ["qemu-mps2-an386", "qemu-riscv-virt"].contains(&spec.name.as_str()) {
            let answers = board_answers(registry, spec, &file, &data);
            assert_eq!(answers, expected[..images(spec)], "{}", spec.name);
        }
    });
}

/// Layers of int16 are exact, too, and firmware without them reports that.
#[test]
fn boards_agree_in_int16_or_refuse_it() {
    let (file, data) = golden("tiny-16.brook");
    let expected = host_answers(&file, &data);
    on_backends_with(0, |registry, spec| {
        if spec.int16 {
            let answers = board_answers(registry, spec, &file, &data);
            assert_eq!(answers, expected[..images(spec)], "{}", spec.name);
            return;
        }
        let mut board = start(registry, spec, &file).unwrap();
        let error = board.link().check().unwrap_err().to_string();
        let words = ["layer ", "int16", "feature `int16`"];
        assert!(words.iter().all(|word| error.contains(word)), "{}: {error}", spec.name);
    });
}

/// An int8 TFLite file as a model file in `folder`.
fn model(network: &Path, preprocess: &Preprocess, folder: &Path) -> ModelFile {
    let Imported::Quantized(network) = import::load(network, &import::Options::default()).unwrap()
    else {
        panic!("an int8 file is quantized");
    };
    let mut program = lower(&network, preprocess).unwrap();
    program.preprocessing = Some(to_record(preprocess));
    let bytes = program.write(&plan(&program, Goal::Size).unwrap());
    let path = folder.join("model.brook");
    std::fs::write(&path, &bytes).unwrap();
    ModelFile::open(&path).unwrap()
}

/// Boards compute the same as TFLite Micro; `each` names the case.
fn boards_are_exact(
    each: impl Fn(&dyn Fn(&Registry, &Spec)),
    network: &str,
    preprocess: &Preprocess,
    logits: &str,
    softmax: Option<&str>,
) {
    let Some(shared) = crate::common::shared_data("boards") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = model(&shared.join("models").join(network), preprocess, folder.path());
    let images = shared.join("cifar10/test_first5000.bin");
    let data = Dataset::open(images.to_str().unwrap(), file.input(), preprocess).unwrap();
    let read = |name| read_npy(shared.join("expected").join(name)).unwrap();
    let read = |name| {
        let array: Array2<i8> = read(name);
        array.mapv(i16::from)
    };
    let logits = read(logits);
    let softmax = softmax.map(read);
    each(&|registry, spec| {
        for (index, answer) in board_answers(registry, spec, &file, &data).iter().enumerate() {
            assert_eq!(answer.logits, logits.row(index).to_vec(), "{}: {index}", spec.name);
            if let Some(softmax) = &softmax {
                assert_eq!(answer.output, softmax.row(index).to_vec(), "{}: {index}", spec.name);
            }
        }
    });
}

#[test]
fn mlperf_resnet8_is_exact_on_every_backend() {
    boards_are_exact(
        |test| on_backends_with(0, test),
        "mlperf_resnet8_int8.tflite",
        &Preprocess::default(),
        "mlperf_resnet8_int8_logits_5000_tflm.npy",
        Some("mlperf_resnet8_int8_softmax_5000_tflm.npy"),
    );
}

#[test]
fn tensorflow_resnet20_is_exact_on_every_backend() {
    let preprocess = Preprocess {
        mean: Some([0.485, 0.456, 0.406]),
        std: Some([0.229, 0.224, 0.225]),
        ..Preprocess::default()
    };
    boards_are_exact(
        |test| on_backends_with(AMPLE, test),
        "resnet20_tensorflow_int8.tflite",
        &preprocess,
        "resnet20_tensorflow_int8_logits_1000_tflm.npy",
        None,
    );
}

/// The board runs the suite; the first failure is reported by name.
fn the_suite_passes(board: &mut Board, spec: &Spec) {
    // The host runs all cases; emulators of boards are slower.
    let (cases, failures, first) = board.link().suite(crate::common::tries(5, 1)).unwrap();
    assert!(cases > 200, "{}: {cases} cases", spec.name);
    let first = first.map(|SuiteFailure { case, row, index, expected, computed }| Failure {
        case: CaseNumber(case),
        difference: Difference { row, index, expected, computed },
    });
    let first = first.map(|first| first.to_string()).unwrap_or_default();
    assert_eq!(failures, 0, "{}: of {cases} cases {failures} differ; {first}", spec.name);
}

/// The host's backends pass the same suite; here it runs on the boards' cores. Boards with less RAM
/// have no room for it beside the arena.
#[test]
fn the_suite_passes_on_boards() {
    on_backends_with(3 * AMPLE, |registry, spec| {
        let options = Options { suite: true, ..Options::default() };
        let mut board = Board::start_with(registry, spec, None, &options, &mut report).unwrap();
        the_suite_passes(&mut board, spec);
    });
}

/// Kernels for vectors query the length of vectors: the same firmware runs with longer ones. Cores may
/// overwrite lanes that an instruction leaves out, if it says that their values do not matter; this one
/// does.
#[test]
fn the_suite_passes_with_longer_vectors() {
    let registry = Registry::find().unwrap();
    let mut spec = registry.board("qemu-riscv-virt-rvv").unwrap().clone();
    let qemu = spec.qemu.as_mut().unwrap();
    for argument in &mut qemu.args {
        let longer = "vlen=256,rvv_ma_all_1s=true,rvv_ta_all_1s=true";
        *argument = argument.replace("vlen=128", longer);
    }
    assert!(qemu.args.iter().any(|argument| argument.contains("vlen=256")));
    let options = Options { suite: true, ..Options::default() };
    let mut board = Board::start_with(&registry, &spec, None, &options, &mut report).unwrap();
    the_suite_passes(&mut board, &spec);
}

/// A network with more weights than the board has RAM for: they are read from SPI flash, whose
/// driver copies them, through a window.
#[test]
fn weights_behind_a_driver_give_the_hosts_bytes() {
    let registry = Registry::find().unwrap();
    let spec = registry.board("qemu-sifive-u").unwrap();
    let large: &[_] = crate::common::tries(&[], &[("resnet18", "96x96")]);
    for (arch, size) in [("resnet8", "32x32")].iter().chain(large) {
        let folder = tempfile::tempdir().unwrap();
        succeed(folder.path(), &format!("new {arch} -o a.safetensors"));
        let options = "--effort fast --calibrate random:1 --board qemu-sifive-u -o a.brook";
        let line = format!("quantize a.safetensors --arch {arch} --input {size} {options}");
        succeed(folder.path(), &line);
        let file = ModelFile::open(folder.path().join("a.brook")).unwrap();
        let weights = file.bytes().len() - brooklet::resident_bytes(file.bytes());
        assert!(weights > spec.weights_window.unwrap().bytes as usize, "{weights}");
        let data = Dataset::open("random:1", file.input(), &Preprocess::default()).unwrap();
        let pixels = data.get(0).unwrap().pixels.as_standard_layout().into_owned();
        let pixels = pixels.as_slice().unwrap();
        let mut board = Board::start(&registry, spec, file.path(), &mut report).unwrap();
        assert_eq!(board.link().check().unwrap().model_bytes as usize, file.bytes().len());
        let answer = board.link().infer(pixels.chunks(file.model().input().row_bytes())).unwrap();
        let host = file.simulator(HostBackend::Auto).unwrap().run(pixels);
        assert_eq!(file.answer(&answer.logits, &answer.output), host, "{arch}");
        let stack = board.link().profile().unwrap().stack_bytes;
        assert!(stack < spec.stack_bytes, "{stack}");
    }
}

/// Two cores give the same bytes as one, in less time. The two cores of the emulator never wait for
/// each other's memory, so a chip gains less.
#[test]
fn two_cores_agree_with_the_host() {
    let registry = Registry::find().unwrap();
    let spec = registry.board("rpi-pico").unwrap();
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new resnet8 -o a.safetensors");
    let options = "--effort fast --calibrate random:1 --board rpi-pico";
    for goal in crate::common::tries(&["speed"][..], &["speed", "size"]) {
        let line = format!("quantize a.safetensors --arch resnet8 {options} -o a.brook");
        succeed(folder.path(), &line);
        succeed(
            folder.path(),
            &format!("plan a.brook --board rpi-pico --optimize {goal} -o b.brook"),
        );
        let file = ModelFile::open(folder.path().join("b.brook")).unwrap();
        let data = Dataset::open("random:1", file.input(), &Preprocess::default()).unwrap();
        let pixels = data.get(0).unwrap().pixels.as_standard_layout().into_owned();
        let pixels = pixels.as_slice().unwrap();
        let host = file.simulator(HostBackend::Auto).unwrap().run(pixels);
        let [one, two] = [false, true].map(|two_cores| {
            let options = Options { two_cores, ..Options::default() };
            let path = file.path();
            let mut board =
                Board::start_with(&registry, spec, Some(path), &options, &mut report).unwrap();
            let row = file.model().input().row_bytes();
            let answer = board.link().infer(pixels.chunks(row)).unwrap();
            assert_eq!(file.answer(&answer.logits, &answer.output), host, "{two_cores}");
            let profile = board.link().profile().unwrap();
            assert!(profile.stack_bytes < spec.stack_bytes, "{}", profile.stack_bytes);
            profile.total
        });
        println!("{goal}: {one} cycles on one core, {two} on two");
        assert!(two * 100 < one * 70, "{goal}: {one} cycles on one core, {two} on two");
    }
}

/// A board limited to exactly the RAM that a model, the application and the stack need.
#[test]
fn a_board_limited_in_ram_agrees_with_the_host() {
    let registry = Registry::find().unwrap();
    let (file, data) = tiny();
    let spec = registry.board("qemu-mps2-an386").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = packed_into(folder.path(), spec, &file).unwrap().unwrap_or(file);
    let arena = file.model().arena_bytes() as u32;
    let limited = registry.limited("qemu-mps2-an386", 16 << 10, arena).unwrap();
    assert_eq!(board_answers(&registry, &limited, &file, &data), host_answers(&file, &data));
}

/// The cost of streaming rows, compared with the same kernels on whole maps, layer by layer.
#[test]
fn streaming_costs_next_to_nothing() {
    let Some(shared) = crate::common::shared_data("boards") else { return };
    let folder = tempfile::tempdir().unwrap();
    let network = shared.join("models/mlperf_resnet8_int8.tflite");
    let streamed = model(&network, &Preprocess::default(), folder.path());
    let program = Program::read(&streamed.model());
    let whole = plan(&program, Goal::Speed { arena_bytes: usize::MAX }).unwrap();
    assert_eq!(whole.segments.len(), program.layers.len());
    let path = folder.path().join("whole.brook");
    std::fs::write(&path, program.write(&whole)).unwrap();
    let whole = ModelFile::open(&path).unwrap();
    let registry = Registry::find().unwrap();
    for name in ["qemu-mps2-an386", "qemu-riscv-virt"] {
        let spec = registry.board(name).unwrap();
        let [streamed, whole] = [&streamed, &whole].map(|file| {
            let mut board = start(&registry, spec, file).unwrap();
            let image = vec![100; file.model().input().bytes()];
            board.link().infer(image.chunks(file.model().input().row_bytes())).unwrap();
            board.link().profile().unwrap().total
        });
        assert!(streamed * 100 <= whole * 103, "{name}: {streamed} against {whole}");
    }
}

/// A board runs the test images that its model carries. When its flash changes, it reports that,
/// and gives no more results.
#[test]
fn boards_test_themselves_and_find_that_flash_changed() {
    let (tiny, data) = tiny();
    let mut program = Program::read(&tiny.model());
    let image = |index| data.get(index).unwrap().pixels.as_slice().unwrap().to_vec();
    program.set_test_images((0..2).map(image).collect());
    on_boards_with(0, |registry, spec| {
        let mut program = Kernels::of(spec).unwrap().packed(program.clone());
        program.weights_last = spec.weights_window.is_some();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.brook");
        let file = build(&program, &plan(&program, Goal::Size).unwrap(), &path).unwrap();
        // A debugger waits at a socket.
        let mut spec = spec.clone();
        let socket = folder.path().join("debugger");
        let server = format!("unix:{},server=on,wait=off", socket.display());
        let Some(qemu) = &mut spec.qemu else { return };
        qemu.args.extend(["-gdb".to_owned(), server]);
        let start = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Board::start(registry, &spec, &path, &mut report).unwrap()
        };

        let mut board = start(file.bytes());
        assert_eq!(board.link().self_test().unwrap(), (2, None), "{}", spec.name);
        let row = file.model().input().row_bytes();
        let answer = board.link().infer(image(0).chunks(row)).unwrap();
        assert_eq!(answer.logits, file.model().test_images().next().unwrap().logits);
        board.link().check().unwrap();
        // The bit is in the weights of the last convolution, which are read for each image. A
        // debugger cannot reach weights behind a driver.
        if spec.weights_window.is_none() {
            let model = file.model();
            let weights = model.layer(model.logits()).weights.get();
            Debugger::flip(&socket, spec.slot.address + weights, 6).unwrap();
            let error = board.link().check().unwrap_err();
            assert!(matches!(error, FirmwareError::ModelChanged { .. }), "{}: {error}", spec.name);
            let error = board.link().infer(image(0).chunks(row)).unwrap_err();
            assert!(matches!(error, FirmwareError::ModelChanged { .. }), "{}: {error}", spec.name);
        }
        drop(board);

        // A stored answer that this board's kernels do not compute.
        let mut wrong = program.clone();
        wrong.test_images = TestImage::read(&file.model());
        wrong.test_images[1].logits[0] ^= 1;
        let mut board = start(&wrong.write(&plan(&wrong, Goal::Size).unwrap()));
        assert_eq!(board.link().self_test().unwrap(), (2, Some(1)), "{}", spec.name);
    });
}
