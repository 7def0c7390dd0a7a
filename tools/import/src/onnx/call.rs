//! One use of an operator in the graph.

use super::constant::Constant;
use super::importer::Value;
use super::map::{Channel, Map};
use super::node::corrupt;
use crate::error::{Problem, unsupported};
use crate::proto::NodeProto;

/// A node with the values of its inputs.
pub(super) struct Call<'n> {
    pub(super) node: &'n NodeProto,
    /// Its name in messages.
    pub(super) name: String,
    /// Its inputs; `None` for one that is left out.
    pub(super) inputs: Vec<Option<Value>>,
}

impl Call<'_> {
    pub(super) fn map(&self, index: usize) -> Result<&Map, Problem> {
        match self.inputs.get(index) {
            Some(Some(Value::Map(map))) => Ok(map),
            Some(Some(Value::Constant(_))) => Err(unsupported(
                format!("input {index} is a constant, not a map"),
                "export the network with constants folded",
            )),
            Some(Some(Value::Derived(derived))) => Err(derived.misplaced()),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    pub(super) fn constant(&self, index: usize) -> Result<&Constant, Problem> {
        match self.inputs.get(index) {
            Some(Some(Value::Constant(constant))) => Ok(constant),
            Some(Some(Value::Map(_) | Value::Derived(_))) => Err(unsupported(
                format!("input {index} depends on the image"),
                "export the network with its weights and shapes as constants",
            )),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    pub(super) fn floats(&self, index: usize) -> Result<Vec<f32>, Problem> {
        Ok(self.constant(index)?.floats()?.iter().copied().collect())
    }

    /// A constant's values, if it has one, or one per channel of a map; otherwise `None`.
    pub(super) fn a_channel(
        &self,
        map: &Map,
        constant: &Constant,
    ) -> Result<Option<Vec<f32>>, Problem> {
        let constant = constant.floats()?;
        let dim = map.dims.iter().position(|dim| dim.contains(&Channel));
        // Broadcasting aligns the last dimensions.
        let along = dim.and_then(|dim| (dim + constant.ndim()).checked_sub(map.dims.len()));
        let channels = map.extent(Channel);
        let fits = constant.len() == 1
            || (constant.len() == channels
                && along.is_some_and(|dim| constant.shape()[dim] == channels));
        Ok(fits.then(|| constant.iter().copied().collect()))
    }

    pub(super) fn ints(&self, index: usize) -> Result<Vec<i64>, Problem> {
        self.constant(index)?.to_ints()
    }

    pub(super) fn optional_ints(&self, index: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.inputs.get(index) {
            Some(Some(_)) => self.ints(index).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn scalar(&self, index: usize) -> Result<Option<f32>, Problem> {
        match self.inputs.get(index) {
            Some(Some(_)) => Ok(self.floats(index)?.first().copied()),
            _ => Ok(None),
        }
    }
}
