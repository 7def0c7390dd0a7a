//! Counts of a board, in its own unit.

use std::collections::BTreeMap;
use std::fmt;

use brooklet::format::LayerRecord;
use brooklet_firmware::{Spec, Unit};
use brooklet_plan::cost::{Coefficients, Core};
use serde::Serialize;

/// The plural of a unit.
pub(crate) fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Instructions => "instructions",
        Unit::Cycles => "cycles",
        Unit::Microseconds => "microseconds",
    }
}

/// A count by the name of its unit, so that a program that reads it takes none for another.
pub(crate) fn keyed(prefix: &str, unit: Unit, count: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(format!("{prefix}{}", unit_name(unit)), count)])
}

/// How long a count takes. Of instructions nobody knows.
pub(crate) fn milliseconds(unit: Unit, count: u64, clock_hz: u32) -> Option<f64> {
    match unit {
        Unit::Instructions => None,
        Unit::Cycles => Some(count as f64 * 1e3 / f64::from(clock_hz)),
        Unit::Microseconds => Some(count as f64 / 1e3),
    }
}

/// `380.1 ms at 125 MHz`.
pub(crate) fn time(unit: Unit, count: u64, clock_hz: u32) -> Option<String> {
    let milliseconds = milliseconds(unit, count, clock_hz)?;
    Some(format!("{milliseconds:.1} ms at {} MHz", f64::from(clock_hz) / 1e6))
}

/// How long an image is predicted to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Time {
    /// At the board's clock.
    pub(crate) milliseconds: f64,
    /// Whether nothing is known of the core's timings: at one instruction a cycle.
    #[serde(rename = "milliseconds_at_least")]
    pub(crate) at_least: bool,
}

impl Time {
    /// Of a model's layers on a board whose clock is known, by what its core costs.
    pub(crate) fn of<'l>(
        spec: &Spec,
        costs: &Coefficients,
        layers: impl IntoIterator<Item = &'l LayerRecord>,
    ) -> Option<Self> {
        let milliseconds = costs.total_cycles(layers)? * 1e3 / f64::from(spec.clock_hz);
        let at_least = Core::known(spec).is_none();
        milliseconds.is_finite().then_some(Self { milliseconds, at_least })
    }

    /// In words, of a core with that clock.
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
        assert_eq!(keyed("check_", Unit::Cycles, 7)["check_cycles"], 7);
        assert_eq!(time(Unit::Cycles, 47_500_000, 125_000_000).unwrap(), "380.0 ms at 125 MHz");
        assert_eq!(time(Unit::Microseconds, 1_500, 64_500_000).unwrap(), "1.5 ms at 64.5 MHz");
        assert_eq!(time(Unit::Instructions, 47_500_000, 125_000_000), None);
    }
}
