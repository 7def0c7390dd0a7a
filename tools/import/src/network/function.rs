//! Functions of one value.

/// A function that is applied to each value of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `x` if it is positive, otherwise `slope · x`.
    LeakyRelu {
        /// Factor of negative values.
        slope: f32,
    },
    /// `min(max(x, min), max)`.
    Clip {
        /// Smallest result.
        min: f32,
        /// Largest result.
        max: f32,
    },
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// `min(max(slope · x + offset, 0), 1)`.
    HardSigmoid {
        /// Factor.
        slope: f32,
        /// Result for 0.
        offset: f32,
    },
    /// `x · min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x / (1 + e^−x)`, also called Swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x` if it is positive, otherwise `alpha · (e^x − 1)`.
    Elu {
        /// Distance of the lower asymptote from 0.
        alpha: f32,
    },
    /// `x · Φ(x)` with the normal distribution's Φ.
    Gelu,
    /// `x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2`.
    GeluTanh,
    /// The error function, with which files write GELU.
    Erf,
    /// `x · tanh(ln(1 + e^x))`.
    Mish,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `|x|`.
    Abs,
    /// `e^x`.
    Exp,
    /// `ln x`; numbers below the smallest positive one count as that.
    Log,
    /// `x` to a power; negative numbers count as 0.
    Power {
        /// The exponent.
        exponent: f32,
    },
}

impl Function {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Function::LeakyRelu { .. } => "LeakyReLU",
            Function::Clip { .. } => "a clip",
            Function::Sigmoid => "a sigmoid",
            Function::HardSigmoid { .. } => "hard-sigmoid",
            Function::HardSwish => "hard-swish",
            Function::Silu => "SiLU",
            Function::Tanh => "tanh",
            Function::Elu { .. } => "ELU",
            Function::Gelu => "GELU",
            Function::GeluTanh => "GELU by tanh",
            Function::Erf => "the error function",
            Function::Mish => "Mish",
            Function::Softplus => "softplus",
            Function::Abs => "an absolute value",
            Function::Exp => "an exponential",
            Function::Log => "a logarithm",
            Function::Power { .. } => "a power",
        }
    }

    /// Its name as a node of a network.
    pub(super) fn node_name(self) -> &'static str {
        match self {
            Function::LeakyRelu { .. } => "leaky_relu",
            Function::Clip { .. } => "clip",
            Function::Sigmoid => "sigmoid",
            Function::HardSigmoid { .. } => "hard_sigmoid",
            Function::HardSwish => "hard_swish",
            Function::Silu => "silu",
            Function::Tanh => "tanh",
            Function::Elu { .. } => "elu",
            Function::Gelu | Function::GeluTanh => "gelu",
            Function::Erf => "erf",
            Function::Mish => "mish",
            Function::Softplus => "softplus",
            Function::Abs => "abs",
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Power { .. } => "power",
        }
    }

    /// Its value for `x`.
    ///
    /// ```
    /// use brooklet_import::network::Function;
    ///
    /// assert_eq!(Function::HardSwish.value(1.0), 1.0 * 4.0 / 6.0);
    /// assert_eq!(Function::Clip { min: 0.0, max: 6.0 }.value(8.5), 6.0);
    /// ```
    pub fn value(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Function::LeakyRelu { slope } if x < 0.0 => x * f64::from(slope),
            Function::LeakyRelu { .. } => x,
            Function::Clip { min, max } => x.max(min.into()).min(max.into()),
            Function::Sigmoid => sigmoid(x),
            Function::HardSigmoid { slope, offset } => {
                (f64::from(slope) * x + f64::from(offset)).clamp(0.0, 1.0)
            }
            Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Function::Silu => x * sigmoid(x),
            Function::Tanh => x.tanh(),
            Function::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
            Function::Elu { .. } => x,
            Function::Gelu => x * normal(x),
            Function::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x * (1.0 + inner.tanh()) / 2.0
            }
            Function::Erf => 2.0 * normal(x * std::f64::consts::SQRT_2) - 1.0,
            Function::Mish => x * Function::Softplus.value(x).tanh(),
            // This form does not overflow for large values.
            Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Function::Abs => x.abs(),
            Function::Exp => x.exp(),
            Function::Log => x.max(f32::MIN_POSITIVE.into()).ln(),
            Function::Power { exponent } => x.max(0.0).powf(exponent.into()),
        }
    }

    /// The range in which its value changes by more than half a thousandth; outside it is flat.
    pub fn changes_within(self) -> [f32; 2] {
        const ANY: f32 = f32::INFINITY;
        match self {
            Function::LeakyRelu { .. } | Function::Abs => [-ANY, ANY],
            Function::Exp => [-8.0, ANY],
            Function::Log | Function::Power { .. } => [0.0, ANY],
            Function::Clip { min, max } => [min, max],
            Function::Sigmoid => [-8.0, 8.0],
            Function::HardSigmoid { slope, offset } => {
                let [a, b] = [-offset / slope, (1.0 - offset) / slope];
                if a.is_finite() && b.is_finite() { [a.min(b), a.max(b)] } else { [-ANY, ANY] }
            }
            Function::HardSwish => [-3.0, ANY],
            Function::Silu => [-11.0, ANY],
            Function::Tanh => [-4.5, 4.5],
            Function::Elu { .. } | Function::Softplus => [-8.0, ANY],
            Function::Gelu | Function::GeluTanh => [-4.0, ANY],
            Function::Erf => [-2.5, 2.5],
            Function::Mish => [-11.0, ANY],
        }
    }

    /// Its parameters.
    pub(crate) fn parameters(self) -> Vec<f32> {
        match self {
            Function::LeakyRelu { slope } => vec![slope],
            Function::Clip { min, max } => vec![min, max],
            Function::HardSigmoid { slope, offset } => vec![slope, offset],
            Function::Elu { alpha } => vec![alpha],
            Function::Power { exponent } => vec![exponent],
            _ => vec![],
        }
    }
}

/// The distribution function of the standard normal distribution: by the continued fraction of the
/// complementary error function far from 0, and by the series of the error function near 0.
fn normal(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let tail = if z < 3.0 {
        // erf z = 2/√π · Σ (−1)^n z^(2n+1) / (n! (2n+1))
        let (mut sum, mut term) = (z, z);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        // erfc z = e^(−z²) / √π / (z + 1/2 / (z + 1 / (z + 3/2 / (z + …))))
        let fraction = (1..60).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        (-z * z).exp() * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / fraction
    };
    if x < 0.0 { tail / 2.0 } else { 1.0 - tail / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let near = |function: Function, x: f64, y: f64| {
            let value = function.value(x);
            assert!((value - y).abs() < 1e-7, "{function:?} of {x}: {value}, not {y}");
        };
        near(Function::LeakyRelu { slope: 0.25 }, -2.0, -0.5);
        near(Function::Clip { min: -1.0, max: 1.0 }, 3.0, 1.0);
        near(Function::Sigmoid, 1.0, 0.731_058_58);
        near(Function::HardSigmoid { slope: 0.25, offset: 0.5 }, 1.0, 0.75);
        near(Function::HardSwish, 1.0, 4.0 / 6.0);
        near(Function::Silu, -1.0, -0.268_941_42);
        near(Function::Tanh, 0.5, 0.462_117_16);
        near(Function::Elu { alpha: 2.0 }, -1.0, -1.264_241_12);
        near(Function::Gelu, 1.0, 0.841_344_75);
        near(Function::Gelu, -5.0, -1.433_258e-6);
        near(Function::GeluTanh, 1.0, 0.841_191_99);
        near(Function::GeluTanh, -3.0, -0.003_637_39);
        near(Function::Erf, 0.5, 0.520_499_88);
        near(Function::Erf, -4.5, -1.0 + 1.966e-10);
        near(Function::Mish, 1.0, 0.865_098_39);
        near(Function::Mish, -20.0, -4.122_307e-8);
        near(Function::Softplus, 1.0, 1.313_261_69);
        near(Function::Softplus, -800.0, 0.0);
        near(Function::Power { exponent: 0.5 }, 2.25, 1.5);
        near(Function::Power { exponent: 0.5 }, -1.0, 0.0);
        near(Function::Log, 2.0, std::f64::consts::LN_2);
    }
}
