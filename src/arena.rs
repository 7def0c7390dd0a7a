//! Memory for rows.

/// Alignment of an arena, and of rows and scratch memory in it, in bytes.
pub const ARENA_ALIGN: usize = 16;

/// `N` bytes for the rows of a network, with the right alignment.
///
/// ```
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// // The size is read from the model file when the firmware is compiled.
/// let mut arena = brooklet::Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
/// # let _ = &mut arena;
/// ```
#[derive(Debug, Clone)]
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// An arena of zeros.
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> AsMut<[u8]> for Arena<N> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> core::ops::Deref for Arena<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> core::ops::DerefMut for Arena<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
