//! The outcome: how many cases differ, and the first difference.

use core::fmt;

use crate::CaseNumber;

/// The outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of cases that were run.
    pub cases: u32,
    /// Number of cases that differ from the reference.
    pub failures: u32,
    /// The first of these.
    pub first: Option<Failure>,
}

/// A case that differs from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The case.
    pub case: CaseNumber,
    /// The difference.
    pub difference: Difference,
}

/// The first value that differs from the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The row, among those that a step makes.
    pub row: u16,
    /// The index of the value in the row.
    pub index: u16,
    /// The reference's value.
    pub expected: i32,
    /// The backend's value.
    pub computed: i32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { row, index, expected, computed } = self.difference;
        write!(f, "{}: row {row}, number {index} is {computed}, not {expected}", self.case)
    }
}

/// The first difference of two rows, if there is one.
pub(crate) fn difference<T: Copy + PartialEq + Into<i32>>(
    expected: &[T],
    computed: &[T],
) -> Option<Difference> {
    let index =
        expected.iter().zip(computed).position(|(expected, computed)| expected != computed)?;
    let (expected, computed) = (expected[index].into(), computed[index].into());
    Some(Difference { row: 0, index: index as u16, expected, computed })
}
