//! A node's attributes, and their meaning for windows.

use crate::error::{Problem, unsupported};
use crate::network::{MAX_EXTENT, Pads, Shape, same_pads};
use crate::proto::{AttributeProto, NodeProto};

/// The error for a broken file.
pub(super) fn corrupt(detail: impl Into<String>) -> Problem {
    Problem::Corrupt { format: "ONNX", detail: detail.into() }
}

pub(super) fn op_type(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or("")
}

/// The node's name, or its output's where exporters leave it out.
pub(super) fn node_name(node: &NodeProto) -> String {
    let name = node.name.clone().filter(|name| !name.is_empty());
    name.or_else(|| node.output.first().cloned()).unwrap_or_default()
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).and_then(|attribute| attribute.f).unwrap_or(default)
}

pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> &'a str {
    let bytes = attribute(node, name).and_then(|attribute| attribute.s.as_deref());
    bytes.map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or("?"))
}

/// Sizes along height and width from an attribute, or `default` if it is absent.
///
/// A single dimension is the width.
pub(super) fn pair(
    node: &NodeProto,
    name: &str,
    default: [usize; 2],
) -> Result<[usize; 2], Problem> {
    match ints(node, name) {
        [] => Ok(default),
        &[along] => Ok([1, extent(along)?]),
        &[a, b] => Ok([extent(a)?, extent(b)?]),
        other => Err(unsupported(
            format!("its {name} is {other:?}"),
            "only convolutions and poolings of one or two dimensions are supported",
        )),
    }
}

pub(super) fn extent(value: i64) -> Result<usize, Problem> {
    let extent = usize::try_from(value).ok().filter(|&n| n <= MAX_EXTENT);
    extent.ok_or_else(|| corrupt(format!("{value} as an extent")))
}

pub(super) fn no_dilation(node: &NodeProto) -> Result<(), Problem> {
    if ints(node, "dilations").iter().all(|&dilation| dilation == 1) {
        return Ok(());
    }
    Err(unsupported("the window is dilated", "brooklet runs networks without dilation"))
}

/// The pads of a convolution or a pooling, from `pads` or `auto_pad`.
///
/// If the map is `upright`, the rows of the file are its columns.
pub(super) fn pads(
    node: &NodeProto,
    (input, upright): (Shape, bool),
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<Pads, Problem> {
    match text(node, "auto_pad") {
        "" | "NOTSET" => match ints(node, "pads") {
            [] => Ok([0; 4]),
            &[left, right] => Ok([0, extent(left)?, 0, extent(right)?]),
            &[left, top, right, bottom] if upright => {
                Ok([extent(top)?, extent(left)?, extent(bottom)?, extent(right)?])
            }
            &[top, left, bottom, right] => {
                Ok([extent(top)?, extent(left)?, extent(bottom)?, extent(right)?])
            }
            other => Err(corrupt(format!("pads {other:?}"))),
        },
        "VALID" => Ok([0; 4]),
        "SAME_UPPER" => Ok(same_pads(input, kernel, stride, true)),
        "SAME_LOWER" => Ok(same_pads(input, kernel, stride, false)),
        other => Err(corrupt(format!("auto_pad {other}"))),
    }
}
