//! The Cholesky factor of a matrix, block by block.
//!
//! ```text
//!        ┌────┐
//!        │ L  │                     the block's own factor
//!   H =  ├────┼──────────┐
//!        │ P  │ H' − PPᵀ │          P = H · L⁻ᵀ; the rest goes on in the same way
//!        └────┴──────────┘
//! ```
//!
//! Nearly all of the work is products of matrices, which take an order of magnitude less time than the
//! same number of operations column by column. Source: Golub and Van Loan, *Matrix Computations*,
//! section 4.2.

use nalgebra::{Cholesky, DMatrix, DMatrixView, DMatrixViewMut};
use rayon::prelude::*;

/// Number of rows and columns of a block.
pub(super) const BLOCK: usize = 64;

/// A positive definite matrix as the product of a lower triangular one and its transpose.
pub(super) struct Factor {
    pub(super) lower: DMatrix<f64>,
    /// The inverses of the blocks on its diagonal.
    inverses: Vec<DMatrix<f64>>,
}

impl Factor {
    /// The factor of a symmetric matrix, of which the lower half is read; `None` if it is not positive
    /// definite.
    pub(super) fn new(mut matrix: DMatrix<f64>) -> Option<Self> {
        let count = matrix.nrows();
        let mut inverses = Vec::new();
        for from in (0..count).step_by(BLOCK) {
            let size = BLOCK.min(count - from);
            let (to, rest) = (from + size, count - from - size);
            let mut block = matrix.view_mut((from, from), (size, size));
            let lower = Cholesky::new(block.clone_owned())?.unpack();
            let inverse = lower.solve_lower_triangular(&DMatrix::identity(size, size))?;
            block.copy_from(&lower);
            let panel = matrix.view((to, from), (rest, size)) * inverse.transpose();
            matrix.view_mut((to, from), (rest, size)).copy_from(&panel);
            let across = panel.transpose();
            let columns = &mut matrix.as_mut_slice()[to * count..];
            columns.par_chunks_mut(count * BLOCK).enumerate().for_each(|(index, columns)| {
                let (first, number) = (index * BLOCK, columns.len() / count);
                DMatrixViewMut::from_slice(columns, count, number)
                    .rows_range_mut(to + first..)
                    .gemm(-1.0, &panel.rows_range(first..), &across.columns(first, number), 1.0);
            });
            inverses.push(inverse);
        }
        matrix.fill_upper_triangle(0.0, 1);
        Some(Self { lower: matrix, inverses })
    }

    /// The block with this number: its first row, the part of the factor below it, and the inverse of
    /// its own.
    fn block(&self, index: usize) -> (usize, DMatrixView<'_, f64>, &DMatrix<f64>) {
        let inverse = &self.inverses[index];
        let (from, size) = (index * BLOCK, inverse.nrows());
        let below = self.lower.view((from + size, from), (self.lower.nrows() - from - size, size));
        (from, below, inverse)
    }

    /// The matrix whose product with the factored one is this.
    pub(super) fn solve(&self, mut product: DMatrix<f64>) -> DMatrix<f64> {
        for index in 0..self.inverses.len() {
            let (from, below, inverse) = self.block(index);
            let (mut rows, mut rest) =
                product.rows_range_pair_mut(from..from + inverse.nrows(), from + inverse.nrows()..);
            let solved = inverse * &rows;
            rest.gemm(-1.0, &below, &solved, 1.0);
            rows.copy_from(&solved);
        }
        for index in (0..self.inverses.len()).rev() {
            let (from, below, inverse) = self.block(index);
            let (mut rows, rest) =
                product.rows_range_pair_mut(from..from + inverse.nrows(), from + inverse.nrows()..);
            rows.gemm(-1.0, &below.transpose(), &rest, 1.0);
            let solved = inverse.transpose() * &rows;
            rows.copy_from(&solved);
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_the_factor_and_the_solution() {
        for count in [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let root =
                DMatrix::from_fn(count, count + 3, |i, j| ((7 * i + 3 * j * j) as f64).sin());
            let matrix = &root * root.transpose() + DMatrix::identity(count, count);
            let factor = Factor::new(matrix.clone()).unwrap();
            let again = &factor.lower * factor.lower.transpose();
            assert!((again - &matrix).amax() < 1e-9, "{count}");
            let solution = DMatrix::from_fn(count, 9, |i, j| ((i + 5 * j) as f64).cos());
            let solved = factor.solve(&matrix * &solution);
            assert!((solved - solution).amax() < 1e-9, "{count}");
        }
        let mut indefinite = DMatrix::identity(BLOCK + 2, BLOCK + 2);
        indefinite[(BLOCK + 1, 0)] = 2.0;
        assert!(Factor::new(indefinite).is_none());
    }
}
