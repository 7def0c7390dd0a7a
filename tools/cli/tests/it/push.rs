//! Sends signed models to a board.

use std::fs;
use std::path::Path;

use crate::shell::{brooklet, json, succeed};

/// A folder with keys, and models that are packed for the board and signed with counters 1 and 2.
fn signed(board: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    // The key is always the same, so that firmware for it is built once.
    fs::write(folder.path().join("models.key"), "5a".repeat(32)).unwrap();
    for (name, counter) in [("tiny", 1), ("tiny-stream16", 2)] {
        let model = golden.join(name).with_extension("brook");
        let plan = format!("plan {} --board {board} -o {counter}.brook", model.display());
        succeed(folder.path(), &plan);
        let sign = format!("--key models.key --counter {counter} -o {counter}.signed");
        let report = json(folder.path(), &format!("sign {counter}.brook {sign}"));
        let public = report["public_key"].as_str().unwrap();
        fs::write(folder.path().join("models.key.pub"), public).unwrap();
    }
    folder
}

/// An emulated board starts with a newer model that is sent to it, and refuses an older one, and
/// one that is signed with another key.
#[test]
fn a_newer_model_is_installed_and_an_older_one_refused() {
    let board = "qemu-mps2-an386";
    let folder = signed(board);
    let folder = folder.path();
    let push = |model: &str, installed: &str| {
        format!("push {model} --board {board} --key models.key.pub {installed}")
    };
    let report = json(folder, &push("2.signed", "--installed 1.signed"));
    assert_eq!((&report["before"], &report["running"]), (&1.into(), &2.into()), "{report}");
    let report = json(folder, &push("1.signed", ""));
    assert_eq!((&report["before"], &report["running"]), (&().into(), &1.into()), "{report}");
    let error = brooklet(folder, &push("1.signed", "--installed 2.signed")).unwrap_err();
    assert!(error.contains("its counter 1 is below 2"), "{error}");
    // The keys that `key new` makes are a pair, and differ from this one.
    succeed(folder, "key new other.key");
    let public = json(folder, "sign 2.brook --key other.key --counter 3 -o other.signed");
    let written = fs::read_to_string(folder.join("other.key.pub")).unwrap();
    assert_eq!(public["public_key"].as_str().unwrap(), written.trim());
    let error = brooklet(folder, &push("other.signed", "--installed 1.signed")).unwrap_err();
    assert!(error.contains("its signature is not by this key"), "{error}");
}

/// The Pico writes a model to its flash with functions of the boot ROM. Meanwhile flash cannot be
/// read: in the emulator, code or data from there would be other bytes.
#[test]
fn a_pico_writes_a_model_to_its_flash() {
    let board = "rpi-pico";
    let folder = signed(board);
    let line = format!("push 2.signed --board {board} --key models.key.pub --installed 1.signed");
    let report = json(folder.path(), &line);
    assert_eq!((&report["before"], &report["running"]), (&1.into(), &2.into()), "{report}");
}

#[test]
fn what_is_no_key_or_no_signed_model_is_refused() {
    let folder = signed("qemu-mps2-an386");
    let folder = folder.path();
    succeed(folder, "key new new.key");
    let secret = fs::read(folder.join("new.key")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.join("new.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(folder.join("short.key"), "abc").unwrap();
    let mut cut = fs::read(folder.join("1.signed")).unwrap();
    cut.truncate(1000);
    fs::write(folder.join("cut.signed"), &cut).unwrap();
    let push = "--board qemu-mps2-an386 --key models.key.pub";
    for (line, words) in [
        ("key new new.key", ["new.key: already exists", "nothing was written"]),
        (
            "sign 1.brook --key short.key --counter 1 -o a.signed",
            ["short.key: is not a key", "key new"],
        ),
        ("sign 1.signed --key models.key --counter 1 -o a.signed", ["1.signed: ", "help: "]),
        (&format!("push 1.brook {push}"), ["1.brook: is not a signed model", "brooklet sign"]),
        (
            &format!("push cut.signed {push}"),
            ["cut.signed: is not a signed model", "brooklet sign"],
        ),
        (
            "push 1.signed --board qemu-microbit --key models.key.pub",
            ["qemu-microbit does not take models over its link", "qemu-mps2-an386"],
        ),
    ] {
        let error = brooklet(folder, line).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{line}: {error}");
    }
    assert_eq!(fs::read(folder.join("new.key")).unwrap(), secret);
}
