//! Runs the tutorial of the guide: all commands of its `console` blocks, in a folder outside of the checkout,
//! with the installed command. They must print what the chapter shows.
//!
//! A line that is `…` stands for any number of lines, and `…` in a line for any text. Blocks of other
//! languages are not run.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use brooklet_firmware::Registry;

use crate::common::project::share_dependencies;

/// A command of the chapter.
#[derive(Debug, PartialEq)]
struct Typed<'c> {
    /// Its line in the chapter, counted from 1.
    line: usize,
    command: String,
    shown: Vec<&'c str>,
}

/// The commands of a chapter, in order.
fn typed(chapter: &str) -> Vec<Typed<'_>> {
    let mut commands: Vec<Typed<'_>> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for (number, line) in (1..).zip(chapter.lines()) {
        if line.starts_with("```") {
            (inside, goes_on) = (line == "```console", false);
        } else if inside {
            let begins = line.strip_prefix("$ ");
            let text = begins.or(goes_on.then_some(line));
            match (text, commands.last_mut()) {
                (Some(text), Some(last)) if goes_on => last.command.push_str(text.trim()),
                (Some(text), _) => {
                    commands.push(Typed { line: number, command: text.into(), shown: Vec::new() });
                }
                (None, Some(last)) => last.shown.push(line),
                (None, None) => panic!("line {number} is the output of no command"),
            }
            goes_on = text.is_some_and(|text| text.ends_with('\\'));
            if let Some(last) = commands.last_mut().filter(|_| goes_on) {
                last.command.pop();
            }
        }
    }
    commands
}

/// Whether a printed line matches a line of the chapter.
fn is_shown(shown: &str, printed: &str) -> bool {
    let Some((first, rest)) = shown.split_once('…') else {
        return shown.trim_end() == printed.trim_end();
    };
    let Some(mut printed) = printed.strip_prefix(first) else { return false };
    let mut parts = rest.split('…').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let found = if last { printed.ends_with(part).then_some(0) } else { printed.find(part) };
        let Some(at) = found else { return false };
        printed = printed.get(at + if last { 0 } else { part.len() }..).unwrap_or_default();
    }
    true
}

/// Whether all printed lines match.
fn are_shown(shown: &[&str], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        (["…"], _) => true,
        (["…", rest @ ..], _) => {
            (0..=printed.len()).any(|skip| are_shown(rest, &printed[skip..]))
        }
        ([line, rest @ ..], [said, more @ ..]) => is_shown(line, said) && are_shown(rest, more),
        _ => false,
    }
}

#[test]
fn chapters_are_read_as_they_are_typed() {
    let chapter = "text\n```sh\n$ not run\n```\n```console\n$ a b \\\n    c\nx\n…\n$ d\n```\n";
    let expected = [
        Typed { line: 6, command: "a b c".into(), shown: vec!["x", "…"] },
        Typed { line: 10, command: "d".into(), shown: vec![] },
    ];
    assert_eq!(typed(chapter), expected);
    assert!(are_shown(&["x", "…", "z"], &["x", "y", "y", "z "]));
    assert!(!are_shown(&["x", "…", "z"], &["x", "y", "zz"]));
    assert!(!are_shown(&["x"], &["x", "y"]) && !are_shown(&["x", "y"], &["x"]));
    assert!(is_shown("time: … ms at …, fast", "time: 12 ms at 1 MHz, fast"));
    assert!(!is_shown("time: … ms", "time: 12 s") && !is_shown("a … b", "a b"));
}

/// From a trained network to a project that runs in the Pico's emulator.
#[test]
fn the_tutorial_does_what_it_shows() {
    let registry = Registry::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [bin, desk] = ["bin", "camera"].map(|name| folder.path().join(name));
    for folder in [&bin, &desk] {
        fs::create_dir(folder).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_brooklet"), bin.join("brooklet")).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    for name in ["resnet20.safetensors", "ranges.json", "chelsea.png"] {
        fs::copy(demo.join(name), desk.join(name)).unwrap();
    }
    let mut path: OsString = bin.into();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let chapter = registry.root().join("src/guide/tutorial.md");
    let chapter = fs::read_to_string(chapter).unwrap();
    let commands = typed(&chapter);
    assert!(commands.len() >= 7, "{} commands", commands.len());
    for Typed { line, command, shown } in commands {
        let output = Command::new("sh")
            .args(["-ec", &command])
            .current_dir(&desk)
            .env("PATH", &path)
            // What is compiled for boards is compiled once.
            .env("CARGO_BUILD_BUILD_DIR", registry.target_dir())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("BROOKLET_BOARDS")
            .env_remove("BROOKLET_BOARD")
            .env_remove("RUSTC_BOOTSTRAP")
            .output()
            .unwrap();
        let [printed, errors] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        let place = format!("src/guide/tutorial.md:{line}: {command}");
        assert!(output.status.success(), "{place}\n{printed}{errors}");
        let printed: Vec<_> = printed.lines().collect();
        assert!(are_shown(&shown, &printed), "{place}\n{}", printed.join("\n"));
        let project = desk.join("my-camera");
        if project.join("Cargo.toml").is_file() && !project.join("Cargo.lock").is_file() {
            share_dependencies(&registry, &project);
        }
    }
}
