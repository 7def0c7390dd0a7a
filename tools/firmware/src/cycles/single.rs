//! Cores of Arm that start an instruction when the one before has ended.
//!
//! | instruction | Cortex-M0, M0+ | Cortex-M3, M4 |
//! |---|---:|---:|
//! | data processing | 1 | 1 |
//! | multiplication | 1 | 1 |
//! | multiplication with an add | – | M3: 2; M4: 1 |
//! | multiplication to 64 bits | – | M3: 3 to 5, with an add 4 to 7; M4: 1 |
//! | load | 2 | 2; 1 after a load whose result is not its address |
//! | store with an immediate offset | 2 | 1: the write buffer takes it |
//! | store with a register offset | 2 | 2; 1 after such a load |
//! | load or store of several registers, or of two | 1, and 1 for each | 1, and 1 for each |
//! | load or store whose address the previous instruction computes | – | 1 more |
//! | division | – | 2 to 12, depending on its operands |
//! | any jump: branches that are taken, returns | M0: 2 more; M0+: 1 more | 1 to 3 more, to refill the pipeline |
//! | a call | 1 more than that | |
//!
//! SIMD instructions, which only the M4 has, take one cycle.

use super::thumb::{Instruction, Kind};
use super::{Bound, Range};
use crate::counts::Counted;

/// Timings of a core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Single {
    refill: Range,
    /// Additional cycles of a call.
    call: u64,
    division: Range,
    /// Cycles of multiply and add.
    accumulate: u64,
    long: Range,
    long_accumulate: Range,
    /// Whether loads and stores overlap, and wait for addresses.
    pipelined: bool,
}

pub(super) const CORTEX_M0: Single = Single {
    refill: Range([2; 3]),
    call: 1,
    division: Range([1; 3]),
    accumulate: 1,
    long: Range([1; 3]),
    long_accumulate: Range([1; 3]),
    pipelined: false,
};

pub(super) const CORTEX_M0_PLUS: Single = Single { refill: Range([1; 3]), ..CORTEX_M0 };

pub(super) const CORTEX_M3: Single = Single {
    accumulate: 2,
    long: Range([3, 4, 5]),
    long_accumulate: Range([4, 5, 7]),
    ..CORTEX_M4
};

pub(super) const CORTEX_M4: Single = Single {
    refill: Range([1, 2, 3]),
    call: 0,
    division: Range([2, 7, 12]),
    accumulate: 1,
    long: Range([1; 3]),
    long_accumulate: Range([1; 3]),
    pipelined: true,
};

impl Single {
    /// Cycles of each instruction, for all times that it ran.
    pub(super) fn cycles(&self, instructions: &[Counted], bound: Bound) -> Vec<u64> {
        let mut before = None;
        let mut behind = 0;
        let mut all = Vec::with_capacity(instructions.len());
        for counted in instructions {
            let this = Instruction::decode(&counted.code);
            let once = self.once(&this, before.filter(|_| behind == counted.address), bound);
            let call = match this.kind {
                Kind::Branch if counted.code.len() == 4 => self.call,
                _ => 0,
            };
            all.push(counted.executed * once + counted.left * (self.refill.at(bound) + call));
            (before, behind) = (Some(this), counted.address + counted.code.len() as u64);
        }
        all
    }

    /// Cycles of an instruction for each time that it runs after `before`.
    fn once(&self, this: &Instruction, before: Option<Instruction>, bound: Bound) -> u64 {
        let before = before.filter(|_| self.pipelined);
        let meets = |before: &Instruction| before.writes & this.address != 0;
        let after_load = before.is_some_and(|before| before.kind == Kind::Load && !meets(&before));
        let stalls = before.is_some_and(|before| {
            matches!(before.kind, Kind::Processing | Kind::Multiplication { .. }) && meets(&before)
        });
        let adds = this.adds != 0;
        u64::from(stalls)
            + match this.kind {
                Kind::Processing | Kind::Branch => 1,
                Kind::Multiplication { long: false } => {
                    if adds {
                        self.accumulate
                    } else {
                        1
                    }
                }
                Kind::Multiplication { long: true } => {
                    if adds { self.long_accumulate } else { self.long }.at(bound)
                }
                Kind::Division => self.division.at(bound),
                Kind::TableBranch => 2,
                Kind::Store { register_offset: false } => 2 - u64::from(self.pipelined),
                Kind::Load | Kind::Store { register_offset: true } => 2 - u64::from(after_load),
                Kind::Several(words) => 1 + u64::from(words),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Core;
    use super::super::tests::of_row;

    fn cycles(row: &[&[u16]]) -> u64 {
        of_row(Core::CortexM4, row)
    }

    /// The examples of the Cortex-M4's manual.
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
        // LDR r1, [r2]; LDR r0, [r1]: the first loads the address of the second.
        assert_eq!(cycles(&[&[0x6811], &[0x6808]]), 4);
        // On a Cortex-M0 they are not pipelined.
        assert_eq!(of_row(Core::CortexM0, &[&[0x6808], &[0x6811]]), 4);
    }

    #[test]
    fn instructions_of_each_kind() {
        let [add_r1, ldr_r0_r1] = [&[0x1c49_u16][..], &[0x6808][..]];
        let rows: [(&str, &[&[u16]], u64, u64); 13] = [
            ("adds r1, r1, #1", &[add_r1], 1, 1),
            ("its result as an address", &[add_r1, ldr_r0_r1], 4, 4),
            ("smlad r0, r1, r2, r0", &[&[0xfb21, 0x0002]], 1, 2),
            ("smull r0, r1, r2, r3", &[&[0xfb82, 0x0103]], 1, 4),
            ("smlal r0, r1, r2, r3", &[&[0xfbc2, 0x0103]], 1, 5),
            ("udiv r0, r1, r2", &[&[0xfbb1, 0xf0f2]], 7, 7),
            ("ldr r0, [r1], #4", &[&[0xf851, 0x0b04]], 2, 2),
            ("strb r0, [r1, #1]", &[&[0xf881, 0x0001]], 1, 1),
            ("ldrd r0, r1, [r2]", &[&[0xe9d2, 0x0100]], 3, 3),
            ("ldmia r0!, {r1, r2, r3}", &[&[0xc80e]], 4, 4),
            ("push {r4, r5, lr}", &[&[0xb530]], 4, 4),
            ("pop.w {r4, r5, r6, r8, pc}", &[&[0xe8bd, 0x8170]], 6, 6),
            ("tbb [pc, r0]", &[&[0xe8df, 0xf000]], 2, 2),
        ];
        for (name, row, m4, m3) in rows {
            assert_eq!(cycles(row), m4, "{name}");
            assert_eq!(of_row(Core::CortexM3, row), m3, "{name}");
        }
    }
}
