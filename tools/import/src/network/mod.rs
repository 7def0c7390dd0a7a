//! Networks as they are imported, float and int8.
//!
//! A network is a list of nodes, each of which comes after its inputs. All maps are NHWC with a
//! batch of one, so a shape is `[height, width, channels]`; weights of convolutions are OHWI.

mod canonical;
mod endings;
mod float;
mod function;
mod geometry;
mod imported;
mod int8;
mod names;
mod order;
mod output;
mod shapes;
mod structure;
mod tflite;

pub use float::{BatchNorm, Conv, Network, Node, Op, Statistics};
pub use function::Function;
pub use geometry::{AveragePool, Border, NodeId, Pads, Repeats, Shape, Subsample, Window};
pub use imported::Imported;
pub use int8::{Activation, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp};
pub use output::{Ending, Output};
pub use tflite::{QuantizedConstant, TfliteFunction};

pub(crate) use float::ohwi;
pub(crate) use geometry::{
    MAX_EXTENT, MAX_KERNEL, MAX_NODES, check_extents, most_elements, overhang, same_pads,
    too_many_elements, window_output,
};
pub(crate) use shapes::dilated;
