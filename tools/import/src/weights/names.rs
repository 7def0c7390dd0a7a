//! Translates the names of weights from those of different libraries.

use std::collections::BTreeMap;

use ndarray::ArrayD;

/// Named weights.
type Weights = BTreeMap<String, ArrayD<f32>>;

/// The first layer of each structure, which shows the common prefix of all names.
const FIRST: &str = "conv1.weight";

/// Prefixes that frameworks put before the network's own names, if there are heads with other
/// names.
const WRAPPERS: [&str; 9] = [
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "network.",
    "backbone.",
    "encoder.",
    "resnet.",
    "base.",
];

/// Names of the last linear layer in different libraries.
const HEADS: [&str; 6] = ["classifier.1", "classifier", "head.fc", "head", "last_linear", "output"];

/// The same weights, with the names of PyTorch's own ResNets.
pub(super) fn plain(map: Weights) -> Weights {
    let map = deep_stem(without_wrappers(children(residual_functions(hugging_face(map)))));
    let map = head_in_sequence(map);
    let has_head = ["fc.", "linear."].iter().any(|head| map.keys().any(|k| k.starts_with(head)));
    let head = HEADS.iter().find(|head| map.contains_key(&format!("{head}.weight")));
    match head {
        Some(head) if !has_head => renamed(map, |name| {
            let part = name.strip_prefix(head)?.strip_prefix('.')?;
            Some(format!("fc.{part}"))
        }),
        _ => map,
    }
}

/// The same weights under other names, if `name` gives any.
fn renamed(map: Weights, name: impl Fn(&str) -> Option<String>) -> Weights {
    map.into_iter().map(|(old, tensor)| (name(&old).unwrap_or(old), tensor)).collect()
}

/// Removes prefixes of wrappers (data parallel, compiled, a field of another module) from names.
fn without_wrappers(mut map: Weights) -> Weights {
    while !map.is_empty() && !map.contains_key(FIRST) {
        // A prefix of all names; or, if there are heads, of the first layer.
        let first = map.keys().next().and_then(|name| name.split_once('.')).map(|(word, _)| word);
        let all = first.map(|word| format!("{word}."));
        let all = all.filter(|prefix| map.keys().all(|name| name.starts_with(prefix.as_str())));
        let known = || {
            let before_first =
                |prefix: &str| map.keys().any(|k| k.starts_with(prefix) && k.ends_with(FIRST));
            WRAPPERS.iter().find(|prefix| before_first(prefix)).map(|&prefix| prefix.to_owned())
        };
        let is_layer = |prefix: &String| prefix.starts_with("layer") || prefix.starts_with("conv");
        let Some(prefix) = all.filter(|prefix| !is_layer(prefix)).or_else(known) else { break };
        map = renamed(map, |name| name.strip_prefix(&prefix).map(str::to_owned));
    }
    map
}

/// Names of Hugging Face's ResNets: `resnet.encoder.stages.0.layers.1.layer.0.convolution.weight`.
fn hugging_face(map: Weights) -> Weights {
    if !map.keys().any(|name| name.contains("embedder.embedder.convolution.")) {
        return map;
    }
    let part = |kind: &str| match kind {
        "convolution" => Some("conv"),
        "normalization" => Some("bn"),
        _ => None,
    };
    renamed(map, |name| {
        let words: Vec<&str> = name.split('.').collect();
        let at = words.iter().position(|word| ["embedder", "stages"].contains(word))?;
        match words[at..] {
            ["embedder", "embedder", kind, last] => Some(format!("{}1.{last}", part(kind)?)),
            ["stages", stage, "layers", block, "layer", number, kind, last] => {
                let [stage, number] = [stage, number].map(|n| n.parse::<usize>().ok());
                let (stage, number) = (stage? + 1, number? + 1);
                Some(format!("layer{stage}.{block}.{}{number}.{last}", part(kind)?))
            }
            ["stages", stage, "layers", block, "shortcut", kind, last] => {
                let stage = stage.parse::<usize>().ok()? + 1;
                let place = usize::from(part(kind)? == "bn");
                Some(format!("layer{stage}.{block}.downsample.{place}.{last}"))
            }
            _ => None,
        }
    })
}

/// Names of networks whose blocks are sequences with numbered layers:
/// `conv2_x.0.residual_function.3.weight`. Each convolution is followed by its batch norm, and most by
/// a ReLU, so that every third number begins another convolution.
fn residual_functions(map: Weights) -> Weights {
    const FUNCTION: &str = ".residual_function.";
    if !map.keys().any(|name| name.contains(FUNCTION)) {
        return map;
    }
    renamed(map, |name| {
        let at = name.find("conv")?;
        let (before, name) = name.split_at(at);
        if let Some(last) = name.strip_prefix("conv1.0.") {
            return Some(format!("{before}conv1.{last}"));
        }
        if let Some(last) = name.strip_prefix("conv1.1.") {
            return Some(format!("{before}bn1.{last}"));
        }
        let (stage, rest) = name.strip_prefix("conv")?.split_once("_x.")?;
        let stage = stage.parse::<usize>().ok()?.checked_sub(1)?;
        let Some((block, layer)) = rest.split_once(FUNCTION) else {
            return Some(format!("{before}layer{stage}.{rest}"));
        };
        let (number, last) = layer.split_once('.')?;
        let number = number.parse::<usize>().ok()?;
        let kind = ["conv", "bn"].get(number % 3)?;
        Some(format!("{before}layer{stage}.{block}.{kind}{}.{last}", number / 3 + 1))
    })
}

/// Names of a sequence of the children of PyTorch's own ResNets: the first convolution has number 0,
/// its batch norm number 1, and the stages have consecutive numbers.
fn children(map: Weights) -> Weights {
    const BLOCK: &str = ".0.conv1.weight";
    let begins = |prefix: &str, stage: usize| map.contains_key(&format!("{prefix}{stage}{BLOCK}"));
    let first = map.keys().filter_map(|name| name.strip_suffix("0.weight")).find_map(|prefix| {
        let norm = map.contains_key(&format!("{prefix}1.running_mean"));
        let first = (2..8).find(|&stage| begins(prefix, stage) && begins(prefix, stage + 1));
        first.filter(|_| norm).map(|first| (prefix.to_owned(), first))
    });
    let Some((prefix, first)) = first else { return map };
    renamed(map, |name| {
        let (number, rest) = name.strip_prefix(&prefix)?.split_once('.')?;
        match number.parse::<usize>().ok()? {
            0 => Some(format!("conv1.{rest}")),
            1 => Some(format!("bn1.{rest}")),
            number => Some(format!("layer{}.{rest}", (number + 1).checked_sub(first)?)),
        }
    })
}

/// The last linear layer in a sequence of its own, in which nothing else has weights, such as a
/// dropout and the layer: `fc.1.weight`.
fn head_in_sequence(map: Weights) -> Weights {
    let numbered = |name: &str| {
        let (head, rest) = name.rsplit_once(".weight")?.0.rsplit_once('.')?;
        let known = ["fc", "linear"].iter().chain(&HEADS).any(|known| *known == head);
        (known && rest.parse::<usize>().is_ok()).then(|| format!("{head}.{rest}."))
    };
    let mut found = map.keys().filter_map(|name| numbered(name));
    let (Some(prefix), None) = (found.next(), found.next()) else { return map };
    let others = |name: &String| name.starts_with("fc.") || name.starts_with("linear.");
    if map.keys().any(|name| others(name) && !name.starts_with(&prefix)) {
        return map;
    }
    renamed(map, |name| name.strip_prefix(&prefix).map(|part| format!("fc.{part}")))
}

/// Names of timm's networks with a stem of three convolutions. The last batch norm of the stem is not a
/// part of it, and an average precedes the convolution of each shortcut.
fn deep_stem(map: Weights) -> Weights {
    let is_timms = map.contains_key("conv1.6.weight")
        && map.contains_key("bn1.weight")
        && !map.contains_key("conv1.7.weight");
    if !is_timms {
        return map;
    }
    renamed(map, |name| {
        if let Some(part) = name.strip_prefix("bn1.") {
            return Some(format!("conv1.7.{part}"));
        }
        let (block, part) = name.split_once(".downsample.")?;
        let (place, part) = part.split_once('.')?;
        let place = place.parse::<usize>().ok()?.checked_sub(1)?;
        Some(format!("{block}.downsample.{place}.{part}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        let empty = || ArrayD::zeros(vec![0]);
        plain(names.iter().map(|&name| (name.to_owned(), empty())).collect()).into_keys().collect()
    }

    #[test]
    fn prefixes_and_heads() {
        assert_eq!(
            names(&["module.model.conv1.weight", "module.model.fc.weight"]),
            ["conv1.weight", "fc.weight"]
        );
        assert_eq!(
            names(&["_orig_mod.net.conv1.weight", "_orig_mod.net.layer1.0.conv1.weight"]),
            ["conv1.weight", "layer1.0.conv1.weight"]
        );
        // A network beside a head.
        assert_eq!(
            names(&["backbone.conv1.weight", "head.bias", "head.weight"]),
            ["conv1.weight", "fc.bias", "fc.weight"]
        );
        // Names without a prefix.
        assert_eq!(names(&["layer1.0.conv1.weight"]), ["layer1.0.conv1.weight"]);
        assert_eq!(names(&["a.b"]), ["b"]);
    }

    #[test]
    fn deep_stems_of_timm_keep_their_last_batch_norm_apart() {
        assert_eq!(
            names(&[
                "bn1.running_var",
                "bn1.weight",
                "conv1.4.weight",
                "conv1.6.weight",
                "layer1.0.bn1.weight",
                "layer2.0.downsample.1.weight",
                "layer2.0.downsample.2.bias",
            ]),
            [
                "conv1.4.weight",
                "conv1.6.weight",
                "conv1.7.running_var",
                "conv1.7.weight",
                "layer1.0.bn1.weight",
                "layer2.0.downsample.0.weight",
                "layer2.0.downsample.1.bias",
            ]
        );
        // The names of `brooklet new`, whose stem contains all of its batch norms, stay.
        let plain = ["conv1.6.weight", "conv1.7.weight", "layer2.0.downsample.0.weight"];
        assert_eq!(names(&plain), plain);
    }

    #[test]
    fn children_and_heads_in_sequences_are_numbered() {
        assert_eq!(
            names(&[
                "features.0.weight",
                "features.1.bias",
                "features.1.running_mean",
                "features.4.0.conv1.weight",
                "features.5.0.conv1.weight",
                "features.5.0.downsample.0.weight",
                "fc.1.bias",
                "fc.1.weight",
            ]),
            [
                "bn1.bias",
                "bn1.running_mean",
                "conv1.weight",
                "fc.bias",
                "fc.weight",
                "layer1.0.conv1.weight",
                "layer2.0.conv1.weight",
                "layer2.0.downsample.0.weight",
            ]
        );
        // Two linear layers are not one.
        let two = ["conv1.weight", "fc.0.weight", "fc.2.weight"];
        assert_eq!(names(&two), two);
    }

    #[test]
    fn sequences_in_blocks_are_numbered() {
        assert_eq!(
            names(&[
                "conv1.0.weight",
                "conv1.1.running_mean",
                "conv2_x.0.residual_function.0.weight",
                "conv2_x.0.residual_function.4.bias",
                "conv3_x.0.residual_function.6.weight",
                "conv3_x.0.shortcut.1.bias",
                "fc.bias",
            ]),
            [
                "bn1.running_mean",
                "conv1.weight",
                "fc.bias",
                "layer1.0.bn2.bias",
                "layer1.0.conv1.weight",
                "layer2.0.conv3.weight",
                "layer2.0.shortcut.1.bias",
            ]
        );
    }

    #[test]
    fn hugging_face_has_other_words() {
        assert_eq!(
            names(&[
                "classifier.1.bias",
                "classifier.1.weight",
                "resnet.embedder.embedder.convolution.weight",
                "resnet.embedder.embedder.normalization.running_var",
                "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight",
                "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias",
            ]),
            [
                "bn1.running_var",
                "conv1.weight",
                "fc.bias",
                "fc.weight",
                "layer2.0.conv2.weight",
                "layer2.0.downsample.1.bias",
            ]
        );
    }
}
