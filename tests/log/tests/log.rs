//! Proves that logging works from end to end: firmware with the feature `defmt` runs in QEMU, and
//! its log, a few bytes for each line, is decoded here with the texts in the firmware's ELF file.

use std::fs;
use std::path::Path;

use brooklet_firmware::{Board, FirmwareError, Options, Registry, compile, log};
use defmt_decoder::{DecodeError, Table};

/// Any file will do: the test looks for the result of the check at start-up.
const NO_MODEL: &[u8] = b"this is no model file";

#[test]
fn the_log_of_a_board_is_decoded_on_the_host() {
    let registry = Registry::find().unwrap();
    let spec = registry.board("qemu-mps2-an386").unwrap();
    let report = &mut |line: &str| eprintln!("{line}");

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (model, log) = (folder.join("no-model.brook"), folder.join("defmt.log"));
    fs::write(&model, NO_MODEL).unwrap();
    let options = Options { log: Some(log.clone()), ..Options::default() };
    let mut board = Board::start_with(&registry, spec, Some(&model), &options, report).unwrap();
    assert!(board.link().check().is_err());
    let refused = board.link().send_noise(&[1, 2, 3]).unwrap_err();
    assert!(refused.to_string().contains("damaged frame"), "{refused}");
    drop(board);

    let elf = fs::read(compile::firmware(&registry, spec, &["defmt"], report).unwrap()).unwrap();
    let table = Table::parse(&elf).unwrap().expect("the firmware has defmt's table");
    let mut decoder = table.new_stream_decoder();
    decoder.received(&fs::read(&log).unwrap());
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => lines.push(frame.display(false).to_string()),
            Err(DecodeError::UnexpectedEof) => break,
            Err(DecodeError::Malformed) => panic!("the log is malformed after {lines:#?}"),
        }
    }
    let expected = [
        "INFO qemu-mps2-an386: Cortex-M4F, backend armv7em",
        "ERROR no model that can run here: Model(BadMagic)",
        "ERROR request refused: Garbled",
    ];
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    for text in expected {
        let (level, words) = text.split_once(' ').unwrap();
        assert!(has(level) && has(words), "`{text}` is not in {lines:#?}");
    }
}

/// What `brooklet monitor --log` prints: each line has the place of its statement.
#[test]
fn the_lines_of_a_log_have_places() {
    let registry = Registry::find().unwrap();
    let spec = registry.board("qemu-mps2-an386").unwrap();
    let report = &mut |line: &str| eprintln!("{line}");
    let firmware = compile::firmware(&registry, spec, &["defmt"], report).unwrap();
    let mut lines = log::of_emulator(&registry, spec, &firmware, report).unwrap();
    let first = lines.next().unwrap();
    let words = ["INFO", "qemu-mps2-an386: Cortex-M4F, backend armv7em", "src/", ".rs:"];
    assert!(words.iter().all(|word| first.contains(word)), "{first}");

    let silent = compile::firmware(&registry, spec, &[], report).unwrap();
    let refused = log::of_emulator(&registry, spec, &silent, report).err().unwrap();
    assert!(matches!(refused, FirmwareError::Elf { .. }), "{refused}");
    assert!(refused.to_string().contains("feature `defmt`"), "{refused}");
}
