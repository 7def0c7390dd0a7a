//! The command's treatment of files: no output replaces an input or another output, an output that
//! cannot be written is refused before the work, and no temporary file is left.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::shell::{brooklet, resnet8, succeed};
use tempfile::TempDir;

/// A folder with a network, a model of it, its ranges, images and logits.
fn desk() -> TempDir {
    let desk = resnet8();
    let folder = desk.path();
    succeed(
        folder,
        "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2 \
         --save-ranges ranges.json -o a.brook",
    );
    for class in ["cat", "dog"] {
        fs::create_dir_all(folder.join("data").join(class)).unwrap();
        image::RgbImage::new(32, 32).save(folder.join("data").join(class).join("1.png")).unwrap();
    }
    fs::copy(folder.join("data/cat/1.png"), folder.join("1.png")).unwrap();
    fs::write(folder.join("labels.txt"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").unwrap();
    fs::write(folder.join("preprocess.json"), "{}").unwrap();
    fs::copy(folder.join("a.brook"), folder.join("b.brook")).unwrap();
    succeed(folder, "eval a.brook random:2 --logits int8.npy");
    let float = ndarray::Array2::<f32>::zeros((2, 10));
    ndarray_npy::write_npy(folder.join("float.npy"), &float).unwrap();
    desk
}

/// All files below a folder, with their contents.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            all.extend(contents(&path));
        } else {
            // Pipes are not read.
            all.push((path.clone(), path.is_file().then(|| fs::read(&path).unwrap())));
        }
    }
    all
}

/// Checks that a command is refused with all of `says`, and changes nothing.
fn refuses(folder: &Path, line: &str, says: &[&str]) {
    let before = contents(folder);
    let error = brooklet(folder, line).expect_err(line);
    for say in says.iter().chain(&["help: "]) {
        assert!(error.contains(say), "{line}: no {say:?} in {error}");
    }
    assert_eq!(error.matches("× ").count(), 1, "{line}: {error}");
    assert!(!error.contains(".brooklet-"), "{line}: {error}");
    assert!(contents(folder) == before, "{line} changed a file");
}

/// Each output of each command, against each input, by its name and through links.
#[test]
fn outputs_never_replace_inputs() {
    let desk = desk();
    let folder = desk.path();
    let quantize = "quantize a.safetensors --arch resnet8 --effort fast";
    let calibrate = format!("{quantize} --calibrate data --labels labels.txt");
    let ranges = format!("{quantize} --ranges ranges.json --preprocess preprocess.json");
    let cases: &[(&str, &str, &[&str])] = &[
        (&calibrate, "-o", &["a.safetensors", "labels.txt", "data/dog/1.png"]),
        (&format!("{calibrate} -o new.brook"), "--save-ranges", &["a.safetensors", "labels.txt"]),
        (&ranges, "-o", &["a.safetensors", "ranges.json", "preprocess.json"]),
        ("run a.brook 1.png data/cat/1.png", "--logits", &["a.brook", "1.png", "data/cat/1.png"]),
        ("eval a.brook data", "--logits", &["a.brook", "data/cat/1.png"]),
        ("eval a.brook random:2 --float float.npy", "--logits", &["a.brook", "float.npy"]),
        ("eval a.brook float.npy", "--logits", &["float.npy"]),
        (
            "report a.safetensors a.brook data --arch resnet8",
            "-o",
            &["a.safetensors", "a.brook", "data/cat/1.png"],
        ),
        ("ensemble a.brook b.brook", "-o", &["a.brook", "b.brook"]),
        ("plan a.brook", "-o", &["a.brook"]),
        ("plan a.brook", "--svg", &["a.brook"]),
        ("plan a.brook --in-place", "--svg", &["a.brook"]),
        ("plan a.brook", "--rows-svg", &["a.brook"]),
        ("flash a.brook --board qemu-mps2-an386 --run 1.png", "--logits", &["a.brook", "1.png"]),
    ];
    for (line, option, inputs) in cases {
        for input in *inputs {
            let mut names =
                vec![input.to_string(), format!("./{input}"), format!("data/../{input}")];
            names.push(folder.join(input).display().to_string());
            #[cfg(unix)]
            {
                fs::hard_link(folder.join(input), folder.join("hard")).unwrap();
                std::os::unix::fs::symlink(input, folder.join("soft")).unwrap();
                std::os::unix::fs::symlink("soft", folder.join("softer")).unwrap();
                names.extend(["hard", "soft", "softer"].map(String::from));
            }
            for name in names {
                refuses(folder, &format!("{line} {option} {name}"), &["would replace the input"]);
            }
            for link in ["hard", "soft", "softer"] {
                let _ = fs::remove_file(folder.join(link));
            }
        }
    }
}

#[test]
fn outputs_never_replace_each_other() {
    let desk = desk();
    let folder = desk.path();
    let quantize =
        "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:2 --save-ranges";
    fs::write(folder.join("old"), "old").unwrap();
    for name in ["new", "./new", "data/../new"] {
        refuses(folder, &format!("{quantize} new -o {name}"), &["--save-ranges", "--output"]);
    }
    refuses(folder, &format!("{quantize} old -o ./old"), &["would both write it"]);
    refuses(folder, "plan a.brook --svg new -o new", &["would both write it"]);
    #[cfg(unix)]
    {
        // A file that does not exist yet.
        std::os::unix::fs::symlink("new", folder.join("soft")).unwrap();
        refuses(folder, &format!("{quantize} new -o soft"), &["would both write it"]);
        // The file that the report is printed to.
        let report = fs::File::create(folder.join("report")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
        let words = ["eval", "a.brook", "random:2", "--logits", "report"];
        let output = command.args(words).current_dir(folder).stdout(report).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("that the report is printed to"), "{error}");
    }
    // A device takes bytes as they come, and loses nothing.
    succeed(folder, &format!("{quantize} /dev/null -o /dev/null"));
}

/// The file with a network's weights is an input, though no argument names it.
#[test]
fn outputs_never_replace_weights_that_a_network_names() {
    use rten_onnx::onnx::{DataType, StringStringEntryProto};
    let desk = tempfile::tempdir().unwrap();
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let mut weights = crate::onnx::tensor("w", &[4, 3, 3, 3], DataType::FLOAT);
    weights.data_location = Some(rten_onnx::onnx::DataLocation::EXTERNAL);
    weights.external_data = vec![entry("location", "weights.bin")];
    let mut network = crate::onnx::Onnx::new(&[1, 3, 8, 8]);
    network.graph.initializer.push(weights);
    let network = network.node("Conv", "x w", "c", &[]).node("GlobalAveragePool", "c", "y", &[]);
    fs::write(desk.path().join("a.onnx"), network.bytes()).unwrap();
    fs::write(desk.path().join("weights.bin"), [1; 4 * 4 * 27]).unwrap();
    let line = "quantize a.onnx --effort fast --calibrate random:2 -o";
    refuses(desk.path(), &format!("{line} ./weights.bin"), &["weights.bin", "--output"]);
    succeed(desk.path(), &format!("{line} a.brook"));
}

/// All of these are found before the calibration, whose data do not exist.
#[test]
fn outputs_that_cannot_be_written_are_known_before_the_work() {
    let desk = desk();
    let folder = desk.path();
    let long = "x".repeat(300);
    let mut cases = vec![
        ("nowhere/new".to_owned(), vec!["nowhere/new: ", "mkdir -p nowhere"]),
        ("data".to_owned(), vec!["data: ", "folder"]),
        ("data/".to_owned(), vec!["data/: ", "folder"]),
        ("new/".to_owned(), vec!["new/: ", "folder"]),
        ("data/.".to_owned(), vec!["folder"]),
        (".".to_owned(), vec!["folder"]),
        ("..".to_owned(), vec!["folder"]),
        ("1.png/new".to_owned(), vec!["1.png/new: ", "Not a directory"]),
        (long.clone(), vec!["too long"]),
    ];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("nowhere/new", folder.join("dangling")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        let made = Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
        assert!(made.success());
        cases.push(("dangling".to_owned(), vec!["dangling: ", "mkdir -p ./nowhere"]));
        cases.push(("loop".to_owned(), vec!["loop: ", "symbolic links"]));
        cases.push(("pipe".to_owned(), vec!["pipe: cannot be written: it is a pipe"]));
    }
    for (output, says) in &cases {
        for line in [
            "quantize a.safetensors --arch resnet8 --calibrate absent -o",
            "quantize a.safetensors --arch resnet8 --calibrate absent -o new --save-ranges",
            "eval a.brook absent --logits",
            "run a.brook absent --logits",
            "flash a.brook --board qemu-mps2-an386 --run absent --logits",
            "report a.safetensors a.brook absent -o",
            "ensemble a.brook absent -o",
            "plan absent -o",
            "plan absent --svg",
            "new resnet8 -o",
        ] {
            refuses(folder, &format!("{line} {output}"), says);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_a_dangling_link_leads_to_is_written() {
    let desk = desk();
    let folder = desk.path();
    std::os::unix::fs::symlink("data/new.brook", folder.join("link.brook")).unwrap();
    succeed(folder, "plan a.brook -o link.brook");
    assert!(folder.join("link.brook").is_symlink());
    assert!(fs::read(folder.join("data/new.brook")).unwrap().starts_with(b"\x89BROOK"));
}

#[test]
fn a_plan_is_written_where_the_user_says() {
    let desk = desk();
    let folder = desk.path();
    let options = "--board qemu-mps2-an386 --optimize speed";
    let before = contents(folder);
    let shown = succeed(folder, &format!("plan a.brook {options}"));
    assert!(shown.contains("not written: add -o MODEL.brook, or --in-place"), "{shown}");
    assert!(contents(folder) == before);
    let shown = succeed(folder, &format!("plan a.brook {options} -o b.brook"));
    assert!(!shown.contains("not written"));
    let planned = fs::read(folder.join("b.brook")).unwrap();
    assert!(fs::read(folder.join("a.brook")).unwrap() != planned);
    succeed(folder, &format!("plan a.brook {options} --in-place"));
    assert!(fs::read(folder.join("a.brook")).unwrap() == planned);
    assert!(brooklet(folder, "plan a.brook --in-place -o b.brook").is_err());
}

/// A write-protected file stays, though its folder's permissions allow replacing it.
#[cfg(unix)]
#[test]
fn write_protected_files_stay() {
    use std::os::unix::fs::PermissionsExt;
    let desk = desk();
    let folder = desk.path();
    fs::write(folder.join("kept"), "kept").unwrap();
    fs::set_permissions(folder.join("kept"), fs::Permissions::from_mode(0o444)).unwrap();
    if fs::File::options().append(true).open(folder.join("kept")).is_ok() {
        return crate::common::skipped("write-protected files: this user may write everywhere");
    }
    refuses(folder, "plan a.brook -o kept", &["kept: is not replaced", "write-protected"]);
}

/// Signals while the file is written: a slow disk holds the command while it has a temporary file.
#[cfg(target_os = "linux")]
#[test]
fn signals_leave_no_temporary_files() {
    use std::time::{Duration, Instant};
    let desk = tempfile::tempdir().unwrap();
    let folder = desk.path();
    let temporary = || {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".brooklet-")).count()
    };
    for (name, signal) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let mut caught = false;
        for _ in 0..20 {
            // 47 MB take long enough to be seen.
            // A parent process in the background may ignore signals, and then so does the command.
            let mut child = Command::new("env")
                .args(["--default-signal", env!("CARGO_BIN_EXE_brooklet")])
                .args(["new", "resnet18", "-o", "a.safetensors"])
                .current_dir(folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Waits for a line: starting a program takes too long when there is something to end.
            let id = child.id();
            let mut killer = Command::new("sh")
                .args(["-c", &format!("read go; kill -s {name} {id}")])
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let start = Instant::now();
            // The first file is a probe; the file itself has bytes.
            let written = || {
                let entries = fs::read_dir(folder).unwrap().flatten();
                let sizes = entries.filter_map(|entry| entry.metadata().ok()).map(|m| m.len());
                sizes.max().unwrap_or(0) > 0
            };
            while !written() && child.try_wait().unwrap().is_none() {
                assert!(start.elapsed() < Duration::from_secs(120), "it never writes");
                std::thread::sleep(Duration::from_micros(100));
            }
            killer.stdin.take().unwrap().write_all(b"\n").unwrap();
            let status = child.wait().unwrap();
            killer.wait().unwrap();
            assert_eq!(temporary(), 0, "after {name}");
            use std::os::unix::process::ExitStatusExt;
            let ended = status.signal() == Some(signal);
            let whole = folder.join("a.safetensors").exists();
            let _ = fs::remove_file(folder.join("a.safetensors"));
            if ended && !whole {
                caught = true;
                break;
            }
        }
        assert!(caught, "{name} never came in time");
    }
}
