//! A folder to work in, and the command in it: its output, or its refusal without changes.

use std::fs;
use std::process::{Command, Output};

use crate::onnx::{Onnx, attribute, scalar, weight};
use image::RgbImage;
use serde_json::Value;
use tempfile::TempDir;

/// A residual block between a convolution and ten classes, for images of 8x8.
pub(crate) fn tiny() -> Onnx {
    let pads = [attribute("pads", &[1; 4])];
    Onnx::new(&[0, 3, 8, 8])
        .floats("w0", &[8, 3, 3, 3], weight)
        .floats("w1", &[8, 8, 3, 3], weight)
        .floats("w2", &[10, 8], weight)
        .node("Conv", "x w0", "c0", &pads)
        .node("Relu", "c0", "r0", &[])
        .node("Conv", "r0 w1", "c1", &pads)
        .node("Add", "r0 c1", "sum", &[])
        .node("Relu", "sum", "r1", &[])
        .node("GlobalAveragePool", "r1", "pool", &[])
        .node("Flatten", "pool", "flat", &[])
        .node("Gemm", "flat w2", "y", &[scalar("transB", 1)])
}

/// One convolution, for an image with `rows` and `columns`.
pub(crate) fn conv(
    rows: i64,
    columns: i64,
    channels: i64,
    outputs: i64,
    weight: fn(usize) -> f32,
) -> Onnx {
    Onnx::new(&[1, channels, rows, columns])
        .floats("w", &[outputs, channels, 3, 3], weight)
        .node("Conv", "x w", "bad_conv", &[attribute("pads", &[1; 4])])
        .node("GlobalAveragePool", "bad_conv", "y", &[])
}

/// A folder to work in, with a network, a model of it, its ranges, and images.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        desk.write("tiny.onnx", &tiny().bytes());
        desk.succeeds(
            "quantize tiny.onnx --effort fast --calibrate random:4 --save-ranges ranges.json -o tiny.brook",
        );
        RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 99]))
            .save(desk.path("fits.png"))
            .unwrap();
        RgbImage::new(9, 7).save(desk.path("other.png")).unwrap();
        // The file that every refused command would overwrite.
        desk.write("out.brook", b"a good model");
        desk
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("BROOKLET_BOARDS").env_remove("BROOKLET_BOARD");
        command
    }

    /// Runs `brooklet` with these words.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// The output of a command that must succeed without a message on the error stream, such as a
    /// progress bar.
    pub(crate) fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.is_empty(), "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The report, as JSON and as its schema says, of a command that must succeed.
    pub(crate) fn report(&self, line: &str) -> Value {
        let report = self.succeeds(&format!("{line} --json"));
        crate::schema::checked(serde_json::from_str(&report).unwrap())
    }

    /// Checks for one error that contains all of `says`, and a remedy, without a panic or a written
    /// file.
    pub(crate) fn refuses(&self, line: &str, says: &[&str]) {
        let before = self.files();
        let output = self.run(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        let told = format!("brooklet {line}\n{errors}");
        // 1: from the command; 2: from the parser of its options.
        let (mark, remedy) = match output.status.code() {
            Some(1) => ("× ", "help: "),
            Some(2) => ("error: ", "try '--help'"),
            code => panic!("{code:?}: {told}"),
        };
        assert_eq!(errors.matches(mark).count(), 1, "{told}");
        assert!(errors.contains(remedy), "{told}");
        assert!(!errors.contains("panicked") && !errors.contains("╰─▶"), "{told}");
        assert!(output.stdout.is_empty(), "{told}");
        for say in says {
            assert!(errors.contains(say), "no {say:?} in: {told}");
        }
        assert_eq!(self.files(), before, "{told}");
        assert_eq!(self.read("out.brook"), b"a good model", "{told}");
    }

    /// Names of all files and folders at the top level.
    pub(crate) fn files(&self) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}
