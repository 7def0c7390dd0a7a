//! Kernels of three rows by three columns, transformed for Winograd's convolution in two dimensions:
//! what [`Packing::Winograd`](super::Packing::Winograd) and
//! [`Packing::HwioTiles`](super::Packing::HwioTiles) have of them at each position.

/// How three weights, of a kernel row or of a kernel column, become six: the matrix *G* of F(4, 3),
/// each row times what makes it whole and smallest (Lavin and Gray, *Fast Algorithms for
/// Convolutional Neural Networks*, 2016, section 4.3). The kernels multiply by the rest.
pub const TILE_TRANSFORM: [[i16; 3]; SIDE] =
    [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];

/// Rows and columns of a transformed kernel.
const SIDE: usize = 6;
/// Values of a transformed kernel, row by row.
pub(super) const POSITIONS: usize = SIDE * SIDE;
/// Weights of a kernel that is transformed.
pub const TILE_KERNEL: usize = 9;

/// What a weight of the kernel is multiplied by at each position.
pub(super) fn factors([ky, kx]: [usize; 2]) -> impl Iterator<Item = i16> {
    let of = |row: &[i16; 3], k: usize| row.get(k).copied().unwrap_or(0);
    let along = move |down| TILE_TRANSFORM.iter().map(move |row| of(row, kx) * down);
    TILE_TRANSFORM.iter().flat_map(move |row| along(of(row, ky)))
}

/// A weight of the kernel, of what there is at each position.
pub(super) fn weight(at: impl Fn(usize) -> i16, [ky, kx]: [usize; 2]) -> i8 {
    // The outer ones are there as they are; twice the middle one is the second less the third.
    let terms = |k: usize| match k {
        0 => [0, 0],
        1 => [1, 2],
        _ => [SIDE - 1, SIDE - 1],
    };
    let along = |y: usize| match terms(kx) {
        [first, second] if first == second => at(SIDE * y + first),
        [first, second] => at(SIDE * y + first).wrapping_sub(at(SIDE * y + second)) / 2,
    };
    let weight = match terms(ky) {
        [first, second] if first == second => along(first),
        [first, second] => along(first).wrapping_sub(along(second)) / 2,
    };
    weight as i8
}

/// Whether what there is at the positions is the transform of int8.
pub(super) fn is_transform(at: impl Fn(usize) -> i16) -> bool {
    let row = |ky| [0, 1, 2].map(|kx| i16::from(weight(&at, [ky, kx])));
    let rows = [row(0), row(1), row(2)].map(transform);
    (0..SIDE).all(|x| {
        let column = rows.map(|row| row.get(x).copied().unwrap_or(0));
        (0..).step_by(SIDE).zip(transform(column)).all(|(y, value)| value == at(y + x))
    })
}

fn transform(weights: [i16; 3]) -> [i16; SIDE] {
    TILE_TRANSFORM.map(|factors| {
        let products = factors.iter().zip(weights).map(|(f, w)| f.wrapping_mul(w));
        products.fold(0, i16::wrapping_add)
    })
}
