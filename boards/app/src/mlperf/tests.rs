//! A runner's script, and the answers of a board.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use brooklet::kernels::Portable;

use super::*;
use crate::Parts;
use crate::tests::{ABOUT, End, Host, TINY};

/// The board's answers to these commands, line by line.
fn answers(slot: &[u8], commands: &str) -> Vec<String> {
    let (mut host, mut pauses) = (Host::default(), |_| false);
    let mut arena = brooklet::Arena::<4096>::new();
    let mut image = [0; 192];
    let benchmark = Benchmark { model: "ic01", clock_hz: 1_000_000 };
    {
        let Parts { link, counter, .. } = host.parts(commands.as_bytes(), &mut pauses);
        let ended = run(link, counter, ABOUT, benchmark, slot, &mut arena, &mut image);
        assert_eq!(ended.unwrap_err(), End);
    }
    let said = String::from_utf8(host.said().to_vec()).unwrap();
    said.split("\r\n").filter(|line| !line.is_empty()).map(String::from).collect()
}

/// The commands with which a runner sends an image, in pieces of the same length as the runner's.
fn load(image: &[u8]) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let pieces = image.chunks(32).map(|bytes| format!("db {}%", digits(bytes)));
    format!("db load {}%", image.len()) + &pieces.collect::<String>()
}

#[test]
fn two_hundred_images_get_the_answers_of_the_runtime() {
    let model = Model::parse(TINY).unwrap();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    let (mut script, mut expected) = (String::from("name%profile%"), Vec::new());
    for number in 0..200_u32 {
        let pixel = |i: u32| (i * (number + 3) + number * 17) as u8;
        let image: Vec<u8> = (0..model.input().bytes() as u32).map(pixel).collect();
        script += &(load(&image) + "infer 1 0%");
        session.run_image(&image).unwrap();
        let output = session.output().unwrap();
        let reals: Vec<String> = output
            .scores()
            .map(|score| format!("{:.3}", output.quantization().dequantize(score)))
            .collect();
        expected.push(format!("m-results-[{}]", reals.join(",")));
    }
    let lines = answers(TINY, &script);
    assert_eq!(lines[..3], ["m-init-done", "m-ready", "m-name-dut-[brooklet host]"]);
    assert_eq!(lines[5], "m-model-[ic01]");
    let results: Vec<String> =
        lines.iter().filter(|line| line.starts_with("m-results")).cloned().collect();
    assert_eq!(results, expected);
    assert!(!lines.iter().any(|line| line.starts_with("e-")));
    assert_eq!(lines.iter().filter(|line| *line == "m-load-done").count(), 200);
}

#[test]
fn an_image_runs_as_often_as_the_runner_says() {
    let bytes = Model::parse(TINY).unwrap().input().bytes();
    let script = load(&std::vec![7; bytes]) + "infer 5 2%timestamp%results%";
    let lines = answers(TINY, &script);
    let from = lines.iter().position(|line| line == "m-warmup-start-2").unwrap();
    // A span takes one cycle here, of one microsecond.
    let expected =
        ["m-warmup-start-2", "m-warmup-done", "m-infer-start-5", "m-lap-us-2", "m-lap-us-7"];
    assert_eq!(lines[from..from + 5], expected);
    assert_eq!(lines[from + 5], "m-infer-done");
    assert_eq!(lines[from + 7..from + 9], ["m-ready", "m-lap-us-7"]);
    assert_eq!(lines[from + 6], lines[from + 10]);
}

#[test]
fn what_is_not_understood_is_answered() {
    for (slot, script, words) in [
        (TINY, "nonsense%", "e-[Unknown command: nonsense]"),
        (TINY, "infer 1%", "e-[no image was loaded]"),
        (TINY, "infer 0%", "e-[infer takes numbers"),
        (TINY, "infer x%", "e-[infer takes numbers"),
        (TINY, "results%", "e-[no image was run]"),
        (TINY, "db load 99999%", "e-[an image has 192 bytes"),
        (TINY, "db load%", "e-[an image has 192 bytes"),
        (TINY, "db 00%", "e-[not a byte of an image]"),
        (TINY, "db load 192%db 0g%", "e-[not a byte of an image]"),
        (TINY, "db load 192%db 000%", "e-[not a byte of an image]"),
        (&[0; 64], "results%", "e-[no model that can run"),
        (&[0; 64], "db load 192%", "e-[no model that can run"),
        (TINY, "\u{e9}%", "e-[Unknown command: \u{e9}]"),
    ] {
        let lines = answers(slot, &(script.to_string() + "name%"));
        assert!(lines.iter().any(|line| line.starts_with(words)), "{script}: {lines:?}");
        assert_eq!(lines.last().unwrap(), "m-ready", "{script}");
        assert_eq!(lines[lines.len() - 2], "m-name-dut-[brooklet host]", "{script}");
    }
    // A command that is too long is truncated, and the next one is heard.
    let lines = answers(TINY, &("db ".to_string() + &"0".repeat(500) + "%name%"));
    assert_eq!(lines[lines.len() - 2], "m-name-dut-[brooklet host]");
}
