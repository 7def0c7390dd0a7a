//! Writes of `flash` to boards that can be bought.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_firmware::{FlashImage, Registry, compile, uf2};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::packing::packed_into;

use crate::common::project::share_dependencies;
use crate::shell::{brooklet, json, succeed};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/tiny.brook")
        .canonicalize()
        .unwrap()
}

/// The drive of a boot loader gets firmware and model, each at its address, and so does a file for
/// it.
#[test]
fn a_pico_gets_firmware_and_model_by_its_drive() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let spec = registry.board("rpi-pico").unwrap();
    let format = spec.uf2.as_ref().unwrap();
    let model = tiny();
    let flash = |options: &str| format!("flash {} --board rpi-pico {options}", model.display());

    succeed(folder.path(), &flash("--uf2 pico.uf2"));
    let firmware = compile::firmware(&registry, spec, &[], &mut |_| {}).unwrap();
    let packed = packed_into(folder.path(), spec, &ModelFile::open(&model).unwrap()).unwrap();
    let packed = packed.as_ref().map_or(model.as_path(), ModelFile::path);
    let image = FlashImage::new(spec, &firmware, Some(packed)).unwrap();
    let written = fs::read(folder.path().join("pico.uf2")).unwrap();
    assert_eq!(uf2::decode(&written, format).unwrap().pages(), image.pages());
    let at_slot = image.parts().find(|(address, _)| *address == spec.slot.address).unwrap();
    assert_eq!(at_slot.1, fs::read(packed).unwrap());

    let plan = json(folder.path(), &flash("--dry-run"));
    let parts = plan["parts"].as_array().unwrap();
    assert_eq!(parts.first().unwrap()["address"], spec.flash.address);
    let last = parts.last().unwrap();
    assert_eq!((&last["what"], &last["address"]), (&"model".into(), &spec.slot.address.into()));
    assert!(parts[..parts.len() - 1].iter().all(|part| part["what"] == "firmware"));

    // A drive without the boot loader's file is refused. With that file it is written to, and the
    // next error is that the board is not at any port.
    let at = "--drive drive --port /dev/there-is-none";
    let drive = folder.path().join("drive");
    fs::create_dir(&drive).unwrap();
    let error = brooklet(folder.path(), &flash(at)).unwrap_err();
    assert!(error.contains("there is no drive `RPI-RP2`"), "{error}");
    fs::write(drive.join("INFO_UF2.TXT"), "Board-ID: RPI-RP2\n").unwrap();
    let error = brooklet(folder.path(), &flash(at)).unwrap_err();
    assert!(error.contains("/dev/there-is-none"), "{error}");
    assert_eq!(fs::read(drive.join("rpi-pico.uf2")).unwrap(), written);
}

/// A dry run for a board that is not attached, and to which only its boot loader writes.
#[test]
fn a_dry_run_needs_no_board() {
    let folder = tempfile::tempdir().unwrap();
    let boards: &[_] = crate::common::tries(&[], &["rpi-pico2-riscv"]);
    if boards.is_empty() {
        crate::common::skipped("firmware of boards that are built where everything is tested");
    }
    for board in boards {
        let line = format!("flash {} --board {board} --dry-run", tiny().display());
        let plan = json(folder.path(), &line);
        assert_eq!(plan["way"], "as a UF2 file, to the drive RP2350, once it is mounted");
        let parts = plan["parts"].as_array().unwrap();
        assert_eq!(parts.first().unwrap()["address"], 0x1000_0000);
        assert_eq!(parts.last().unwrap()["what"], "model");
    }
}

/// The parts that an Espressif chip's flash would get, for which its boot loader must be supported.
#[test]
fn a_chip_of_espressif_gets_boot_loader_table_firmware_and_model() {
    let folder = tempfile::tempdir().unwrap();
    for board in ["esp32-c3", "esp32-c6"] {
        let flash = format!("flash {} --board {board} --dry-run", tiny().display());
        if !cfg!(feature = "espflash") {
            let error = brooklet(folder.path(), &flash).unwrap_err();
            assert!(error.contains("--features espflash"), "{error}");
            continue;
        }
        let plan = json(folder.path(), &format!("{flash} --port /dev/there-is-none"));
        assert_eq!(plan["way"], "by the chip's boot loader, at /dev/there-is-none");
        let parts = plan["parts"].as_array().unwrap();
        let parts: Vec<_> = parts.iter().map(|part| (&part["what"], &part["address"])).collect();
        let wanted = [
            ("boot loader", 0),
            ("partition table", 0x8000),
            ("firmware", 0x1_0000),
            ("model", 0x11_0000),
        ];
        let wanted = wanted.map(|(what, address)| (what.into(), address.into()));
        assert_eq!(parts, wanted.each_ref().map(|(what, address)| (what, address)));
        let at = format!("flash {} --board {board} --port /dev/there-is-none", tiny().display());
        let error = brooklet(folder.path(), &at).unwrap_err();
        assert!(error.contains("/dev/there-is-none"), "{error}");
    }
}

#[test]
fn ways_that_a_board_has_not_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = tiny();
    let flash = |options: &str| format!("flash {} {options}", model.display());
    let error = brooklet(folder, &flash("--board qemu-mps2-an386 --uf2 no.uf2")).unwrap_err();
    assert!(error.contains("does not take UF2 files"), "{error}");
    let error = brooklet(folder, &flash("--board qemu-mps2-an386 --drive")).unwrap_err();
    assert!(error.contains("there is no drive"), "{error}");
}

/// The log of firmware is decoded by commands that have the decoder.
#[test]
fn a_log_needs_its_decoder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.elf"), "no ELF file").unwrap();
    let monitor = |board: &str| {
        let line = format!("monitor --board {board} --log --firmware a.elf");
        brooklet(folder.path(), &line).unwrap_err()
    };
    let error = monitor("qemu-mps2-an386");
    let expected = match cfg!(feature = "log") {
        true => "a.elf cannot be read as an ELF file",
        false => "--features log`",
    };
    assert!(error.contains(expected), "{error}");
    let error = brooklet(folder.path(), "monitor --board rpi-pico --log").unwrap_err();
    assert!(error.contains("--firmware"), "{error}");
}

/// A project's log has the classes that its serial port has.
#[test]
fn a_project_logs() {
    if !cfg!(feature = "log") {
        return crate::common::skipped("a project's log: without the feature `log`");
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let (model, board) = (tiny(), "qemu-mps2-an386");
    let expected = said_by_simulator(&ModelFile::open(&model).unwrap());
    let init = format!("init logging --board {board} --model {}", model.display());
    succeed(folder.path(), &init);
    let project = Project { registry: &registry, board, name: "logging", folder: folder.path() };
    let firmware = project.built(&["--features", "defmt"]);
    let monitor = format!("monitor --board {board} --log --lines 2 --firmware");
    let said = succeed(folder.path(), &format!("{monitor} {}", firmware.display()));
    let is_right = |line: &str| line.contains("INFO") && line.contains(&expected);
    assert!(said.lines().count() == 2 && said.lines().all(is_right), "{said}");
}

/// Outside of a checkout the boards are those that are built in, and firmware must have been built
/// before.
#[test]
fn away_from_a_checkout() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let spec = registry.board("qemu-mps2-an386").unwrap();
    let firmware = compile::firmware(&registry, spec, &[], &mut |_| {}).unwrap();
    let model = tiny();
    let away = |line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_brooklet"))
            .args(line.split_whitespace())
            .current_dir(folder.path())
            .env("BROOKLET_BOARDS", "")
            .env("XDG_CACHE_HOME", folder.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    };
    let model = model.display();
    let (done, said) = away("boards");
    assert!(done && said.contains("rpi-pico") && said.contains("qemu-sifive-e"), "{said}");
    let (done, said) = away(&format!("fit {model}"));
    assert!(done && said.contains("nucleo-f446re"), "{said}");
    let bench = format!("bench {model} --board qemu-mps2-an386");
    let (done, said) = away(&bench);
    assert!(!done && said.contains("no checkout") && said.contains("--firmware"), "{said}");
    let (done, said) = away(&format!("{bench} --firmware {}", firmware.display()));
    assert!(done && said.contains("instructions  "), "{said}");
    // A folder of firmware works, too.
    let cached = folder.path().join("brooklet/firmware");
    fs::create_dir_all(&cached).unwrap();
    fs::copy(&firmware, cached.join("qemu-mps2-an386.elf")).unwrap();
    let (done, said) = away(&bench);
    assert!(done && said.contains("instructions  "), "{said}");
}

/// A firmware project.
struct Project<'a> {
    registry: &'a Registry,
    board: &'a str,
    name: &'a str,
    /// The folder that it is in.
    folder: &'a Path,
}

impl Project<'_> {
    /// Builds it; returns its ELF file.
    fn built(&self, options: &[&str]) -> PathBuf {
        let Self { registry, board, name, folder } = self;
        let (spec, project) = (registry.board(board).unwrap(), folder.join(name));
        share_dependencies(registry, &project);
        let target = registry.target_dir();
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--target", &spec.target]).args(options);
        cargo.current_dir(&project).env("CARGO_TARGET_DIR", &target).env_remove("RUSTC_BOOTSTRAP");
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
        target.join(&spec.target).join("release").join(name)
    }
}

/// The output of a project's firmware, if an emulator runs it.
fn said_by_project(
    registry: &Registry,
    folder: &Path,
    board: &str,
    options: &str,
) -> Option<String> {
    let spec = registry.board(board).unwrap();
    let name = format!("my-{board}{}", if options.contains("--async") { "-async" } else { "" });
    succeed(folder, &format!("init {name} --board {board} {options}"));
    let firmware = Project { registry, board, name: &name, folder }.built(&[]);
    let monitor = format!("monitor --board {board} --lines 3 --firmware {}", firmware.display());
    // The Pico's emulator does not wake an executor that sleeps.
    let sleeps = board == "rpi-pico" && options.contains("--async");
    let runs = spec.is_emulated() && !sleeps;
    runs.then(|| succeed(folder, &monitor))
}

/// Projects with a camera build as they are; where there is no camera, the command says so.
#[test]
fn a_project_with_a_camera_builds() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let options = format!("--model {}", tiny().display());
    let cameras = ["ov7670", "hm01b0"].map(|camera| ["rpi-pico", "rpi-pico2"].map(|b| (camera, b)));
    for (camera, board) in cameras.into_iter().flatten() {
        let name = format!("{camera}-{board}");
        let line = format!("init {name} --board {board} --camera {camera} {options}");
        let said = succeed(folder.path(), &line);
        assert!(said.contains("src/main.rs names the camera's pins"), "{said}");
        if crate::common::tries(false, true) {
            Project { registry: &registry, board, name: &name, folder: folder.path() }.built(&[]);
        }
    }
    let refused = |line: &str| brooklet(folder.path(), line).unwrap_err();
    let error = refused(&format!("init a --board nucleo-f446re --camera ov7670 {options}"));
    assert!(error.contains("the project for nucleo-f446re cannot have a camera"), "{error}");
}

/// The line that a project prints for the image that templates have instead of a camera's.
fn said_by_simulator(file: &ModelFile) -> String {
    let input = file.model().input();
    let pixel = |y: usize| move |x: usize| (7 * x + 13 * y) as u8;
    let rows = (0..usize::from(input.rows)).flat_map(|y| (0..input.row_bytes()).map(pixel(y)));
    let image: Vec<u8> = rows.collect();
    let logits = file.simulator(HostBackend::Reference).unwrap().run(&image).logits;
    let best = brooklet_quantize::evaluate::ranked(&logits)[0];
    let name = file.model().label(best).unwrap_or("no name").to_owned();
    format!("class {best}: {name}, score {}", logits[best])
}

/// A new project builds as it is, and on the emulated chip its network gives the simulator's
/// answer.
#[test]
fn a_project_of_ones_own_runs() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let model = tiny();
    let line = said_by_simulator(&ModelFile::open(&model).unwrap());
    let model = model.display();
    // The tutorial has one for the Pico.
    let boards: &[&str] =
        crate::common::tries(&[], &["nucleo-f446re", "rpi-pico2", "qemu-mps2-an386", "rpi-pico"]);
    for board in boards {
        if let Some(said) =
            said_by_project(&registry, folder.path(), board, &format!("--model {model}"))
        {
            assert_eq!(said.lines().collect::<Vec<_>>(), [&line, &line, &line], "{board}");
        }
    }
    let refused = |line: &str| brooklet(folder.path(), line).unwrap_err();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/notes"), "mine").unwrap();
    let error = refused(&format!("init full --board rpi-pico --model {model}"));
    assert!(error.contains("is not empty"), "{error}");
    let error = refused(&format!("init other --board qemu-microbit --model {model}"));
    assert!(
        error.contains("no project for qemu-microbit") && error.contains("rpi-pico2"),
        "{error}"
    );
    let error = refused(&format!("init Camera --board rpi-pico --model {model}"));
    assert!(error.contains("not a valid package name"), "{error}");
}

/// A project that reads weights by DMA gives the simulator's answers on the emulated chip, and most of
/// its weights are there before the core needs them.
#[test]
fn a_project_reads_weights_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    let model = folder.path().join("net.brook");
    succeed(folder.path(), "new resnet8 -o net.safetensors");
    succeed(
        folder.path(),
        "quantize net.safetensors --arch resnet8 --calibrate random:2 --effort fast --board rpi-pico -o net.brook",
    );
    let line = said_by_simulator(&ModelFile::open(&model).unwrap());
    let options = format!("--weights-window 16K --model {}", model.display());
    let said = said_by_project(&registry, folder.path(), "rpi-pico", &options).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let [first, ahead, second] = lines[..] else { panic!("{said}") };
    assert_eq!([first, second], [&line, &line]);
    let percent = ahead.strip_suffix(" % of the weights were read ahead");
    assert!(
        percent.is_some_and(|percent| (80..=100).contains(&percent.parse::<u8>().unwrap())),
        "{said}"
    );

    let refused = |options: &str| {
        let init = format!("init other --model {} {options}", model.display());
        brooklet(folder.path(), &init).unwrap_err()
    };
    let error = refused("--board rpi-pico2 --weights-window 16K");
    assert!(error.contains("cannot read weights by DMA") && error.contains("rpi-pico"), "{error}");
    let error = refused("--board rpi-pico --weights-window 1K");
    assert!(error.contains("is the smallest"), "{error}");
    let error = refused("--board rpi-pico --weights-window 200K");
    assert!(error.contains("bytes of RAM are needed"), "{error}");
    assert!(!folder.path().join("other").exists());
}

/// In a project with an executor, a camera's task captures a row a thousand times a second while
/// the network runs, and is never late. On the NUCLEO it is: at 16 MHz, the network takes longer for
/// a row than the camera.
#[test]
fn a_camera_misses_no_beat_while_the_network_runs() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::find().unwrap();
    succeed(folder.path(), "new resnet8 -o net.safetensors");
    succeed(
        folder.path(),
        "quantize net.safetensors --arch resnet8 --calibrate random:2 --effort fast --board qemu-mps2-an386 -o net.brook",
    );
    let model = folder.path().join("net.brook");
    let line = said_by_simulator(&ModelFile::open(&model).unwrap());
    let options = format!("--async --model {}", model.display());
    let boards: &[&str] = crate::common::tries(
        &["qemu-mps2-an386"],
        &["nucleo-f446re", "rpi-pico2", "rpi-pico", "qemu-mps2-an386"],
    );
    for board in boards {
        let is_right = |said: &str| match (said.strip_prefix(&line), *board) {
            (Some(late), "nucleo-f446re") => late.ends_with(" rows late"),
            (late, _) => late == Some(", 0 rows late"),
        };
        if let Some(said) = said_by_project(&registry, folder.path(), board, &options) {
            assert!(said.lines().count() == 3 && said.lines().all(is_right), "{board}: {said}");
        }
    }
}
