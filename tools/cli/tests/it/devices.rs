//! What `flash` writes to boards that can be bought.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_firmware::{FlashImage, Registry, compile, uf2};
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_into;

use crate::shell::{brooklet, json, succeed};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/tiny.brook")
        .canonicalize()
        .unwrap()
}

/// A boot loader's drive gets firmware and model, each in its place; so does a file for it.
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

    // A drive without the boot loader's file is no such drive. With it, it is written to; that the
    // board then is at no port is the next error.
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

#[test]
fn ways_that_a_board_has_not_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = tiny();
    let flash = |options: &str| format!("flash {} {options}", model.display());
    let error = brooklet(folder, &flash("--board qemu-mps2-an386 --uf2 no.uf2")).unwrap_err();
    assert!(error.contains("takes no UF2 files"), "{error}");
    let error = brooklet(folder, &flash("--board qemu-mps2-an386 --drive")).unwrap_err();
    assert!(error.contains("there is no drive"), "{error}");
}

/// Away from a checkout the boards are those that are built in, and firmware is what was built before.
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
    // A folder of firmware does as well.
    let cached = folder.path().join("brooklet/firmware");
    fs::create_dir_all(&cached).unwrap();
    fs::copy(&firmware, cached.join("qemu-mps2-an386.elf")).unwrap();
    let (done, said) = away(&bench);
    assert!(done && said.contains("instructions  "), "{said}");
}
