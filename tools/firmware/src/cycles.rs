//! An estimate of the cycles that a Cortex-M4 takes, from the instructions that ran.
//!
//! The core's documented timings (Arm Cortex-M4 Technical Reference Manual, 100166, section 3.3,
//! "Instruction set summary" and "Load/store timings"), for memory without wait states:
//!
//! | instruction | cycles |
//! |---|---:|
//! | data processing, multiplications of any width, SIMD | 1 |
//! | load | 2; 1 behind a load whose result is not its address |
//! | store with an immediate offset | 1: the write buffer takes it |
//! | store with a register offset | 2; 1 behind a load, likewise |
//! | of several registers, or of two | 1, and 1 for each |
//! | load or store whose address the instruction before computes | 1 more |
//! | division | 2 to 12, by its operands |
//! | whatever leaves the row of instructions: branches, returns | the refill of the pipeline more: 1 to 3 |
//!
//! What depends on more than the instructions is a range; the estimate takes the middle of it. It
//! is no measurement: flash has wait states, and a core may fetch worse than this.

use board_build::Spec;
use serde::Serialize;

use crate::counts::{Counted, Counts};

/// What the manual leaves open.
#[derive(Debug, Clone, Copy)]
struct Timings {
    refill: u64,
    division: u64,
}

const LEAST: Timings = Timings { refill: 1, division: 2 };
const MIDDLE: Timings = Timings { refill: 2, division: 7 };
const MOST: Timings = Timings { refill: 3, division: 12 };

/// Cycles for an image, estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cycles {
    /// The middle of what they may be.
    pub estimate: u64,
    /// With the shortest refills and divisions.
    pub least: u64,
    /// With the longest.
    pub most: u64,
    /// Instructions that were counted, each.
    pub instructions: u64,
    /// By kind of instruction.
    pub kinds: Vec<Share>,
    /// By function, the most first.
    pub functions: Vec<Share>,
}

/// A part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Kind of instruction, or function.
    pub name: String,
    /// Instructions.
    pub instructions: u64,
    /// Cycles, estimated.
    pub cycles: u64,
}

/// Whether the timings are those of a board's core.
pub fn are_known(spec: &Spec) -> bool {
    spec.core == "Cortex-M4F"
}

/// The estimate for what ran.
pub fn estimate(counts: &Counts) -> Cycles {
    let with = |timings| cycles(&counts.instructions, timings);
    let cycles = with(MIDDLE);
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
        estimate: cycles.iter().sum(),
        least: with(LEAST).iter().sum(),
        most: with(MOST).iter().sum(),
        instructions: counts.instructions.iter().map(|counted| counted.executed).sum(),
        kinds: parts(&|counted| Instruction::decode(&counted.code).kind.name().to_owned()),
        functions: parts(&function),
    }
}

/// Cycles of each instruction, for all times that it ran.
fn cycles(instructions: &[Counted], timings: Timings) -> Vec<u64> {
    let mut before = None;
    let mut behind = 0;
    let mut all = Vec::with_capacity(instructions.len());
    for counted in instructions {
        let this = Instruction::decode(&counted.code);
        let once = this.cycles(before.filter(|_| behind == counted.address), timings);
        all.push(counted.executed * once + counted.left * timings.refill);
        (before, behind) = (Some(this), counted.address + counted.code.len() as u64);
    }
    all
}

/// What of an instruction takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    kind: Kind,
    /// Registers that it writes, a bit each, but for a base that it moves on.
    writes: u16,
    /// Registers of its address, a bit each.
    address: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Processing,
    Multiplication,
    Division,
    Branch,
    TableBranch,
    Load,
    Store {
        register_offset: bool,
    },
    /// Loads or stores of this number of words.
    Several(u32),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Processing => "data processing",
            Self::Multiplication => "multiplications",
            Self::Division => "divisions",
            Self::Branch | Self::TableBranch => "branches",
            Self::Load => "loads",
            Self::Store { .. } => "stores",
            Self::Several(_) => "loads and stores of several registers",
        }
    }
}

impl Instruction {
    const NONE: Self = Self { kind: Kind::Processing, writes: 0, address: 0 };

    /// Cycles each time that it runs, `before` being in front of it.
    fn cycles(&self, before: Option<Self>, timings: Timings) -> u64 {
        let meets = |before: &Self| before.writes & self.address != 0;
        let after_load = before.is_some_and(|before| before.kind == Kind::Load && !meets(&before));
        let stalls = before.is_some_and(|before| {
            matches!(before.kind, Kind::Processing | Kind::Multiplication) && meets(&before)
        });
        u64::from(stalls)
            + match self.kind {
                Kind::Processing | Kind::Multiplication | Kind::Branch => 1,
                Kind::Division => timings.division,
                Kind::TableBranch => 2,
                Kind::Load | Kind::Store { register_offset: true } => 2 - u64::from(after_load),
                Kind::Store { register_offset: false } => 1,
                Kind::Several(words) => 1 + u64::from(words),
            }
    }

    /// The instruction of these bytes. Encodings are those of the Armv7-M Architecture Reference
    /// Manual, chapter A5.
    fn decode(code: &[u8]) -> Self {
        match *code {
            [a, b] => Self::narrow(u16::from_le_bytes([a, b])),
            [a, b, c, d] => Self::wide(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            _ => Self::NONE,
        }
    }

    fn narrow(code: u16) -> Self {
        let register = |shift: u32| 1 << (code >> shift & 7);
        let processing = |writes| Self { writes, ..Self::NONE };
        let of = |kind| Self { kind, ..Self::NONE };
        let single = |load: bool, target: u16, address: u16, register_offset: bool| match load {
            true => Self { kind: Kind::Load, writes: target, address },
            false => Self { kind: Kind::Store { register_offset }, writes: 0, address },
        };
        let several = |registers: u16, address| Self {
            kind: Kind::Several(registers.count_ones()),
            writes: 0,
            address,
        };
        let loads = code & 0x0800 != 0;
        match code >> 11 {
            0b00000..=0b00011 => processing(register(0)),
            0b00100 | 0b00110 | 0b00111 | 0b10100 | 0b10101 => processing(register(8)),
            0b01000 if code & 0x0400 == 0 => match code >> 6 & 15 {
                // TST, CMP, CMN
                8 | 10 | 11 => Self::NONE,
                13 => Self { kind: Kind::Multiplication, ..processing(register(0)) },
                _ => processing(register(0)),
            },
            0b01000 => match code >> 8 & 3 {
                // ADD, MOV of any register
                0 | 2 => processing(1 << (code & 7 | code >> 4 & 8)),
                1 => Self::NONE,
                _ => of(Kind::Branch),
            },
            0b01001 => single(true, register(8), 0, false),
            0b01010 | 0b01011 => {
                let loads = code >> 9 & 7 >= 3;
                single(loads, register(0), register(3) | register(6), true)
            }
            0b01100..=0b10001 => single(loads, register(0), register(3), false),
            0b10010 | 0b10011 => single(loads, register(8), 1 << 13, false),
            0b10110 | 0b10111 => match code >> 8 & 15 {
                0x0 => processing(1 << 13),
                0x4 | 0x5 | 0xc | 0xd => several(code & 0x01ff, 1 << 13),
                0x1 | 0x3 | 0x9 | 0xb => of(Kind::Branch),
                0x2 | 0xa => processing(register(0)),
                _ => Self::NONE,
            },
            0b11000 | 0b11001 => several(code & 0xff, register(8)),
            0b11010..=0b11100 => of(Kind::Branch),
            _ => Self::NONE,
        }
    }

    fn wide(code: u16, more: u16) -> Self {
        // The program counter as an address is no register that is waited for.
        let base = (1 << (code & 15)) & !(1 << 15);
        let [target, result] = [12, 8].map(|shift| 1_u16 << (more >> shift & 15));
        let loads = code & 0x0010 != 0;
        let indexed = code & 0x0120 != 0;
        let offset = 1_u16 << (more & 15);
        let several = |words| Self { kind: Kind::Several(words), writes: 0, address: base };
        let single = |writes, address, register_offset| match loads {
            true => Self { kind: Kind::Load, writes, address },
            false => Self { kind: Kind::Store { register_offset }, writes: 0, address },
        };
        match code {
            _ if code & 0xfe40 == 0xe800 => several(more.count_ones()),
            _ if code & 0xfff0 == 0xe8d0 && more & 0xffe0 == 0xf000 => {
                Self { kind: Kind::TableBranch, writes: 0, address: base | offset }
            }
            _ if code & 0xfe40 == 0xe840 && indexed => several(2),
            // Exclusive ones.
            _ if code & 0xfe40 == 0xe840 => single(target, base, false),
            // Of the floating-point unit: one of one or two words, or several.
            _ if code & 0xfe00 == 0xec00 && code & 0xffe0 != 0xec40 => {
                let words = if code & 0x0120 == 0x0100 { 1 + (more >> 8 & 1) } else { more & 0xff };
                several(words.into())
            }
            _ if code & 0xfe00 == 0xf800 => {
                let register_offset = code & 0x0080 == 0 && more & 0x0fc0 == 0;
                let address = if register_offset { base | offset } else { base };
                single(target, address, register_offset)
            }
            _ if code & 0xffd0 == 0xfb90 => {
                Self { kind: Kind::Division, writes: result, address: 0 }
            }
            _ if code & 0xff80 == 0xfb80 => {
                Self { kind: Kind::Multiplication, writes: target | result, address: 0 }
            }
            _ if code & 0xff80 == 0xfb00 => {
                Self { kind: Kind::Multiplication, writes: result, address: 0 }
            }
            _ if code & 0xf800 == 0xf000 && more & 0x8000 != 0 => {
                Self { kind: Kind::Branch, ..Self::NONE }
            }
            // Coprocessors write no registers that are waited for.
            _ if code & 0xef00 == 0xee00 => Self::NONE,
            _ => Self { writes: result, ..Self::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles of instructions in a row, each run once, the last left.
    fn cycles(row: &[&[u16]]) -> u64 {
        let mut address = 0;
        let instructions = row
            .iter()
            .enumerate()
            .map(|(index, halves)| {
                let code: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
                address += code.len() as u64;
                let left = u64::from(index + 1 == row.len());
                let start = address - code.len() as u64;
                Counted { address: start, code, executed: 1, left, function: None }
            })
            .collect();
        let cycles = estimate(&Counts { instructions, ..Counts::default() });
        assert_eq!(cycles.most - cycles.estimate, cycles.estimate - cycles.least);
        cycles.estimate - MIDDLE.refill
    }

    /// The manual's own examples.
    #[test]
    fn loads_are_pipelined() {
        // LDR r0, [r1]; LDR r1, [r2]
        assert_eq!(cycles(&[&[0x6808], &[0x6811]]), 3);
        // LDR r0, [r1, r2]; STR r0, [r3, #20]
        assert_eq!(cycles(&[&[0x5888], &[0x6158]]), 3);
        // LDR r0, [r1, r2]; STR r1, [r3, r2]
        assert_eq!(cycles(&[&[0x5888], &[0x5099]]), 3);
        // LDR r0, [r1, r5]; LDR r1, [r2]; LDR r2, [r3, #4]
        assert_eq!(cycles(&[&[0x5948], &[0x6811], &[0x685a]]), 4);
        // LDR r1, [r2]; LDR r0, [r1]: its address is what the first loads.
        assert_eq!(cycles(&[&[0x6811], &[0x6808]]), 4);
    }

    #[test]
    fn instructions_of_each_kind() {
        let [add_r1, ldr_r0_r1] = [&[0x1c49_u16][..], &[0x6808][..]];
        let rows: [(&str, &[&[u16]], u64); 12] = [
            ("adds r1, r1, #1", &[add_r1], 1),
            ("its result as an address", &[add_r1, ldr_r0_r1], 4),
            ("smlad r0, r1, r2, r0", &[&[0xfb21, 0x0002]], 1),
            ("smull r0, r1, r2, r3", &[&[0xfb82, 0x0103]], 1),
            ("udiv r0, r1, r2", &[&[0xfbb1, 0xf0f2]], 7),
            ("ldr r0, [r1], #4", &[&[0xf851, 0x0b04]], 2),
            ("strb r0, [r1, #1]", &[&[0xf881, 0x0001]], 1),
            ("ldrd r0, r1, [r2]", &[&[0xe9d2, 0x0100]], 3),
            ("ldmia r0!, {r1, r2, r3}", &[&[0xc80e]], 4),
            ("push {r4, r5, lr}", &[&[0xb530]], 4),
            ("pop.w {r4, r5, r6, r8, pc}", &[&[0xe8bd, 0x8170]], 6),
            ("tbb [pc, r0]", &[&[0xe8df, 0xf000]], 2),
        ];
        for (name, row, expected) in rows {
            assert_eq!(cycles(row), expected, "{name}");
        }
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
        // A loop of three: LDR r0, [r1]; ADDS r1, r1, #1; BNE.
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
        let cycles = estimate(&counts);
        assert_eq!(cycles.instructions, 31);
        assert_eq!(cycles.estimate, 20 + 10 + 10 + 18 + 1 + 2);
        assert_eq!([cycles.least, cycles.most], [cycles.estimate - 10, cycles.estimate + 10]);
        let sum = |parts: &[Share]| parts.iter().map(|part| part.cycles).sum::<u64>();
        assert_eq!(sum(&cycles.kinds), cycles.estimate);
        assert_eq!(sum(&cycles.functions), cycles.estimate);
        assert_eq!(cycles.functions[0].name, "sum");
        assert_eq!(cycles.functions[1].name, "0x6");
    }
}
