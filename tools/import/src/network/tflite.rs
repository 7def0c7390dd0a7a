//! Functions of single values in int8 TFLite files.

/// A function of single values, in the arithmetic of TFLite's operator of that name.
///
/// The results are the bytes of TensorFlow Lite for Microcontrollers, which are not always the
/// nearest to the function's values.
#[derive(Debug, Clone, PartialEq)]
pub enum TfliteFunction {
    /// `LOGISTIC`.
    Logistic,
    /// `TANH`.
    Tanh,
    /// `HARD_SWISH`.
    HardSwish,
    /// `LEAKY_RELU`.
    LeakyRelu {
        /// Factor of negative values.
        slope: f32,
    },
    /// `PRELU`, with its slopes.
    PRelu(QuantizedConstant),
    /// `RELU`.
    Relu,
    /// `RELU6`: clips the bytes at the input's scale, even if the output's is another.
    Relu6,
    /// `QUANTIZE`: the same values at another scale.
    Quantize,
    /// `ADD` of a constant.
    Add(QuantizedConstant),
    /// `SUB` of a constant.
    Subtract(QuantizedConstant),
    /// `SUB` from a constant.
    SubtractFrom(QuantizedConstant),
    /// `MUL` by a constant.
    Multiply(QuantizedConstant),
}

/// A quantized constant with one value, or one per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedConstant {
    /// The integers.
    pub values: Vec<i8>,
    /// Its scale: the real value of 1.
    pub scale: f32,
    /// Its zero point: the integer that stands for zero.
    pub zero_point: i32,
}

impl QuantizedConstant {
    /// The value for a channel, minus the zero point.
    pub fn centred(&self, channel: usize) -> i32 {
        i32::from(self.values[channel]) - self.zero_point
    }
}

impl TfliteFunction {
    /// The name of the operator in TFLite.
    pub fn name(&self) -> &'static str {
        match self {
            TfliteFunction::Logistic => "LOGISTIC",
            TfliteFunction::Tanh => "TANH",
            TfliteFunction::HardSwish => "HARD_SWISH",
            TfliteFunction::LeakyRelu { .. } => "LEAKY_RELU",
            TfliteFunction::PRelu(_) => "PRELU",
            TfliteFunction::Relu => "RELU",
            TfliteFunction::Relu6 => "RELU6",
            TfliteFunction::Quantize => "QUANTIZE",
            TfliteFunction::Add(_) => "ADD of a constant",
            TfliteFunction::Subtract(_) => "SUB of a constant",
            TfliteFunction::SubtractFrom(_) => "SUB from a constant",
            TfliteFunction::Multiply(_) => "MUL by a constant",
        }
    }

    /// Its name as a node of a network.
    pub(super) fn node_name(&self) -> &'static str {
        match self {
            TfliteFunction::Logistic => "sigmoid",
            TfliteFunction::Tanh => "tanh",
            TfliteFunction::HardSwish => "hard_swish",
            TfliteFunction::LeakyRelu { .. } => "leaky_relu",
            TfliteFunction::PRelu(_) => "prelu",
            TfliteFunction::Relu | TfliteFunction::Relu6 => "relu",
            TfliteFunction::Quantize => "rescale",
            TfliteFunction::Add(_)
            | TfliteFunction::Subtract(_)
            | TfliteFunction::SubtractFrom(_) => "offset",
            TfliteFunction::Multiply(_) => "factor",
        }
    }

    /// Its constant, if it has one.
    pub fn constant(&self) -> Option<&QuantizedConstant> {
        match self {
            TfliteFunction::PRelu(constant)
            | TfliteFunction::Add(constant)
            | TfliteFunction::Subtract(constant)
            | TfliteFunction::SubtractFrom(constant)
            | TfliteFunction::Multiply(constant) => Some(constant),
            _ => None,
        }
    }
}
