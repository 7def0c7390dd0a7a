//! An output of several cells.

use crate::format::LayerRecord;
use crate::logits::Logits;
use crate::model::Places;
use crate::proved::proved;
use crate::quant::Quantization;
use crate::shape::Shape;

/// An output of the network: rows × columns *cells*, each with one score for each class.
///
/// An output that is a vector is a map of one cell. The order is always rows, columns, channels,
/// whatever the order in the file that the network was imported from.
///
/// ```
/// # use brooklet::{Arena, Model, Session, kernels::Portable};
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny-map.brook");
/// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
/// # let model = Model::parse(MODEL).unwrap();
/// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
/// # let image = vec![100; model.input().bytes()];
/// session.push_image(&image)?;
/// let map = session.map()?;
/// assert_eq!(map.shape().to_string(), "6x6x4");
/// for ([y, x], cell) in map.cells() {
///     let best = cell.top_k::<1>()[0];
///     // Class 0 is the background.
///     if best.class != 0 {
///         println!("row {y}, column {x}: class {}, {:.2}", best.class, best.probability);
///     }
/// }
/// assert_eq!(map.cell(1, 2).unwrap().len(), 4);
/// # Ok::<(), brooklet::RowError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    arena: &'a [u8],
    places: Places<'a>,
    layer: &'a LayerRecord,
}

impl<'a> Map<'a> {
    /// The output of a layer, whose rows are at these places of the arena.
    pub(crate) fn new(arena: &'a [u8], places: Places<'a>, layer: &'a LayerRecord) -> Self {
        Self { arena, places, layer }
    }

    /// Number of rows, columns and classes.
    pub fn shape(&self) -> Shape {
        self.layer.shape()
    }

    /// Scale and zero point of the scores.
    pub fn quantization(&self) -> Quantization {
        self.layer.quantization()
    }

    /// The bytes of the rows as they lie in memory, from top to bottom: columns × classes scores
    /// of one or two bytes.
    ///
    /// A row of a 16-bit stream has the upper bytes of all scores first, and then the lower bytes.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let Self { arena, places, layer } = *self;
        (0..layer.rows.get()).map(move |y| proved!(arena.get(places.row(y))).unwrap_or(&[]))
    }

    /// The scores of a cell; `None` if there is no such cell.
    pub fn cell(&self, row: u16, column: u16) -> Option<Logits<'a>> {
        let Shape { rows, columns, .. } = self.shape();
        let bytes = self.arena.get(self.places.row(row))?;
        (row < rows && column < columns).then(|| Logits::of_cell(bytes, self.layer, column))
    }

    /// All cells with their row and column, row by row.
    pub fn cells(&self) -> impl Iterator<Item = ([u16; 2], Logits<'a>)> + Clone + use<'a> {
        let layer = self.layer;
        (0..).zip(self.rows()).flat_map(move |(y, row)| {
            (0..layer.columns.get()).map(move |x| ([y, x], Logits::of_cell(row, layer, x)))
        })
    }

    /// All scores, in the order of rows, columns and classes.
    pub fn scores(&self) -> impl Iterator<Item = i16> + Clone + use<'a> {
        let layer = self.layer;
        self.rows().flat_map(move |row| Logits::new(row, layer).scores())
    }

    /// The scores of the only cell; `None` if there are several.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<Logits<'a>> {
        let one = self.layer.rows.get() == 1 && self.layer.columns.get() == 1;
        let row = proved!(self.arena.get(self.places.row(0))).unwrap_or(&[]);
        one.then(|| Logits::new(row, self.layer))
    }
}
