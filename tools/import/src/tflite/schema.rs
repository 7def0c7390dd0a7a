//! The tables of a TFLite file that are used, read with planus, which checks every offset.
//!
//! A FlatBuffers table is a list of numbered fields, any of which may be absent. The numbers are
//! those of the public TFLite schema, version 3.

use planus::errors::ErrorKind;
use planus::table_reader::Table as Raw;
use planus::{SliceWithStartOffset, TableRead, Vector, VectorRead};

use crate::error::Problem;

/// The error for a broken file.
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
        // An offset to the length; then one offset per element, each relative to its own position.
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

    /// A number, or its default if the file leaves it out.
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
    pub(in crate::tflite) const FLOAT16: i8 = 1;
    pub(in crate::tflite) const INT32: i8 = 2;
    pub(in crate::tflite) const UINT8: i8 = 3;
    pub(in crate::tflite) const INT64: i8 = 4;
    pub(in crate::tflite) const INT16: i8 = 7;
    pub(in crate::tflite) const INT8: i8 = 9;
}

/// The name of an element type.
pub(super) fn element_name(kind: i8) -> String {
    const NAMES: [&str; 20] = [
        "float32",
        "float16",
        "int32",
        "uint8",
        "int64",
        "string",
        "bool",
        "int16",
        "complex64",
        "int8",
        "float64",
        "complex128",
        "uint64",
        "resource",
        "variant",
        "uint32",
        "uint16",
        "int4",
        "bfloat16",
        "int2",
    ];
    let name = usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind));
    name.map_or_else(|| format!("number {kind}"), |&name| name.to_owned())
}

/// The schema's names of operators, by code.
const OPERATORS: [&str; 162] = [
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
    "CUMSUM",
    "CALL_ONCE",
    "BROADCAST_TO",
    "RFFT2D",
    "CONV_3D",
    "IMAG",
    "REAL",
    "COMPLEX_ABS",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "REDUCE_ALL",
    "CONV_3D_TRANSPOSE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE",
    "RANDOM_UNIFORM",
    "MULTINOMIAL",
    "GELU",
    "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD",
    "UNSORTED_SEGMENT_MAX",
    "UNSORTED_SEGMENT_SUM",
    "ATAN2",
    "UNSORTED_SEGMENT_MIN",
    "SIGN",
    "BITCAST",
    "BITWISE_XOR",
    "RIGHT_SHIFT",
];

/// The name of an operator.
pub(super) fn operator_name(code: i32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| OPERATORS.get(code));
    name.map_or_else(|| format!("number {code}"), |&name| name.to_owned())
}
