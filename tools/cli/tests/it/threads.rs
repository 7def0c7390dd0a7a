//! Model files do not depend on the number of threads that make them.

use std::fs;
use std::process::Command;

use crate::common::tries;
use crate::shell::resnet8;

#[test]
fn model_files_are_the_same_bytes_for_any_number_of_threads() {
    let desk = resnet8();
    let quantize = "quantize a.safetensors --arch resnet8 --calibrate random:6 -o";
    for (name, options) in [
        // Image by image.
        ("fast", "--effort fast --memory 1K"),
        ("default", ""),
        ("int16", "--int16 auto"),
        ("small", "--flash 60K"),
    ] {
        let threads: &[&str] = tries(&["1", "4"], &["1", "2", "4"]);
        let made = threads.iter().map(|threads| {
            let output = format!("{name}{threads}.brook");
            let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
            command.args(format!("{quantize} {output} {options}").split_whitespace());
            let command = command.current_dir(desk.path()).env("RAYON_NUM_THREADS", threads);
            let printed = command.output().unwrap();
            assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
            fs::read(desk.path().join(output)).unwrap()
        });
        let made: Vec<_> = made.collect();
        assert!(made.iter().all(|other| *other == made[0]), "{name}");
    }
}
