//! Functions of one value as int8 TFLite files have them.

/// A function of each value of a map alone, in the arithmetic of TFLite's operator of that name.
///
/// What these give are the bytes of TensorFlow Lite for Microcontrollers, which are not always those
/// nearest to the function.
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
    /// `RELU6`: a clamp of the bytes at the input's scale, whatever the output's.
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

/// Integers of a constant: one, or one a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedConstant {
    /// The integers.
    pub values: Vec<i8>,
    /// Real value of 1.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i32,
}

impl QuantizedConstant {
    /// The integer of a channel of several, less the zero point.
    pub fn centred(&self, channel: usize) -> i32 {
        i32::from(self.values[channel]) - self.zero_point
    }
}

impl TfliteFunction {
    /// TFLite's name of the operator.
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

    /// How a node of it is called in a network.
    pub(super) fn place(&self) -> &'static str {
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

    /// Its constant, where it has one.
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
