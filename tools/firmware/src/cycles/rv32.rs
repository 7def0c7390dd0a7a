//! Hazard3, the RISC-V core of RP2350, configured for speed.
//!
//! | instruction | cycles |
//! |---|---:|
//! | all but these | 1 |
//! | load | 1; 2 if the next instruction needs the result when it begins (a store needs its value later) |
//! | branch | 1 if it was predicted, else 2 |
//! | jump | 2 |
//! | division | 18 or 19 |
//! | atomic | 4 |
//!
//! One branch is predicted to be taken: the backward branch that was taken last. So the branch at
//! the end of an innermost loop is mispredicted when the loop is entered, and when it is left. A
//! target of four bytes that begins in the middle of a word costs one more cycle; the upper bound
//! assumes this for each target.

use super::Bound;
use super::riscv::{Instruction, Kind};
use crate::counts::Counted;

/// Cycles of each instruction, for all times that it ran.
pub(super) fn cycles(instructions: &[Counted], bound: Bound) -> Vec<u64> {
    let decoded: Vec<_> = instructions.iter().map(|c| Instruction::decode(&c.code)).collect();
    let innermost = loops(instructions, &decoded);
    let mut all = Vec::with_capacity(instructions.len());
    let mut before: Option<&Instruction> = None;
    let mut behind = 0;
    for ((counted, this), innermost) in instructions.iter().zip(&decoded).zip(innermost) {
        let before_it = before.filter(|_| behind == counted.address);
        let waits = before_it.is_some_and(|b| b.kind == Kind::Load && b.writes & this.reads != 0);
        let Counted { executed, left, .. } = *counted;
        let mispredicted = match this.kind {
            Kind::Branch(_) if bound == Bound::Least => 0,
            // At each end of the loop it was first not taken, and the next time taken.
            Kind::Branch(_) if innermost => left.min(2 * (executed - left)),
            _ => left,
        };
        let unaligned = if bound == Bound::Most { left } else { 0 };
        let more = match this.kind {
            Kind::Division => 17 * executed,
            Kind::Atomic => 3 * executed,
            Kind::Branch(_) => mispredicted,
            Kind::Jump => executed,
            _ => 0,
        };
        all.push(executed * (1 + u64::from(waits)) + more + unaligned);
        (before, behind) = (Some(this), counted.address + counted.code.len() as u64);
    }
    all
}

/// Whether each instruction is the backward branch at the end of an innermost loop.
fn loops(instructions: &[Counted], decoded: &[Instruction]) -> Vec<bool> {
    let mut all = vec![false; instructions.len()];
    let taken_back = |index: usize| {
        matches!(decoded[index].kind, Kind::Branch(offset) if offset < 0)
            && instructions[index].left > 0
    };
    let mut last: Option<u64> = None;
    for (index, counted) in instructions.iter().enumerate() {
        let Kind::Branch(offset) = decoded[index].kind else { continue };
        if !taken_back(index) {
            continue;
        }
        let target = counted.address.wrapping_add_signed(offset.into());
        all[index] = last.is_none_or(|last| last < target);
        last = Some(counted.address);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The datasheet's own example: a copy of ten bytes takes 52 cycles.
    #[test]
    fn a_loop_of_the_datasheet() {
        // lbu a3, (a0); sb a3, (a1); addi a0, a0, 1; addi a1, a1, 1; bltu a1, a2, the first
        let codes: [&[u8]; 5] = [
            &0x0005_4683_u32.to_le_bytes(),
            &0x00d5_8023_u32.to_le_bytes(),
            &0x0505_u16.to_le_bytes(),
            &0x0585_u16.to_le_bytes(),
            &0xfec5_eae3_u32.to_le_bytes(),
        ];
        let mut address = 0;
        let mut instructions: Vec<Counted> = codes
            .iter()
            .map(|code| {
                let at = address;
                address += code.len() as u64;
                Counted { address: at, code: code.to_vec(), executed: 10, left: 0, function: None }
            })
            .collect();
        instructions[4].left = 9;
        let sum = |instructions: &[Counted], bound| cycles(instructions, bound).iter().sum::<u64>();
        assert_eq!(sum(&instructions, Bound::Middle), 52);
        assert_eq!(sum(&instructions, Bound::Least), 50);
        // A loaded value is needed at once: lbu, addi a3, a3, 1.
        instructions[1].code = 0x0685_u16.to_le_bytes().to_vec();
        assert_eq!(sum(&instructions, Bound::Middle), 62);
    }
}
