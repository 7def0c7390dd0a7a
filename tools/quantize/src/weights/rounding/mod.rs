//! Rounds a layer's weights so that the errors of its outputs, not of its weights, are small.
//!
//! A channel's sums are `w · x`. With the second moments `H = Σ x xᵀ` of its inputs and
//! `c = Σ t x`, where `t` are the target sums, the squared error of weights `q` is that of the best
//! real weights plus `(w* − q)ᵀ H (w* − q)`, with `H w* = c`. To minimize it over the lattice of
//! levels is the closest vector problem:
//!
//! ```text
//! H = Rᵀ R                               Cholesky; the error is |R (w* − q)|²
//! for i from the last tap to the first:  Babai's nearest plane, which is also what OBQ and GPTQ do
//!     q[i] = round(w*[i] + Σ_{j>i} R[i,j] (w*[j] − q[j]) / R[i,i])
//! then one by one, while any helps:      the tap whose best level lessens the error
//! ```
//!
//! Sources: Frantar et al., *GPTQ* (2022); Chen et al., *The geometry of LLM quantization: GPTQ
//! as Babai's nearest plane algorithm* (2025); Behdin et al., *QuantEase* (2023) for the descent.

mod channel;
mod factor;
mod lattice;
mod learn;
mod moments;

pub use channel::{Bits, QuantizedChannel};
pub use learn::{Trained, learn};
pub use moments::{Means, Moments};
