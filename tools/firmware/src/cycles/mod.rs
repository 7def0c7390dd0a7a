//! Estimates the cycles that a core takes, from the instructions that ran.
//!
//! [`Core`] lists the cores whose timings are known, with the source of each. The tables are in
//! `single.rs` (Cortex-M0 to M4, M33), `dual.rs` (Cortex-M7, M55) and `rv32.rs`. Memory has no wait
//! states, except for the misses of flash in [`Counts::misses`].
//!
//! Timings that depend on more than the instructions, such as the refill of a pipeline, are ranges,
//! and the estimate takes their middle. It is not a measurement.

mod dual;
mod riscv;
mod rv32;
mod single;
mod thumb;

use board_build::Spec;
use schemars::JsonSchema;
use serde::Serialize;

use crate::counts::{Counted, Counts};

/// A core whose timings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// Arm Cortex-M0 Technical Reference Manual, DDI 0432, section 3.3; multiplications take one
    /// cycle.
    CortexM0,
    /// Arm Cortex-M0+ Technical Reference Manual, DDI 0484, section 3.3; multiplications take one
    /// cycle.
    CortexM0Plus,
    /// Arm Cortex-M3 Technical Reference Manual, 100165, section 3.3.
    CortexM3,
    /// Arm Cortex-M4 Technical Reference Manual, 100166, section 3.3.
    CortexM4,
    /// Arm does not document any. LLVM's scheduling model uses those of the Cortex-M4, as does
    /// this.
    CortexM33,
    /// Arm does not document any. Two instructions per cycle, from LLVM's scheduling model
    /// (`ARMScheduleM7.td`).
    CortexM7,
    /// Arm's Cortex-M55 Software Optimization Guide and LLVM's scheduling model: vector
    /// instructions take two cycles, a beat each, and overlap with one of another unit.
    CortexM55,
    /// Hazard3, the RISC-V core of RP2350: RP2350 Datasheet, section 3.8.7.
    Rv32,
}

impl Core {
    /// All cores.
    pub const ALL: [Self; 8] = [
        Self::CortexM0,
        Self::CortexM0Plus,
        Self::CortexM3,
        Self::CortexM4,
        Self::CortexM33,
        Self::CortexM7,
        Self::CortexM55,
        Self::Rv32,
    ];

    /// Its name in a `board.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CortexM0 => "Cortex-M0",
            Self::CortexM0Plus => "Cortex-M0+",
            Self::CortexM3 => "Cortex-M3",
            Self::CortexM4 => "Cortex-M4F",
            Self::CortexM33 => "Cortex-M33",
            Self::CortexM7 => "Cortex-M7",
            Self::CortexM55 => "Cortex-M55",
            Self::Rv32 => "RV32IMAC",
        }
    }

    /// The core of a board, if its emulator counts instructions one by one.
    pub fn of(spec: &Spec) -> Option<Self> {
        spec.qemu.as_ref()?;
        Self::ALL.into_iter().find(|core| core.name() == spec.core)
    }

    /// The core with this name, if it runs the code of the board's core.
    pub fn instead(spec: &Spec, name: &str) -> Option<Self> {
        let same = |core: &Self| {
            let words = [Self::CortexM0, Self::CortexM0Plus];
            Some(*core) == Self::of(spec)
                || Self::of(spec).is_some_and(|own| words.contains(&own)) && words.contains(core)
        };
        Self::ALL.into_iter().filter(same).find(|core| core.name().eq_ignore_ascii_case(name))
    }

    /// Cycles of each instruction, for all times that it ran.
    fn cycles(self, instructions: &[Counted], bound: Bound) -> Vec<u64> {
        match self {
            Self::CortexM0 => single::CORTEX_M0.cycles(instructions, bound),
            Self::CortexM0Plus => single::CORTEX_M0_PLUS.cycles(instructions, bound),
            Self::CortexM3 => single::CORTEX_M3.cycles(instructions, bound),
            Self::CortexM4 | Self::CortexM33 => single::CORTEX_M4.cycles(instructions, bound),
            Self::CortexM7 => dual::CORTEX_M7.cycles(instructions, bound),
            Self::CortexM55 => dual::CORTEX_M55.cycles(instructions, bound),
            Self::Rv32 => rv32::cycles(instructions, bound),
        }
    }

    /// The kind of an instruction.
    fn kind(self, code: &[u8]) -> &'static str {
        match self {
            Self::Rv32 => riscv::Instruction::decode(code).kind.name(),
            _ => thumb::Instruction::decode(code).kind.name(),
        }
    }
}

/// The end of a range of timings that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Least,
    Middle,
    Most,
}

/// Cycles between two bounds.
#[derive(Debug, Clone, Copy)]
struct Range([u64; 3]);

impl Range {
    const fn at(self, bound: Bound) -> u64 {
        self.0[bound as usize]
    }
}

/// Cycles for an image, estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cycles {
    /// The core whose timings these are.
    pub core: &'static str,
    /// The middle of the range.
    pub estimate: u64,
    /// The estimate with the shortest refills and divisions.
    pub least: u64,
    /// The estimate with the longest.
    pub most: u64,
    /// Number of instructions that ran.
    pub instructions: u64,
    /// Cycles by kind of instruction.
    pub kinds: Vec<Share>,
    /// Cycles by function, the most first.
    pub functions: Vec<Share>,
}

/// A part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Share {
    /// Kind of instruction, or function.
    pub name: String,
    /// Number of instructions.
    pub instructions: u64,
    /// Estimated cycles.
    pub cycles: u64,
}

/// Estimates the cycles for the instructions that ran.
pub fn estimate(core: Core, counts: &Counts) -> Cycles {
    let with = |bound| core.cycles(&counts.instructions, bound);
    let cycles = with(Bound::Middle);
    let parts = |name: &dyn Fn(&Counted) -> String| {
        let mut parts: Vec<Share> = Vec::new();
        for (counted, cycles) in counts.instructions.iter().zip(&cycles) {
            let name = name(counted);
            let index = parts.iter().position(|part| part.name == name).unwrap_or_else(|| {
                parts.push(Share { name, instructions: 0, cycles: 0 });
                parts.len() - 1
            });
            parts[index].instructions += counted.executed;
            parts[index].cycles += cycles;
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.cycles));
        parts
    };
    let function = |counted: &Counted| {
        let name = counted.function.and_then(|index| counts.functions.get(index));
        name.cloned().unwrap_or_else(|| format!("{:#x}", counted.address))
    };
    Cycles {
        core: core.name(),
        estimate: cycles.iter().sum(),
        least: with(Bound::Least).iter().sum(),
        most: with(Bound::Most).iter().sum(),
        instructions: counts.instructions.iter().map(|counted| counted.executed).sum(),
        kinds: parts(&|counted| core.kind(&counted.code).to_owned()),
        functions: parts(&function),
    }
}

/// Consecutive instructions: each, and whether it follows the one before and ran as often.
fn rows(instructions: &[Counted]) -> impl Iterator<Item = (&Counted, bool)> {
    let mut behind = None;
    instructions.iter().map(move |counted| {
        let follows = behind == Some((counted.address, counted.executed));
        behind =
            Some((counted.address + counted.code.len() as u64, counted.executed - counted.left));
        (counted, follows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles of a core for consecutive instructions, each run once, without the refill after the
    /// last.
    pub(super) fn of_row(core: Core, row: &[&[u16]]) -> u64 {
        let mut address = 0;
        let instructions: Vec<Counted> = row
            .iter()
            .map(|halves| {
                let code: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
                address += code.len() as u64;
                let start = address - code.len() as u64;
                Counted { address: start, code, executed: 1, left: 0, function: None }
            })
            .collect();
        core.cycles(&instructions, Bound::Middle).iter().sum()
    }

    #[test]
    fn parts_add_up() {
        let counted = |address, half: u16, executed, left, function| Counted {
            address,
            code: half.to_le_bytes().to_vec(),
            executed,
            left,
            function,
        };
        // A loop of three instructions: LDR r0, [r1]; ADDS r1, r1, #1; BNE.
        let counts = Counts {
            instructions: vec![
                counted(0, 0x6808, 10, 0, Some(0)),
                counted(2, 0x1c49, 10, 0, Some(0)),
                counted(4, 0xd1fc, 10, 9, Some(0)),
                counted(6, 0x4770, 1, 1, None),
            ],
            functions: vec!["sum".to_owned()],
            misses: None,
        };
        for core in Core::ALL.into_iter().filter(|core| *core != Core::Rv32) {
            let cycles = estimate(core, &counts);
            assert_eq!(cycles.instructions, 31);
            assert!(cycles.least <= cycles.estimate && cycles.estimate <= cycles.most);
            let sum = |parts: &[Share]| parts.iter().map(|part| part.cycles).sum::<u64>();
            assert_eq!([sum(&cycles.kinds), sum(&cycles.functions)], [cycles.estimate; 2]);
            let names: Vec<&str> = cycles.functions.iter().map(|part| &*part.name).collect();
            assert_eq!(names, ["sum", "0x6"]);
        }
        let cycles = estimate(Core::CortexM4, &counts);
        assert_eq!(cycles.estimate, 20 + 10 + 10 + 18 + 1 + 2);
        assert_eq!([cycles.least, cycles.most], [cycles.estimate - 10, cycles.estimate + 10]);
        // The load takes two cycles, as do the branch, if it is taken, and the return.
        assert_eq!(estimate(Core::CortexM0Plus, &counts).estimate, 20 + 10 + 10 + 9 + 1 + 1);
    }
}
