//! Cores of Arm that start an instruction while others are still running, in order.
//!
//! Both tables come from LLVM's scheduling models (`ARMScheduleM7.td`, `ARMScheduleM55.td`), as far
//! as they matter for kernels. An instruction starts when all before it have started, a unit for it
//! is free, and its operands are ready.
//!
//! | | Cortex-M7 | Cortex-M55 |
//! |---|---|---|
//! | instructions that start in a cycle | 2 | 1 |
//! | units | 2 to compute, 2 to load, one each to shift, store, multiply and branch, and one for parts of registers | one to load and store vectors, one each to compute and multiply them, each for 2 cycles |
//! | result of a computation; of a load | next cycle | next cycle; one later |
//! | result of a load of a byte or half-word, of a multiplication, of vectors | one later | one later |
//! | vectors that are loaded, or computed without a multiplication | – | next cycle, as beats follow each other |
//! | an address, or a value that is shifted, is needed | a cycle earlier | a cycle earlier |
//! | a value that is accumulated to is needed | a cycle later | a cycle later |
//! | load or store of several registers | two per cycle, alone | two per cycle, at worst one |
//! | result of a saturation | one later | next cycle |
//! | division | 2 to 12, alone | 2 to 12, alone |
//! | any jump | 0 to 2 more, as branches are predicted | 0 to 2 more; none at the end of a low-overhead loop |
//!
//! Instructions for parts of registers extend, saturate or extract, or compute with bytes or halves in parallel.
//!
//! After a label that is reached from elsewhere, timing starts anew.

use super::thumb::{Instruction, Kind};
use super::{Bound, Range, rows};
use crate::counts::Counted;

/// Timings of a core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dual {
    /// Number of instructions that start in a cycle.
    width: u64,
    /// Number of words that a load or store of several registers moves in a cycle.
    words: Range,
    /// Number of cycles until a loaded value is ready.
    load: u64,
    division: Range,
    refill: Range,
}

pub(super) const CORTEX_M7: Dual = Dual {
    width: 2,
    words: Range([2; 3]),
    load: 1,
    division: Range([2, 7, 12]),
    refill: Range([0, 1, 2]),
};

pub(super) const CORTEX_M55: Dual =
    Dual { width: 1, words: Range([2, 2, 1]), load: 2, ..CORTEX_M7 };

/// The unit that an instruction uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Compute,
    Load,
    Store,
    Multiply,
    Branch,
    Shift,
    Parts,
    VectorMemory,
    VectorCompute,
    VectorMultiply,
}

impl Unit {
    const COUNT: usize = 10;

    /// Number of such units on a core that starts several instructions in a cycle.
    fn number(self) -> u64 {
        if matches!(self, Self::Compute | Self::Load) { 2 } else { 1 }
    }
}

/// A vector instruction of Armv8.1-M: its unit, and the registers that it writes and reads, one bit
/// each. Accumulators are general registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vector {
    unit: Unit,
    writes: u8,
    reads: u8,
    adds: u16,
}

impl Vector {
    /// Decodes an instruction. Encodings are from the Armv8-M Architecture Reference Manual,
    /// chapter C2.4: those of coprocessors 14 and 15.
    fn decode(code: &[u8]) -> Option<Self> {
        let &[a, b, c, d] = code else { return None };
        let [code, more] = [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])];
        let bit = |register: u16| 1_u8 << (register & 7);
        let [destination, first, second] = [more >> 13, code >> 1, more >> 1].map(bit);
        // 0xec00 is a move.
        if code & 0xee00 == 0xec00 && code & 0xffa0 != 0xec00 && more & 0x0e00 == 0x0e00 {
            let loads = code & 0x0010 != 0;
            let [writes, reads] = if loads { [destination, 0] } else { [0, destination] };
            return Some(Self { unit: Unit::VectorMemory, writes, reads, adds: 0 });
        }
        if code & 0xef00 != 0xee00 && code & 0xef00 != 0xef00
            || more & 0x0c00 == 0x0800 && code & 0x0010 == 0
        {
            return None;
        }
        // VMLADAV, VMLALDAV: accumulate into one or two general registers.
        if code & 0xef80 == 0xee80 && more & 0x0e00 == 0x0e00 && more & 0x0001 == 0 {
            let adds = if more & 0x0020 != 0 { 1 << (more >> 12 & 14) } else { 0 };
            return Some(Self {
                unit: Unit::VectorMultiply,
                writes: 0,
                reads: first | second,
                adds,
            });
        }
        let multiplies = more & 0x0f50 == 0x0950 || more & 0x0f50 == 0x0b40;
        let unit = if multiplies { Unit::VectorMultiply } else { Unit::VectorCompute };
        Some(Self { unit, writes: destination, reads: first | second, adds: 0 })
    }
}

/// The state of the core at some point of a sequence of instructions.
#[derive(Debug, Clone, Default)]
struct Now {
    cycle: u64,
    /// Number of instructions that started in this cycle.
    begun: u64,
    busy: [u64; Unit::COUNT],
    /// The cycle at which each unit for vectors is free.
    free: [u64; Unit::COUNT],
    /// The cycles at which registers and vectors are ready.
    ready: [u64; 16],
    vectors: [u64; 8],
}

impl Now {
    fn advance(&mut self, cycle: u64) {
        if cycle > self.cycle {
            (self.cycle, self.begun, self.busy) = (cycle, 0, Default::default());
        }
    }

    /// The cycle at which all of these registers are ready.
    fn of(&self, registers: u16) -> u64 {
        let of = |register: &usize| registers >> register & 1 == 1;
        (0..16).filter(of).map(|register| self.ready[register]).max().unwrap_or(0)
    }

    fn set(&mut self, registers: u16, cycle: u64) {
        for register in (0..16).filter(|register| registers >> register & 1 == 1) {
            self.ready[register] = cycle;
        }
    }
}

impl Dual {
    /// Cycles of each instruction, for all times that it ran: how much later it starts than the one
    /// before.
    pub(super) fn cycles(&self, instructions: &[Counted], bound: Bound) -> Vec<u64> {
        let mut now = Now::default();
        let mut all = Vec::with_capacity(instructions.len());
        for (counted, follows) in rows(instructions) {
            if !follows {
                now = Now::default();
            }
            // The first instruction takes a cycle.
            let before = if follows { now.cycle } else { 0 };
            if !follows {
                now.cycle = 1;
            }
            let this = Instruction::decode(&counted.code);
            match Vector::decode(&counted.code).filter(|_| self.width == 1) {
                Some(vector) => self.begin_vector(&mut now, &this, &vector),
                None => self.begin(&mut now, &this, &counted.code, bound),
            }
            let loop_end = counted.code.len() == 4
                && counted.code[1] == 0xf0
                && counted.code[3] & 0xf0 == 0xc0;
            let refill = if loop_end { 0 } else { self.refill.at(bound) };
            all.push(counted.executed * (now.cycle - before) + counted.left * refill);
        }
        all
    }

    fn begin_vector(&self, now: &mut Now, this: &Instruction, vector: &Vector) {
        let of = |vectors: u8, register: &usize| vectors >> register & 1 == 1;
        let unit = vector.unit as usize;
        let operands = (0..8).filter(|v| of(vector.reads, v)).map(|v| now.vectors[v]).max();
        let address = if vector.unit == Unit::VectorMemory { this.address } else { 0 };
        let ready = [
            now.cycle + now.begun,
            now.free[unit],
            operands.unwrap_or(0),
            now.of(address) + 1,
            now.of(vector.adds),
        ];
        now.advance(ready.into_iter().max().unwrap_or(0));
        now.begun = 1;
        now.free[unit] = now.cycle + 2;
        let cycle = now.cycle;
        let latency = if vector.unit == Unit::VectorMultiply { 2 } else { 1 };
        now.set(vector.adds, cycle + latency);
        for register in (0..8).filter(|register| of(vector.writes, register)) {
            now.vectors[register] = cycle + latency;
        }
    }

    fn begin(&self, now: &mut Now, this: &Instruction, code: &[u8], bound: Bound) {
        let parts = Parts::decode(code).filter(|_| self.width > 1);
        let (unit, latency) = match this.kind {
            Kind::Processing if parts.is_some() => {
                (Unit::Parts, 1 + u64::from(parts == Some(Parts::Saturates)))
            }
            Kind::Processing | Kind::Division => (Unit::Compute, 1),
            Kind::Multiplication { .. } => (Unit::Multiply, 2),
            Kind::Branch | Kind::TableBranch => (Unit::Branch, 1),
            Kind::Load => (Unit::Load, self.load + u64::from(is_narrow_load(code))),
            Kind::Store { .. } => (Unit::Store, 1),
            Kind::Several(_) => (Unit::Load, self.load),
        };
        // These instructions start alone.
        let several = match this.kind {
            Kind::Several(words) => u64::from(words).div_ceil(self.words.at(bound)),
            Kind::Division => self.division.at(bound),
            _ => 0,
        };
        let operands = match this.kind {
            Kind::Store { .. } => 0,
            _ => now.of(this.reads & !this.adds),
        };
        let early = this.address | this.shifts;
        let early = if early != 0 { now.of(early) + 1 } else { 0 };
        let sums = now.of(this.adds).saturating_sub(1);
        now.advance(operands.max(early).max(sums));
        let full = now.begun + if several > 0 { self.width } else { 1 } > self.width;
        let shifts = this.shifts != 0 || parts.is_some_and(|parts| parts != Parts::Parallel);
        let units = [Some(unit), shifts.then_some(Unit::Shift)];
        let is_busy = |unit: &Unit| now.busy[*unit as usize] == unit.number();
        if full && now.begun > 0 || units.iter().flatten().any(is_busy) {
            now.advance(now.cycle + 1);
        }
        now.begun += 1;
        units.iter().flatten().for_each(|unit| now.busy[*unit as usize] += 1);
        if several > 0 {
            now.advance(now.cycle + several - 1);
            now.begun = self.width;
        }
        let cycle = now.cycle;
        now.set(this.writes, cycle + latency);
    }
}

/// An instruction for parts of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// It extends, or computes in parallel.
    Parallel,
    /// It extracts or packs, for which it also shifts.
    Shifts,
    /// It saturates, and shifts.
    Saturates,
}

impl Parts {
    /// Encodings are from the Armv7-M Architecture Reference Manual, chapter A5.
    fn decode(code: &[u8]) -> Option<Self> {
        let (code, more) = match *code {
            [_, 0xb2] => return Some(Self::Parallel),
            [_, 0xba] => return Some(Self::Shifts),
            [a, b, c, d] => (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            _ => return None,
        };
        match code & 0xfff0 {
            0xfa00..=0xfa50 if more & 0x0080 != 0 => Some(Self::Parallel),
            0xfa80..=0xfae0 if more & 0x0080 == 0 => Some(Self::Parallel),
            0xfa80 | 0xfaa0 => Some(Self::Parallel),
            0xfa90 | 0xeac0 => Some(Self::Shifts),
            0xf300 | 0xf320 | 0xf380 | 0xf3a0 if more & 0x8000 == 0 => Some(Self::Saturates),
            0xf340 | 0xf3c0 if more & 0x8000 == 0 => Some(Self::Shifts),
            _ => None,
        }
    }
}

/// Whether it loads a byte or a half.
fn is_narrow_load(code: &[u8]) -> bool {
    match *code {
        [_, b] => match b >> 3 {
            0b01111 | 0b10001 => true,
            // With a register offset: LDRSB, LDRH, LDRB, LDRSH.
            0b01010 | 0b01011 => matches!(b >> 1 & 7, 3 | 5 | 6 | 7),
            _ => false,
        },
        [a, ..] => a & 0x60 != 0x40,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Core;
    use super::super::tests::of_row;

    const SMLAD: [&[u16]; 4] = [
        &[0xfb21, 0x0002], // r0, r1, r2, r0
        &[0xfb21, 0x3403], // r4, r1, r3, r3
        &[0xfb21, 0x5502], // r5, r1, r2, r5
        &[0xfb21, 0x6603], // r6, r1, r3, r6
    ];

    #[test]
    fn a_cortex_m7_loads_beside_what_it_multiplies() {
        let load: &[u16] = &[0xf859, 0x7b04]; // ldr r7, [r9], #4
        assert_eq!(of_row(Core::CortexM7, &SMLAD), 4);
        let [a, b, c, d] = SMLAD;
        assert_eq!(of_row(Core::CortexM7, &[a, load, b, load, c, load, d, load]), 4);
        // In an unfavourable order instructions wait for the same unit.
        assert_eq!(of_row(Core::CortexM7, &[load, load, load, load, a, b, c, d]), 6);
        // adds r1, r1, #1; adds r2, r2, #1: both start at once; then with a dependency.
        assert_eq!(of_row(Core::CortexM7, &[&[0x1c49], &[0x1c52]]), 1);
        assert_eq!(of_row(Core::CortexM7, &[&[0x1c49], &[0x1c49]]), 2);
        // adds r1, r1, #1; ldr r0, [r1]
        assert_eq!(of_row(Core::CortexM7, &[&[0x1c49], &[0x6808]]), 3);
    }

    #[test]
    fn a_cortex_m7_has_one_unit_for_parts_of_registers() {
        let extend: [&[u16]; 2] = [&[0xfa2f, 0xf283], &[0xfa2f, 0xf484]]; // sxtb16 r2, r3; r4, r4
        assert_eq!(of_row(Core::CortexM7, &extend), 2);
        // sadd16 r5, r3, r3; pkhbt r5, r3, r6
        assert_eq!(of_row(Core::CortexM7, &[extend[0], &[0xfa93, 0xf503]]), 2);
        assert_eq!(of_row(Core::CortexM7, &[extend[0], &[0xeac3, 0x0506]]), 2);
        // ssat r0, #8, r0; then an addition that needs it: adds r0, r0, #1
        let [saturate, add]: [&[u16]; 2] = [&[0xf300, 0x0007], &[0x1c40]];
        assert_eq!(of_row(Core::CortexM7, &[saturate, add]), 3);
        assert_eq!(of_row(Core::CortexM7, &[extend[0], &[0x1c40]]), 1);
        assert_eq!(of_row(Core::CortexM55, &[saturate, add]), 2);
    }

    #[test]
    fn vectors_of_a_cortex_m55_overlap_with_those_of_another_unit() {
        // vldrw.32 q0, [r0], #16; vmladava.s8 r2, q1, q2
        let load: &[u16] = &[0xecb0, 0x1f04];
        let other: &[u16] = &[0xecb1, 0x3f04];
        let multiply: &[u16] = &[0xeef2, 0x2e24];
        let next: &[u16] = &[0xeef2, 0x4e24];
        assert_eq!(of_row(Core::CortexM55, &[load, other]), 3);
        assert_eq!(of_row(Core::CortexM55, &[load, multiply]), 2);
        assert_eq!(of_row(Core::CortexM55, &[multiply, next]), 3);
        assert_eq!(of_row(Core::CortexM55, &[load, multiply, other, next]), 4);
    }
}
