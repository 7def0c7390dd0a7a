//! Activation ranges from an earlier calibration.

use std::path::Path;

use brooklet_import::network::Network;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::ranges::{Range, Ranges};

use crate::commands::images::read_json;
use crate::failure::{Result, failure};

/// Reads ranges from a file, and checks that they are this network's.
pub(super) fn read_ranges(path: &Path, network: &Network, fused: &Fused<'_>) -> Result<Ranges> {
    const REMEDY: &str = "give the file that --save-ranges wrote for this network, or --calibrate \
                          again";
    let ranges: Ranges = read_json(path, "activation ranges", REMEDY)?;
    let wrong =
        |layer: &str, what: &str| failure!(help = REMEDY, "{}: `{layer}`: {what}", path.display());
    for (name, range) in &ranges.ranges {
        if !network.nodes.iter().any(|node| node.name == *name) {
            return Err(wrong(name, "the network has no such layer"));
        }
        let Range { min, max } = *range;
        if !(min.is_finite() && max.is_finite() && min <= 0.0 && max >= 0.0) {
            let what = format!("{min} to {max} is not a range around zero");
            return Err(wrong(name, &what));
        }
    }
    let of_channels = |(name, values): (&String, &Vec<f32>), may: fn(f32) -> bool| {
        let node = network.nodes.iter().find(|node| node.name == *name);
        node.is_some_and(|node| node.shape[2] == values.len())
            && values.iter().all(|&value| value.is_finite() && may(value))
    };
    if let Some((name, _)) = ranges.equalization.iter().find(|&of| !of_channels(of, |s| s > 0.0)) {
        return Err(wrong(name, "its equalization is not one positive factor per channel"));
    }
    if let Some((name, _)) = ranges.absorption.iter().find(|&of| !of_channels(of, |c| c >= 0.0)) {
        return Err(wrong(name, "its absorption is not one value of at least 0 per channel"));
    }
    for node in fused.calibrated().map(|node| &network.nodes[node]) {
        if !ranges.ranges.contains_key(&node.name) {
            return Err(wrong(&node.name, "has no range"));
        }
    }
    Ok(ranges)
}
