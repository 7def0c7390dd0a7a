//! Counts of a board, in its own unit.

use std::fmt;

use brooklet::format::LayerRecord;
use brooklet_firmware::{Spec, Unit};
use brooklet_plan::cost::{self, Coefficients, Core};
use schemars::JsonSchema;
use serde::Serialize;

/// The plural of a unit.
pub(crate) fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Instructions => "instructions",
        Unit::Cycles => "cycles",
        Unit::Microseconds => "microseconds",
    }
}

/// A count with the name of its unit, so that programs cannot mistake cycles for instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Counted {
    /// The instructions, if the board counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
    /// The cycles, if the board counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cycles: Option<u64>,
    /// The microseconds, if the board counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) microseconds: Option<u64>,
}

impl Counted {
    /// A count in that unit.
    pub(crate) fn new(unit: Unit, count: u64) -> Self {
        let mut counted = Self::default();
        let field = match unit {
            Unit::Instructions => &mut counted.instructions,
            Unit::Cycles => &mut counted.cycles,
            Unit::Microseconds => &mut counted.microseconds,
        };
        *field = Some(count);
        counted
    }
}

/// The time that a count takes; `None` for instructions, whose time is not known.
pub(crate) fn milliseconds(unit: Unit, count: u64, clock_hz: u32) -> Option<f64> {
    match unit {
        Unit::Instructions => None,
        Unit::Cycles => Some(count as f64 * 1e3 / f64::from(clock_hz)),
        Unit::Microseconds => Some(count as f64 / 1e3),
    }
}

/// `380.1 ms at 125 MHz, 2.6 images a second`.
pub(crate) fn time(unit: Unit, count: u64, clock_hz: u32) -> Option<String> {
    let milliseconds = milliseconds(unit, count, clock_hz)?;
    let (mhz, each) = (f64::from(clock_hz) / 1e6, 1e3 / milliseconds);
    Some(format!("{milliseconds:.1} ms at {mhz} MHz, {each:.1} images a second"))
}

/// How long an image is predicted to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Time {
    /// At the board's clock.
    pub(crate) milliseconds: f64,
    /// Whether this assumes one instruction per cycle, because the core's timings are not known.
    #[serde(rename = "milliseconds_at_least")]
    pub(crate) at_least: bool,
}

impl Time {
    /// The time of a model's layers on a board, predicted by the costs of its core. `None` if its clock
    /// is not known.
    pub(crate) fn of<'l>(
        spec: &Spec,
        costs: &Coefficients,
        layers: impl IntoIterator<Item = &'l LayerRecord>,
    ) -> Option<Self> {
        let milliseconds = costs.total_cycles(layers)? * 1e3 / f64::from(spec.clock_hz);
        let at_least = Core::known(spec).is_none();
        milliseconds.is_finite().then_some(Self { milliseconds, at_least })
    }

    /// The same for a board that counts instructions instead of cycles; otherwise `None`, since the count
    /// gives the time.
    pub(crate) fn without_cycles<'l>(
        unit: Unit,
        spec: &Spec,
        layers: impl IntoIterator<Item = &'l LayerRecord>,
    ) -> Option<Self> {
        let costs = cost::of(spec).filter(|_| unit == Unit::Instructions)?;
        Self::of(spec, &costs, layers)
    }

    /// The time in words, with the clock.
    pub(crate) fn at(&self, clock_hz: u32) -> String {
        let (mhz, each) = (f64::from(clock_hz) / 1e6, 1e3 / self.milliseconds);
        format!("{self} ms at {mhz} MHz, predicted: {each:.1} images a second")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:.1}", if self.at_least { ">= " } else { "" }, self.milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_taken_for_another() {
        let counted = serde_json::to_string(&Counted::new(Unit::Cycles, 7)).unwrap();
        assert_eq!(counted, r#"{"cycles":7}"#);
        let cycles = time(Unit::Cycles, 47_500_000, 125_000_000).unwrap();
        assert_eq!(cycles, "380.0 ms at 125 MHz, 2.6 images a second");
        let measured = time(Unit::Microseconds, 1_500, 64_500_000).unwrap();
        assert_eq!(measured, "1.5 ms at 64.5 MHz, 666.7 images a second");
        assert_eq!(time(Unit::Instructions, 47_500_000, 125_000_000), None);
    }
}
