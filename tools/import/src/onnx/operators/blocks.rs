//! Blocks of pixels that become channels: SpaceToDepth, and PyTorch's PixelUnshuffle.

use ndarray::Array4;

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op, check_extents};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Channel, Height, Map, Width};
use crate::onnx::node::{extent, int};

/// SpaceToDepth, whose channels are innermost.
pub(super) fn space_to_depth(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    map.require_nchw()?;
    blocks_as_channels(importer, map, extent(int(call.node, "blocksize", 0))?, true, &call.name)
}

/// The pixels of each block as channels: a convolution whose stride is its size.
///
/// The channels of the map are `innermost`, or outermost.
pub(in crate::onnx) fn blocks_as_channels(
    importer: &mut Importer<'_>,
    map: &Map,
    block: usize,
    innermost: bool,
    name: &str,
) -> Result<Map, Problem> {
    let [height, width, channels] = [Height, Width, Channel].map(|axis| map.extent(axis));
    if block == 0 || !height.is_multiple_of(block) || !width.is_multiple_of(block) {
        return Err(unsupported(
            format!("blocks of {block}×{block} pixels of a map of {height}×{width}"),
            "export the network with an input that is a multiple of its blocks",
        ));
    }
    let pixels = block.saturating_mul(block);
    let out = pixels.saturating_mul(channels);
    check_extents(&[out], "number of channels")?;
    importer.take(out.saturating_mul(out))?;
    let mut weights = Array4::zeros((out, block, block, channels));
    for pixel in 0..pixels {
        for channel in 0..channels {
            let place =
                if innermost { pixel * channels + channel } else { channel * pixels + pixel };
            weights[[place, pixel / block, pixel % block, channel]] = 1.0;
        }
    }
    let (bias, stride) = (vec![0.0; out], [block, block]);
    let conv = Conv { weights, bias, stride, groups: 1, ..Conv::padding(out, [0; 4]) };
    let input = importer.settle(map, name)?;
    let id = importer.network.push(Op::Conv(conv), &[input], name)?;
    Ok(map.like(importer.view(id)))
}
