//! The few tables of a TFLite file that are read, on top of planus, which checks every offset.
//!
//! A FlatBuffers table is a list of numbered fields, any of which may be absent. The numbers are
//! those of the public TFLite schema, version 3.

use planus::errors::ErrorKind;
use planus::table_reader::Table as Raw;
use planus::{SliceWithStartOffset, TableRead, Vector, VectorRead};

use crate::error::Problem;

/// What is wrong with a file.
pub(super) fn corrupt(detail: impl Into<String>) -> Problem {
    Problem::Corrupt { format: "TFLite", detail: detail.into() }
}

/// Any table, read by field number.
#[derive(Clone, Copy)]
pub(super) struct Table<'a>(Raw<'a>);

/// A vector of tables.
struct Tables<'a>(Vec<Table<'a>>);

impl<'a> TableRead<'a> for Table<'a> {
    fn from_buffer(buffer: SliceWithStartOffset<'a>, offset: usize) -> Result<Self, ErrorKind> {
        Raw::from_buffer(buffer, offset).map(Table)
    }
}

impl<'a> TableRead<'a> for Tables<'a> {
    fn from_buffer(buffer: SliceWithStartOffset<'a>, offset: usize) -> Result<Self, ErrorKind> {
        // An offset to the length; then one offset an element, each counted from its own place.
        let start = offset + <u32 as TableRead>::from_buffer(buffer, offset)? as usize;
        let length = <u32 as TableRead>::from_buffer(buffer, start)? as usize;
        let tables = (0..length).map(|i| Table::from_buffer(buffer, start + 4 + 4 * i));
        tables.collect::<Result<_, _>>().map(Tables)
    }
}

impl<'a> Table<'a> {
    /// The file's outermost table.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Table<'a>, Problem> {
        let buffer = SliceWithStartOffset { buffer: bytes, offset_from_start: 0 };
        Table::from_buffer(buffer, 0).map_err(|error| corrupt(error.to_string()))
    }

    fn field<T: TableRead<'a>>(self, field: usize) -> Result<Option<T>, Problem> {
        let value = self.0.access(field, "a table", "a field");
        value.map_err(|error| corrupt(error.error_kind.to_string()))
    }

    /// A number, or its default where the file leaves it out.
    pub(super) fn number<T: TableRead<'a>>(self, field: usize, default: T) -> Result<T, Problem> {
        Ok(self.field(field)?.unwrap_or(default))
    }

    pub(super) fn text(self, field: usize) -> Result<&'a str, Problem> {
        Ok(self.field(field)?.unwrap_or(""))
    }

    pub(super) fn bytes(self, field: usize) -> Result<&'a [u8], Problem> {
        Ok(self.field(field)?.unwrap_or(&[]))
    }

    pub(super) fn table(self, field: usize) -> Result<Option<Table<'a>>, Problem> {
        self.field(field)
    }

    pub(super) fn vector<T: VectorRead<'a>>(self, field: usize) -> Result<Vec<T>, Problem> {
        let vector: Option<Vector<'a, T>> = self.field(field)?;
        Ok(vector.map(|vector| vector.iter().collect()).unwrap_or_default())
    }

    pub(super) fn tables(self, field: usize) -> Result<Vec<Table<'a>>, Problem> {
        Ok(self.field::<Tables<'a>>(field)?.map(|tables| tables.0).unwrap_or_default())
    }
}

/// Element types.
pub(super) mod element {
    pub(in crate::tflite) const FLOAT32: i8 = 0;
    pub(in crate::tflite) const INT32: i8 = 2;
    pub(in crate::tflite) const UINT8: i8 = 3;
    pub(in crate::tflite) const INT64: i8 = 4;
    pub(in crate::tflite) const INT8: i8 = 9;
}

/// Operators by code: those that are read, and some that users will meet, for messages.
pub(super) fn operator_name(code: i32) -> String {
    let name = match code {
        0 => "ADD",
        1 => "AVERAGE_POOL_2D",
        2 => "CONCATENATION",
        3 => "CONV_2D",
        4 => "DEPTHWISE_CONV_2D",
        6 => "DEQUANTIZE",
        9 => "FULLY_CONNECTED",
        14 => "LOGISTIC",
        17 => "MAX_POOL_2D",
        18 => "MUL",
        19 => "RELU",
        21 => "RELU6",
        22 => "RESHAPE",
        25 => "SOFTMAX",
        28 => "TANH",
        34 => "PAD",
        39 => "TRANSPOSE",
        40 => "MEAN",
        41 => "SUB",
        43 => "SQUEEZE",
        45 => "STRIDED_SLICE",
        56 => "ARG_MAX",
        60 => "PADV2",
        65 => "SLICE",
        67 => "TRANSPOSE_CONV",
        98 => "LEAKY_RELU",
        99 => "SQUARED_DIFFERENCE",
        114 => "QUANTIZE",
        117 => "HARD_SWISH",
        code => return format!("number {code}"),
    };
    name.into()
}
