//! Every architecture that `brooklet new` makes can be read back, and has the published number of
//! parameters and of multiply-accumulates.

use crate::common::tries;
use crate::shell::{brooklet, json, succeed};
use brooklet_import as import;
use brooklet_import::network::{Network, Op};
use brooklet_import::{Arch, Imported, Options, ShortcutOption, StrideIn, Variant};
use brooklet_plan::model_file::{HostBackend, ModelFile};
use serde_json::Value;

/// Makes a network, and reads it back: its number of parameters (including batch norms' means and
/// variances), and the network.
fn made(line: &str, variant: Variant, input: Option<[usize; 2]>) -> (u64, Network) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let report = json(folder.path(), &format!("new {line} -o a.safetensors"));
    let arch: Arch = line.split(' ').next().unwrap().parse().unwrap();
    let options = Options { arch: Some(arch), variant, input, ..Options::default() };
    let Imported::Float(network) = import::load(&path, &options).unwrap() else {
        panic!("new weights are float");
    };
    (report["parameters"].as_u64().unwrap(), network)
}

/// Parameters and MACs, in thousands. Sources: He et al. 2015, tables 1 and 6; torchvision's table
/// of weights; MLPerf Tiny v1.0 for ResNet-8. Parameters include the running means and variances,
/// which these sources leave out, except for MLPerf's.
#[test]
fn networks_are_as_large_as_published() {
    let published = [
        ("resnet18", 11_699, 1_814_073),
        ("resnet34", 21_814, 3_663_761),
        ("resnet50", 25_610, 4_089_184),
        ("resnet101", 44_654, 7_801_405),
        ("resnet20", 271, 40_551),
        ("resnet56", 857, 125_485),
        ("resnet110", 1_736, 252_887),
        ("plain20", 271, 40_551),
        ("resnet8", 78, 12_501),
        // He et al. 2016, table 3: both have 1.7 million, and the same depth costs the same.
        ("preact-resnet110", 1_736, 252_887),
        ("preact-resnet164", 1_727, 244_500),
    ];
    // Files of more than 100 MB are for a thorough run.
    let large = |line| ["resnet50", "resnet101"].contains(&line);
    for (line, parameters, macs_k) in published {
        if tries(large(line), false) {
            continue;
        }
        let (count, network) = made(line, Variant::default(), None);
        assert_eq!((count / 1000, network.macs() / 1000), (parameters, macs_k), "{line}");
    }
}

#[test]
fn resnet8_has_exactly_mlperfs_parameters() {
    assert_eq!(made("resnet8", Variant::default(), None).0, 78_666);
}

#[test]
fn variants_are_built_and_read_back() {
    let none = Variant::default();
    let shortcut = |option| Variant { shortcut: Some(option), ..none };
    // Option A has no weights and B only where shapes change; C has more.
    let sizes = ["a", "b", "c"].map(|option| {
        let (count, _) = made(&format!("resnet20 --shortcut {option}"), none, None);
        count
    });
    // Projections of 16 to 32 and 32 to 64 channels, and their batch norms.
    assert_eq!(sizes[1] - sizes[0], 16 * 32 + 4 * 32 + 32 * 64 + 4 * 64);
    let [of_16, of_32, of_64] = [16, 32, 64].map(|c| c * c + 4 * c);
    assert_eq!(sizes[2] - sizes[1], 3 * of_16 + 2 * of_32 + 2 * of_64);
    // In an ImageNet file nothing tells that shortcuts have no weights.
    let (_, network) = made("resnet18 --shortcut a", shortcut(ShortcutOption::A), Some([64, 64]));
    assert!(network.nodes.iter().any(|node| matches!(node.op, Op::Subsample(_))));

    // The paper's ResNet-50 takes fewer MACs than torchvision's: 3.8 and 4.1 billion.
    let first = Variant { stride_in: Some(StrideIn::First), ..none };
    let (_, network) = made("resnet50 --stride-in 1x1", first, None);
    assert_eq!(network.macs() / 1_000_000, 3_857);

    // Many networks for CIFAR are those for ImageNet with another stem; its weights tell which.
    let (_, network) = made("resnet18 --stem 3x3", none, None);
    assert_eq!((network.input, network.macs() / 1_000_000), ([32, 32, 3], 555));
    assert!(!network.nodes.iter().any(|node| matches!(node.op, Op::MaxPool(_))));

    for convs in [1, 2, 3, 4] {
        let (_, network) = made(&format!("resnet20 --block-convs {convs}"), none, None);
        let count = network.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))).count();
        assert_eq!(count, 2 + 9 * convs);
    }

    for (line, convs) in [("mxnet-small20", 20 + 2), ("mxnet-small56", 56 + 2)] {
        let (_, network) = made(line, none, None);
        let count = network.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))).count();
        assert_eq!((count, network.input), (convs, [28, 28, 3]), "{line}");
    }
    assert_eq!(made("resnet20 --input 48x64", none, Some([48, 64])).1.input, [48, 64, 3]);
}

/// A checkpoint of a network for grey images, and of one that ends in its last sum.
#[test]
fn checkpoints_may_have_one_channel_and_no_last_norm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    succeed(folder.path(), "new preact-resnet18 --input 16x16 -o a.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let [out, channels, ..] = file.tensor("conv1.weight").unwrap().shape()[..] else { panic!() };
    let weights = file.tensor("conv1.weight").unwrap();
    let taps = weights.data().chunks(weights.data().len() / out);
    let grey: Vec<u8> = taps.flat_map(|taps| taps[..taps.len() / channels].to_vec()).collect();
    let mut tensors = Vec::new();
    for (name, tensor) in file.iter().filter(|(name, _)| !name.starts_with("bn.")) {
        let tensor = match name {
            "conv1.weight" => {
                let shape = vec![out, 1, 3, 3];
                safetensors::tensor::TensorView::new(tensor.dtype(), shape, &grey).unwrap()
            }
            _ => tensor,
        };
        tensors.push((format!("net.module.{name}"), tensor));
    }
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let arch = Some("preact-resnet18".parse().unwrap());
    let options = Options { arch, input: Some([16, 16]), ..Options::default() };
    let Imported::Float(network) = import::load(&path, &options).unwrap() else { panic!() };
    assert_eq!(network.input, [16, 16, 1]);
    let norms = network.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm(_)));
    let relus = network.nodes.iter().filter(|node| matches!(node.op, Op::Relu)).count();
    // Two in each block; the second follows a convolution, and is a part of it.
    assert_eq!((norms.count(), relus), (8, 16));
}

#[test]
fn variants_run_as_int8() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| succeed(folder.path(), line);
    let few = [
        ("resnet20", " --shortcut c --input 24x16"),
        ("resnet20", " --block-convs 1"),
        ("resnet20", " --block-convs 3 --shortcut b"),
        ("preact-resnet20", ""),
        ("preact-resnet20", " --shortcut c --block-convs 1"),
        ("mxnet-small20", ""),
        ("resnet8", ""),
        ("resnet8-26", ""),
    ];
    let large = [
        ("resnet50", " --stride-in 1x1 --shortcut a --input 32x32"),
        ("plain18", " --input 33x47"),
        ("preact-resnet164", " --input 16x16"),
    ];
    for (arch, options) in few.into_iter().chain(large.into_iter().take(tries(0, large.len()))) {
        let text = run(&format!("new {arch}{options} -o a.safetensors"));
        // The remedy that it prints is a command that works.
        let next = text.lines().find_map(|line| line.strip_prefix("next: brooklet ")).unwrap();
        // For the larger networks learning takes minutes.
        let effort = match arch {
            "resnet8" | "resnet8-26" => "",
            _ => " --effort fast",
        };
        run(&next.replace("random:4", &format!("random:2{effort}")));
        let arena = |reply: &str| {
            let report: Value = serde_json::from_str(reply).unwrap();
            report["arena_bytes"].as_u64().unwrap()
        };
        let bytes = arena(&run(&format!("inspect {arch}.brook --json")));
        let whole: Value =
            serde_json::from_str(&run(&format!("plan {arch}.brook --in-place --json"))).unwrap();
        assert!(bytes < whole["whole_bytes"].as_u64().unwrap(), "{arch}{options}: {bytes}");
        let file = ModelFile::open(folder.path().join(format!("{arch}.brook"))).unwrap();
        let pixels: Vec<u8> = (0..file.model().input().bytes()).map(|i| (i * 31) as u8).collect();
        let reference = file.simulator(HostBackend::Reference).unwrap().run(&pixels);
        for backend in HostBackend::of_this_machine() {
            let answer = file.simulator(backend).unwrap().run(&pixels);
            assert_eq!(answer, reference, "{arch}{options} on {backend:?}");
        }
    }
}

#[test]
fn variants_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (line, words) in [
        ("plain20 --shortcut a", "plain20 has no shortcuts: --shortcut does not apply"),
        ("resnet18 --stride-in 1x1", "resnet18 has no bottlenecks: --stride-in does not apply"),
        ("resnet20 --stem 3x3", "resnet20 has its own: --stem does not apply"),
        ("resnet50 --block-convs 2", "--block-convs does not apply"),
        ("resnet20 --block-convs 9", "9 is not in 1..=8"),
        ("resnet20 --shortcut d", "invalid value 'd'"),
        ("resnet21", "resnet1202"),
    ] {
        let error = brooklet(folder.path(), &format!("new {line} -o a.safetensors")).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
        assert!(!folder.path().join("a.safetensors").exists());
    }
}
