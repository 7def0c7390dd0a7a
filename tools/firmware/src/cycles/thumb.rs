//! Decodes Thumb instructions, as far as timings depend on them.

/// The parts of an instruction that matter for timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) kind: Kind,
    /// Registers that it writes, one bit each, except for a base that it updates.
    pub(super) writes: u16,
    /// Registers of its address, one bit each.
    pub(super) address: u16,
    /// Registers that it computes with, except for those that it adds to.
    pub(super) reads: u16,
    /// Registers that a multiplication adds to.
    pub(super) adds: u16,
    /// Registers among these whose values it shifts.
    pub(super) shifts: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Processing,
    Multiplication {
        /// Whether the product has 64 bits.
        long: bool,
    },
    Division,
    Branch,
    TableBranch,
    Load,
    Store {
        register_offset: bool,
    },
    /// Loads or stores this number of words.
    Several(u32),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processing => "data processing",
            Self::Multiplication { .. } => "multiplications",
            Self::Division => "divisions",
            Self::Branch | Self::TableBranch => "branches",
            Self::Load => "loads",
            Self::Store { .. } => "stores",
            Self::Several(_) => "loads and stores of several registers",
        }
    }
}

impl Instruction {
    const NONE: Self =
        Self { kind: Kind::Processing, writes: 0, address: 0, reads: 0, adds: 0, shifts: 0 };

    /// Decodes an instruction.
    ///
    /// Encodings are from the Armv7-M Architecture Reference Manual, chapter A5.
    pub(super) fn decode(code: &[u8]) -> Self {
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
            true => Self { kind: Kind::Load, writes: target, address, ..Self::NONE },
            false => Self { kind: Kind::Store { register_offset }, address, ..Self::NONE },
        };
        let loads = code & 0x0800 != 0;
        let several = |registers: u16, address| Self {
            kind: Kind::Several(registers.count_ones()),
            writes: if loads { registers & 0xff } else { 0 },
            address,
            ..Self::NONE
        };
        let reading = |writes, reads| Self { reads, ..processing(writes) };
        match code >> 11 {
            // A shift by zero is a move.
            0b00000..=0b00010 => Self {
                shifts: if code >> 6 == 0 { 0 } else { register(3) },
                ..reading(register(0), register(3))
            },
            0b00011 => {
                let other = if code & 0x0400 == 0 { register(6) } else { 0 };
                reading(register(0), register(3) | other)
            }
            0b00100 | 0b10100 | 0b10101 => processing(register(8)),
            0b00110 | 0b00111 => reading(register(8), register(8)),
            0b01000 if code & 0x0400 == 0 => match code >> 6 & 15 {
                // TST, CMP, CMN
                8 | 10 | 11 => reading(0, register(0) | register(3)),
                13 => Self {
                    kind: Kind::Multiplication { long: false },
                    ..reading(register(0), register(0) | register(3))
                },
                _ => reading(register(0), register(0) | register(3)),
            },
            0b01000 => match code >> 8 & 3 {
                // ADD, MOV of any registers.
                0 | 2 => reading(1 << (code & 7 | code >> 4 & 8), 1 << (code >> 3 & 15)),
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
        // Nothing waits for the program counter as an address.
        let base = (1 << (code & 15)) & !(1 << 15);
        let [target, result] = [12, 8].map(|shift| 1_u16 << (more >> shift & 15));
        let loads = code & 0x0010 != 0;
        let indexed = code & 0x0120 != 0;
        let offset = 1_u16 << (more & 15);
        let several = |words, registers| Self {
            kind: Kind::Several(words),
            writes: if loads { registers } else { 0 },
            address: base,
            ..Self::NONE
        };
        let single = |writes, address, register_offset| match loads {
            true => Self { kind: Kind::Load, writes, address, ..Self::NONE },
            false => Self { kind: Kind::Store { register_offset }, address, ..Self::NONE },
        };
        let computing = |kind, writes| Self { kind, writes, reads: base | offset, ..Self::NONE };
        match code {
            _ if code & 0xfe40 == 0xe800 => several(more.count_ones(), more),
            _ if code & 0xfff0 == 0xe8d0 && more & 0xffe0 == 0xf000 => {
                Self { kind: Kind::TableBranch, address: base | offset, ..Self::NONE }
            }
            _ if code & 0xfe40 == 0xe840 && indexed => several(2, target | result),
            // Exclusive loads and stores.
            _ if code & 0xfe40 == 0xe840 => single(target, base, false),
            // Floating-point loads and stores: of one or two words, or several.
            _ if code & 0xfe00 == 0xec00 && code & 0xffe0 != 0xec40 => {
                let words = if code & 0x0120 == 0x0100 { 1 + (more >> 8 & 1) } else { more & 0xff };
                several(words.into(), 0)
            }
            _ if code & 0xfe00 == 0xf800 => {
                let register_offset = code & 0x0080 == 0 && more & 0x0fc0 == 0;
                let address = if register_offset { base | offset } else { base };
                single(target, address, register_offset)
            }
            _ if code & 0xffd0 == 0xfb90 => computing(Kind::Division, result),
            // From 0xfbc0 on they add to a register.
            _ if code & 0xff80 == 0xfb80 => Self {
                adds: if code & 0x0040 != 0 { target | result } else { 0 },
                ..computing(Kind::Multiplication { long: true }, target | result)
            },
            _ if code & 0xff80 == 0xfb00 => Self {
                adds: target & !(1 << 15),
                ..computing(Kind::Multiplication { long: false }, result)
            },
            _ if code & 0xf800 == 0xf000 && more & 0x8000 != 0 => {
                Self { kind: Kind::Branch, ..Self::NONE }
            }
            // Coprocessor instructions write no registers that others wait for.
            _ if code & 0xef00 == 0xee00 => Self::NONE,
            // MOVW and MOVT have a part of their immediate there.
            _ if code & 0xfb70 == 0xf240 => Self { writes: result, ..Self::NONE },
            _ if code & 0xf800 == 0xf000 => Self { writes: result, reads: base, ..Self::NONE },
            _ if code & 0xfe00 == 0xea00 => Self {
                shifts: if more & 0x70f0 == 0 { 0 } else { offset },
                ..computing(Kind::Processing, result)
            },
            _ => computing(Kind::Processing, result),
        }
    }
}
