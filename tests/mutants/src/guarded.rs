//! Memory between pages that cannot be accessed.

#![allow(unsafe_code)]

use region::{Allocation, Protection};

/// Bytes with a page before and a page after them; accessing these pages ends the program.
pub struct Guarded {
    pages: Allocation,
    page: usize,
    bytes: usize,
}

impl Guarded {
    /// At least `bytes` bytes, in whole pages, all zero.
    ///
    /// # Panics
    ///
    /// If the system has no such memory.
    pub fn new(bytes: usize) -> Self {
        let page = region::page::size();
        let bytes = bytes.max(1).next_multiple_of(page);
        let mut pages = region::alloc(page + bytes + page, Protection::NONE)
            .expect("the system has memory for a test");
        let start = pages.as_mut_ptr::<u8>().wrapping_add(page);
        // SAFETY: these pages belong to an allocation that nothing else refers to, so making them
        // readable and writable breaks no assumption.
        unsafe { region::protect(start, bytes, Protection::READ_WRITE) }
            .expect("own pages can be made readable");
        Self { pages, page, bytes }
    }

    /// The bytes between the guards.
    pub fn bytes(&mut self) -> &mut [u8] {
        let start = self.pages.as_mut_ptr::<u8>().wrapping_add(self.page);
        // SAFETY: `start` and the `bytes` bytes after it lie inside one allocation, which lives as
        // long as `self`. They were made readable and writable when it was made, and a fresh
        // mapping holds zeros. The borrow of `self` is exclusive, and so is that of the bytes.
        unsafe { std::slice::from_raw_parts_mut(start, self.bytes) }
    }
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_can_be_used_and_those_around_cannot() {
        let mut guarded = Guarded::new(5000);
        let bytes = guarded.bytes();
        assert!(bytes.len() >= 5000 && bytes.iter().all(|&byte| byte == 0));
        bytes.fill(7);
        let ends = bytes.as_ptr_range();
        for outside in [ends.start.wrapping_sub(1), ends.end] {
            let protection = region::query(outside).expect("the page is there").protection();
            assert_eq!(protection, Protection::NONE);
        }
    }
}
