//! Decodes instructions of RV32IMAC, as far as timings depend on them.

/// The parts of an instruction that matter for timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) kind: Kind,
    /// The register that it writes, as a bit; none for x0.
    pub(super) writes: u32,
    /// Registers that it needs when it starts, one bit each: all except the value of a store.
    pub(super) reads: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Processing,
    Multiplication,
    Division,
    Load,
    Store,
    /// A conditional branch, and its distance.
    Branch(i32),
    Jump,
    Atomic,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processing => "data processing",
            Self::Multiplication => "multiplications",
            Self::Division => "divisions",
            Self::Load => "loads",
            Self::Store => "stores",
            Self::Branch(_) | Self::Jump => "branches",
            Self::Atomic => "atomic ones",
        }
    }
}

/// Gathers bits of `code`: `bits` are their positions, beginning with the lowest bit of the result.
fn gathered(code: u32, bits: &[u32]) -> i32 {
    let sign = *bits.last().unwrap_or(&0);
    let value = bits.iter().rev().fold(0, |value, bit| value << 1 | (code >> bit & 1));
    // The last bit is the sign.
    let value = value as i32;
    if code >> sign & 1 == 1 { value - (1 << bits.len()) } else { value }
}

impl Instruction {
    /// Decodes an instruction.
    ///
    /// Encodings are from the RISC-V Instruction Set Manual, volume I.
    pub(super) fn decode(code: &[u8]) -> Self {
        match *code {
            [a, b] => Self::narrow(u16::from_le_bytes([a, b]).into()),
            [a, b, c, d] => Self::wide(u32::from_le_bytes([a, b, c, d])),
            _ => Self { kind: Kind::Processing, writes: 0, reads: 0 },
        }
    }

    fn new(kind: Kind, writes: u32, reads: &[u32]) -> Self {
        let bit = |register: u32| (1 << (register & 31)) & !1;
        Self {
            kind,
            writes: bit(writes),
            reads: reads.iter().fold(0, |all, &each| all | bit(each)),
        }
    }

    fn wide(code: u32) -> Self {
        let [rd, rs1, rs2] = [7, 15, 20].map(|shift| code >> shift & 31);
        let function = code >> 12 & 7;
        match code & 0x7f {
            0x03 => Self::new(Kind::Load, rd, &[rs1]),
            0x23 => Self::new(Kind::Store, 0, &[rs1]),
            0x63 => {
                let bits = [8, 9, 10, 11, 25, 26, 27, 28, 29, 30, 7, 31];
                Self::new(Kind::Branch(2 * gathered(code, &bits)), 0, &[rs1, rs2])
            }
            0x6f => Self::new(Kind::Jump, rd, &[]),
            0x67 => Self::new(Kind::Jump, rd, &[rs1]),
            0x2f => Self::new(Kind::Atomic, rd, &[rs1, rs2]),
            0x33 if code >> 25 == 1 && function >= 4 => Self::new(Kind::Division, rd, &[rs1, rs2]),
            0x33 if code >> 25 == 1 => Self::new(Kind::Multiplication, rd, &[rs1, rs2]),
            0x33 => Self::new(Kind::Processing, rd, &[rs1, rs2]),
            0x37 | 0x17 => Self::new(Kind::Processing, rd, &[]),
            _ => Self::new(Kind::Processing, rd, &[rs1]),
        }
    }

    fn narrow(code: u32) -> Self {
        let [rd, rs2] = [7, 2].map(|shift| code >> shift & 31);
        let [high, low] = [7, 2].map(|shift| 8 + (code >> shift & 7));
        match (code & 3, code >> 13 & 7) {
            (0, 2) => Self::new(Kind::Load, low, &[high]),
            (0, 6) => Self::new(Kind::Store, 0, &[high]),
            (0, _) => Self::new(Kind::Processing, low, &[2]),
            (1, 1 | 5) => Self::new(Kind::Jump, 0, &[]),
            (1, 6 | 7) => {
                let bits = [3, 4, 10, 11, 2, 5, 6, 12];
                Self::new(Kind::Branch(2 * gathered(code, &bits)), 0, &[high])
            }
            (1, 4) => {
                let both = code >> 10 & 3 == 3;
                Self::new(Kind::Processing, high, &[high, if both { low } else { 0 }])
            }
            (1, 2) => Self::new(Kind::Processing, rd, &[]),
            (1, 3) => Self::new(Kind::Processing, rd, &[if rd == 2 { 2 } else { 0 }]),
            (1, _) => Self::new(Kind::Processing, rd, &[rd]),
            (2, 2) => Self::new(Kind::Load, rd, &[2]),
            (2, 6) => Self::new(Kind::Store, 0, &[2]),
            (2, 4) if rs2 == 0 && rd != 0 => Self::new(Kind::Jump, code >> 12 & 1, &[rd]),
            // A move does not read its first operand.
            (2, 4) => {
                Self::new(Kind::Processing, rd, &[rs2, if code >> 12 & 1 == 1 { rd } else { 0 }])
            }
            _ => Self::new(Kind::Processing, rd, &[rd]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_each_kind() {
        let one = |code: u32| {
            let bytes = code.to_le_bytes();
            Instruction::decode(if code & 3 == 3 { &bytes } else { &bytes[..2] })
        };
        let rows = [
            (0x0085_2783, Kind::Load, 1 << 15, 1 << 10, "lw a5, 8(a0)"),
            (0x00f5_2423, Kind::Store, 0, 1 << 10, "sw a5, 8(a0)"),
            (0x02f5_0533, Kind::Multiplication, 1 << 10, 1 << 10 | 1 << 15, "mul a0, a0, a5"),
            (0x02f5_4533, Kind::Division, 1 << 10, 1 << 10 | 1 << 15, "div a0, a0, a5"),
            (0xfef5_1ee3, Kind::Branch(-4), 0, 1 << 10 | 1 << 15, "bne a0, a5, -4"),
            (0x0000_6008, Kind::Processing, 1 << 10, 1 << 2, "of the floating-point unit"),
            (0x0000_4510, Kind::Load, 1 << 12, 1 << 10, "c.lw a2, 8(a0)"),
            (0x0000_c510, Kind::Store, 0, 1 << 10, "c.sw a2, 8(a0)"),
            (0x0000_fd75, Kind::Branch(-4), 0, 1 << 10, "c.bnez a0, -4"),
            (0x0000_8082, Kind::Jump, 0, 1 << 1, "ret"),
            (0x0000_9532, Kind::Processing, 1 << 10, 1 << 10 | 1 << 12, "c.add a0, a2"),
            (0x0000_8532, Kind::Processing, 1 << 10, 1 << 12, "c.mv a0, a2"),
        ];
        for (code, kind, writes, reads, name) in rows {
            assert_eq!(one(code), Instruction { kind, writes, reads }, "{name}");
        }
    }
}
