//! A constant tensor.

use ndarray::{ArrayD, IxDyn};

use super::node::corrupt;
use crate::error::Problem;

/// Maximum number of elements of a constant: a gigabyte of floats.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// A constant tensor; integers of all widths and booleans are held as i64.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Floats(ArrayD<f32>),
    Ints(ArrayD<i64>),
}

/// Evaluates an expression for either kind of array.
macro_rules! each {
    ($constant:expr, $array:ident => $result:expr) => {
        match $constant {
            Constant::Floats($array) => Constant::Floats($result),
            Constant::Ints($array) => Constant::Ints($result),
        }
    };
}

pub(super) use each;

impl Constant {
    /// The same numbers as floats, or as whole numbers.
    pub(super) fn cast(&self, floats: bool) -> Constant {
        match (self, floats) {
            (Constant::Ints(array), true) => Constant::Floats(array.mapv(|x| x as f32)),
            (Constant::Floats(array), false) => Constant::Ints(array.mapv(|x| x as i64)),
            (same, _) => same.clone(),
        }
    }

    /// A vector of integers.
    pub(super) fn ints(values: Vec<i64>) -> Constant {
        Constant::Ints(ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).expect("a vector"))
    }

    /// Floats of a shape.
    pub(super) fn of_floats(shape: &[usize], values: Vec<f32>) -> Result<Constant, Problem> {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values);
        array.map(Constant::Floats).map_err(|_| corrupt("a tensor of another size"))
    }

    /// Integers of a shape.
    pub(super) fn of_ints(shape: &[usize], values: Vec<i64>) -> Result<Constant, Problem> {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values);
        array.map(Constant::Ints).map_err(|_| corrupt("a tensor of another size"))
    }

    pub(super) fn floats(&self) -> Result<&ArrayD<f32>, Problem> {
        match self {
            Constant::Floats(array) => Ok(array),
            Constant::Ints(_) => Err(corrupt("integers in the place of weights")),
        }
    }

    /// The integers in order.
    pub(super) fn to_ints(&self) -> Result<Vec<i64>, Problem> {
        match self {
            Constant::Ints(array) => Ok(array.iter().copied().collect()),
            Constant::Floats(_) => Err(corrupt("fractions in the place of a shape")),
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.shape().len()
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Constant::Floats(array) => array.shape(),
            Constant::Ints(array) => array.shape(),
        }
    }

    pub(super) fn elements(&self) -> usize {
        match self {
            Constant::Floats(array) => array.len(),
            Constant::Ints(array) => array.len(),
        }
    }

    /// The same values in another shape.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Result<Constant, Problem> {
        if shape.iter().product::<usize>() != self.shape().iter().product::<usize>() {
            return Err(corrupt(format!("reshapes {:?} to {shape:?}", self.shape())));
        }
        Ok(each!(self, array => {
            let values = array.iter().copied().collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many elements")
        }))
    }
}
