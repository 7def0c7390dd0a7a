//! Noise instead of images.

/// A splitmix64 generator: the same bytes for the same seed, everywhere.
pub(super) struct Noise {
    state: u64,
}

impl Noise {
    /// A generator with this seed.
    pub(super) fn new(seed: u64) -> Noise {
        Noise { state: seed.wrapping_mul(0xd134_2543_de82_ef95) }
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> u8 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 56) as u8
    }
}
