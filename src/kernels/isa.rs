//! The instruction sets that have kernels: one table for backends, tools and chores.

use crate::format::Packing;
use crate::ops::conv::PATCH_COLUMNS;
use crate::proved::proved;

/// An instruction set, and what its kernels require of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    /// Its name in options and reports.
    pub name: &'static str,
    /// Examples of cores that have it.
    pub cores: &'static str,
    /// The packings that its kernels run. The first runs kernels and strides of any kind, in bytes
    /// or in [four bits](Packing::unpacked), and takes the least flash. The others take more flash
    /// and fewer instructions.
    pub packings: &'static [Packing],
    /// Number of output columns for which a direct convolution loads a weight once.
    pub columns: usize,
    /// The address of a model file must be a multiple of this, because kernels load whole words.
    pub align: usize,
    /// The crate's feature with the kernels; `None` if they are always built.
    pub feature: Option<&'static str>,
    /// A Rust target for proofs and measurements; `None` if the kernels are for the simulator.
    pub target: Option<&'static str>,
}

use Packing::{
    Eights, Hwio, HwioTall, HwioTiles, Ohwi, Pairs, Vectors, WidePairs, Winograd, WinogradInt8,
    WinogradInt8Tall,
};

/// Alignment for kernels that load words.
const WORDS: usize = align_of::<u32>();

impl Isa {
    /// The naive definition of all kernels.
    pub const REFERENCE: Self = Self {
        name: "reference",
        cores: "any core: the definition",
        packings: &Packing::ALL,
        columns: PATCH_COLUMNS,
        align: 1,
        feature: None,
        target: None,
    };
    /// Safe Rust.
    pub const PORTABLE: Self = Self {
        name: "portable",
        cores: "any core",
        packings: &[Ohwi, Winograd, WinogradInt8, WinogradInt8Tall],
        columns: PATCH_COLUMNS,
        align: 1,
        feature: None,
        target: Some("thumbv7em-none-eabihf"),
    };
    /// Armv6-M.
    pub const ARMV6M: Self = Self {
        name: "armv6m",
        cores: "Cortex-M0, M0+",
        packings: &[Eights, Winograd, WinogradInt8, WinogradInt8Tall],
        columns: PATCH_COLUMNS,
        align: WORDS,
        feature: Some("armv6m"),
        target: Some("thumbv6m-none-eabi"),
    };
    /// Armv7-M.
    pub const ARMV7M: Self = Self {
        name: "armv7m",
        cores: "Cortex-M3, and M33 without DSP instructions",
        packings: &[Eights, Winograd, WinogradInt8, WinogradInt8Tall],
        columns: PATCH_COLUMNS,
        align: WORDS,
        feature: Some("armv7m"),
        target: Some("thumbv7m-none-eabi"),
    };
    /// Armv7E-M, and Armv8-M with the same DSP instructions.
    pub const ARMV7EM: Self = Self {
        name: "armv7em",
        cores: "Cortex-M4, M7, M33: with DSP instructions",
        packings: &[Pairs, WidePairs, Winograd, WinogradInt8, WinogradInt8Tall],
        columns: PATCH_COLUMNS,
        align: WORDS,
        feature: Some("armv7em"),
        target: Some("thumbv7em-none-eabihf"),
    };
    /// Armv8.1-M with Helium.
    pub const HELIUM: Self = Self {
        name: "helium",
        cores: "Cortex-M55, M85: with vector instructions",
        packings: &[Vectors],
        columns: PATCH_COLUMNS,
        align: 1,
        feature: Some("helium"),
        target: Some("thumbv8m.main-none-eabihf"),
    };
    /// RV32IM.
    pub const RV32: Self = Self {
        name: "rv32",
        cores: "RV32IMC, RV32IMAC",
        packings: &[Eights, Winograd, WinogradInt8, WinogradInt8Tall],
        columns: 2 * PATCH_COLUMNS,
        align: WORDS,
        feature: Some("rv32"),
        target: Some("riscv32imac-unknown-none-elf"),
    };
    /// RV32IM with V.
    pub const RVV: Self = Self {
        name: "rvv",
        cores: "RV32IM with V: vector instructions",
        packings: &[Hwio, HwioTiles, HwioTall],
        columns: PATCH_COLUMNS,
        align: WORDS,
        feature: Some("rvv"),
        target: Some("riscv32imac-unknown-none-elf"),
    };
    /// x86-64 with AVX2.
    pub const AVX2: Self = Self { name: "avx2", ..Self::SIMULATOR };
    /// x86-64 with AVX-512 VNNI.
    pub const AVX512_VNNI: Self = Self { name: "avx512-vnni", ..Self::SIMULATOR };
    const SIMULATOR: Self = Self {
        cores: "x86-64, the simulator: if the core at hand has the instructions",
        feature: Some("x86_64"),
        ..Self::REFERENCE
    };

    /// The instruction sets of devices.
    pub const DEVICES: [Self; 7] = [
        Self::PORTABLE,
        Self::ARMV6M,
        Self::ARMV7M,
        Self::ARMV7EM,
        Self::HELIUM,
        Self::RV32,
        Self::RVV,
    ];

    /// The instruction set of a device with this name.
    ///
    /// ```
    /// use brooklet::format::Packing;
    /// use brooklet::kernels::Isa;
    ///
    /// let isa = Isa::of_device("armv7em").unwrap();
    /// assert_eq!((isa.packing(), isa.target), (Packing::Pairs, Some("thumbv7em-none-eabihf")));
    /// assert!(Isa::of_device("arm").is_none());
    /// ```
    pub fn of_device(name: &str) -> Option<Self> {
        Self::DEVICES.into_iter().find(|isa| isa.name == name)
    }

    /// The packing for kernels and strides of any kind.
    #[inline]
    pub fn packing(&self) -> Packing {
        proved!(self.packings.first()).copied().unwrap_or(Ohwi)
    }

    /// Whether its kernels run this packing.
    #[inline]
    pub fn runs(&self, packing: Packing) -> bool {
        let in_bytes = packing.unpacked();
        self.packings.contains(&packing)
            || in_bytes.is_some_and(|packing| packing == self.packing())
    }

    /// [`runs`](Self::runs) for the packing with this number.
    pub(crate) const fn runs_number(&self, number: u8) -> bool {
        let mut i = 0;
        while i < self.packings.len() {
            if self.packings[i] as u8 == number {
                return true;
            }
            i += 1;
        }
        match Packing::from_number(number) {
            Some(packing) => match packing.unpacked() {
                Some(packing) => packing as u8 == self.packings[0] as u8,
                None => false,
            },
            None => false,
        }
    }

    /// Whether it runs packings whose [steps make several rows](Packing::rows_a_step).
    pub const fn makes_several_rows(&self) -> bool {
        let mut i = 0;
        while i < self.packings.len() {
            if self.packings[i].rows_a_step() > 1 {
                return true;
            }
            i += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    #[test]
    fn the_table_of_backends_says_the_same() {
        let page = include_str!("mod.rs");
        for isa in Isa::DEVICES {
            let names: Vec<String> =
                isa.packings.iter().map(|packing| format!("`{}`", packing.name())).collect();
            let cells = [isa.cores.to_string(), names.join(", ")];
            let row = format!("| {} | {} |", cells[0], cells[1]);
            assert!(page.contains(&row), "kernels/mod.rs has no row with {row}");
        }
    }

    #[test]
    fn names_are_found() {
        for isa in Isa::DEVICES {
            assert_eq!(Isa::of_device(isa.name), Some(isa));
            assert!(isa.target.is_some() && isa.runs(isa.packing()));
        }
        assert_eq!(Isa::of_device("reference"), None);
    }
}
