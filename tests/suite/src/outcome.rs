//! What came out: how many cases differ, and where the first of them does.

use core::fmt;

use crate::CaseNumber;

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Cases that were run.
    pub cases: u32,
    /// Cases that differ from the reference.
    pub failures: u32,
    /// The first of these.
    pub first: Option<Failure>,
}

/// A case that differs from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub case: CaseNumber,
    /// Where.
    pub difference: Difference,
}

/// The first number that is another than the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The row, of those that a step makes.
    pub row: u16,
    /// The number in the row.
    pub index: u16,
    /// What the reference has.
    pub expected: i32,
    /// What the backend has.
    pub computed: i32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { row, index, expected, computed } = self.difference;
        write!(f, "{}: row {row}, number {index} is {computed}, not {expected}", self.case)
    }
}

/// Where two rows differ first, if they do.
pub(crate) fn difference<T: Copy + PartialEq + Into<i32>>(
    expected: &[T],
    computed: &[T],
) -> Option<Difference> {
    let index =
        expected.iter().zip(computed).position(|(expected, computed)| expected != computed)?;
    let (expected, computed) = (expected[index].into(), computed[index].into());
    Some(Difference { row: 0, index: index as u16, expected, computed })
}
