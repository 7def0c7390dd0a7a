//! Transforms kernels of three rows by three columns for Winograd's convolution in two dimensions,
//! as stored in [`Packing::Winograd`](super::Packing::Winograd) and
//! [`Packing::HwioTiles`](super::Packing::HwioTiles).

/// How three weights of a kernel row or a kernel column become six: the matrix *G* of F(4, 3), with
/// each row multiplied by the smallest factor that makes it integers (Lavin and Gray, *Fast
/// Algorithms for Convolutional Neural Networks*, 2016, section 4.3). The kernels multiply by the
/// remaining factors.
pub const TILE_TRANSFORM: [[i16; 3]; SIDE] =
    [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];

/// Number of rows and columns of a transformed kernel.
const SIDE: usize = 6;
/// Number of values of a transformed kernel, stored row by row.
pub(super) const POSITIONS: usize = SIDE * SIDE;
/// Number of weights of a kernel before the transform.
pub const TILE_KERNEL: usize = 9;

/// The factors of a weight of the kernel at each position.
pub(super) fn factors([ky, kx]: [usize; 2]) -> impl Iterator<Item = i16> {
    let of = |row: &[i16; 3], k: usize| row.get(k).copied().unwrap_or(0);
    let along = move |down| TILE_TRANSFORM.iter().map(move |row| of(row, kx) * down);
    TILE_TRANSFORM.iter().flat_map(move |row| along(of(row, ky)))
}

/// A weight of the kernel, recovered from the values at the positions.
pub(super) fn weight(at: impl Fn(usize) -> i16, [ky, kx]: [usize; 2]) -> i8 {
    // The outer weights are stored unchanged; twice the middle one is the second value minus the
    // third.
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

/// Whether the values at the positions are the transform of a kernel with weights in [-127, 127].
pub(super) fn is_transform(at: impl Fn(usize) -> i16) -> bool {
    let row = |ky| [0, 1, 2].map(|kx| i16::from(weight(&at, [ky, kx])));
    let kernel = [row(0), row(1), row(2)];
    let in_range = kernel.as_flattened().iter().all(|&weight| weight >= -127);
    let rows = kernel.map(transform);
    in_range
        && (0..SIDE).all(|x| {
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
