//! `brooklet ensemble`: averages the members' probabilities, in the arena of one member.

use crate::shell::{brooklet, json};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;
use brooklet_plan::self_test::build;
use brooklet_plan::test_image::TestImage;

/// The three members.
const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// A folder with these of three members and of models that do not fit them.
fn models(wanted: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, arch, options, preprocess) in [
        ("a", "resnet8", "--seed 1", ""),
        ("b", "plain20", "--seed 2", ""),
        ("c", "resnet20", "--seed 3", ""),
        ("hundred", "resnet8", "--classes 100", ""),
        ("small", "resnet8", "--input 24x24", "--input 24x24"),
        ("mean", "resnet8", "", "--mean 0.5,0.5,0.5 --std 0.2,0.2,0.2"),
    ] {
        if !wanted.contains(&name) {
            continue;
        }
        brooklet(folder.path(), &format!("new {arch} {options} -o n.safetensors")).unwrap();
        let line = format!(
            "quantize n.safetensors --arch {arch} {preprocess} --effort fast --calibrate random:2 -o {name}.brook"
        );
        brooklet(folder.path(), &line).unwrap();
    }
    folder
}

/// The members' float softmax, from their int8 logits.
fn probabilities(file: &ModelFile, pixels: &[u8]) -> Vec<f64> {
    let answer = file.simulator(HostBackend::Reference).unwrap().run(pixels);
    let quantization = file.model().logits_quantization();
    let exp = answer.logits.iter().map(|&q| f64::from(quantization.dequantize(q)).exp());
    let exp: Vec<f64> = exp.collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

#[test]
fn probabilities_are_averaged_in_the_arena_of_one() {
    let folder = models(&MEMBERS);
    let open = |name: &str| ModelFile::open(folder.path().join(name)).unwrap();
    let report = json(folder.path(), "ensemble a.brook b.brook c.brook -o all.brook");
    let [arena, largest] =
        ["arena_bytes", "largest_member_arena_bytes"].map(|name| report[name].as_u64().unwrap());
    // The image, 32 · 32 · 3 bytes, stays in the arena, with a few probabilities.
    assert!(arena <= largest + 3072 + 64, "{arena} for {largest}");
    let members = ["a.brook", "b.brook", "c.brook"].map(open);
    let all = open("all.brook");
    for seed in 0..5 {
        let pixels: Vec<u8> = (0..3072).map(|i| (i * (31 + 2 * seed)) as u8).collect();
        let each = members.each_ref().map(|member| probabilities(member, &pixels));
        let answer = all.simulator(HostBackend::Portable).unwrap().run(&pixels);
        assert_eq!(answer, all.simulator(HostBackend::Reference).unwrap().run(&pixels));
        assert_eq!(answer.logits, answer.output);
        for (class, &q) in answer.logits.iter().enumerate() {
            let mean = each.iter().map(|member| member[class]).sum::<f64>() / 3.0;
            let ours = f64::from(all.model().logits_quantization().dequantize(q));
            // Each softmax is rounded to 1/256, and so is each of the two means.
            assert!((ours - mean).abs() <= 1.5 / 256.0, "class {class}: {ours} for {mean}");
        }
    }
    // An ensemble is a model like any other: planning it again gives the same file.
    let before = std::fs::read(folder.path().join("all.brook")).unwrap();
    brooklet(folder.path(), "plan all.brook --in-place").unwrap();
    assert_eq!(std::fs::read(folder.path().join("all.brook")).unwrap(), before);
}

/// The images are those of the first member that has some; the answers are the ensemble's.
#[test]
fn test_images_are_answered_by_the_ensemble() {
    let folder = models(&MEMBERS);
    let mut images = Vec::new();
    for name in ["b", "c"] {
        let path = folder.path().join(name).with_extension("brook");
        let mut program = Program::read(&ModelFile::open(&path).unwrap().model());
        let pixels = |seed: usize| (0..3072).map(|i| (i * (31 + seed)) as u8).collect();
        program.set_test_images((0..2).map(|seed| pixels(seed + name.len())).collect());
        let file = build(&program, &plan(&program, Goal::Size).unwrap(), &path).unwrap();
        std::fs::write(&path, file.bytes()).unwrap();
        images.push(TestImage::read(&file.model()));
    }
    brooklet(folder.path(), "ensemble a.brook b.brook c.brook -o all.brook").unwrap();
    let all = ModelFile::open(folder.path().join("all.brook")).unwrap();
    let stored = TestImage::read(&all.model());
    assert_eq!(stored.len(), 2);
    for (image, of_first) in stored.iter().zip(&images[0]) {
        assert_eq!(image.pixels, of_first.pixels);
        let answer = all.simulator(HostBackend::Reference).unwrap().run(&image.pixels);
        assert!(image.logits.iter().map(|&byte| i16::from(byte as i8)).eq(answer.logits));
        assert_ne!(image.logits, of_first.logits);
        assert!(image.output.is_empty(), "the mean is both");
    }
    assert!(brooklet(folder.path(), "check all.brook").unwrap().contains("2 images gave"));
}

#[test]
fn members_that_do_not_fit_are_named() {
    let folder = models(&["a", "hundred", "small", "mean"]);
    for (member, words) in [
        ("hundred", "hundred.brook: has other classes"),
        ("small", "small.brook: takes other images"),
        ("mean", "mean.brook: preprocesses images differently"),
        ("nothing", "nothing.brook: cannot be read"),
    ] {
        let line = format!("ensemble a.brook {member}.brook -o all.brook");
        let error = brooklet(folder.path(), &line).unwrap_err();
        assert!(error.contains(words), "{member}: {error}");
        assert!(!folder.path().join("all.brook").exists());
    }
    assert!(brooklet(folder.path(), "ensemble a.brook -o all.brook").is_err());
}
