//! Maps the model's slot into memory. The cache's MMU has an entry for each 64 KiB of addresses,
//! and the boot loader fills only those of the application.

use brooklet_parts::memory;

/// Number of bytes that an entry maps, as the boot loader configures it.
const PAGE: usize = 0x1_0000;

unsafe extern "C" {
    /// Stops the cache; the core must then run code from RAM. Returns the argument for
    /// [`Cache_Resume_ICache`]. In the chip's ROM.
    fn Cache_Suspend_ICache() -> u32;
    /// Resumes the cache. In the chip's ROM.
    fn Cache_Resume_ICache(before: u32);
    /// Invalidates the cache for these addresses. In the chip's ROM.
    fn Cache_Invalidate_Addr(address: u32, bytes: u32);
}

/// The bytes of the slot at `offset` in the flash chip, mapped to an address.
///
/// # Safety
///
/// Flash has `bytes` bytes at `offset`, and nothing writes to them. `offset` and `address` are
/// multiples of 64 KiB. The cache can map data at `address`, and nothing else uses it or the
/// addresses after it.
pub unsafe fn slot(offset: usize, address: usize, bytes: usize) -> &'static [u8] {
    // SAFETY: the contract is the same.
    unsafe { show(offset / PAGE, address, bytes.div_ceil(PAGE)) };
    // SAFETY: from now on the cache reads flash at these addresses, and nothing writes to it.
    unsafe { memory::slot(address, bytes) }
}

/// Maps pages of the flash to an address.
///
/// It runs from RAM and without interrupts, because flash cannot be read in the meantime.
///
/// # Safety
///
/// As for [`slot`].
#[esp_hal::ram]
unsafe fn show(page: usize, address: usize, pages: usize) {
    critical_section::with(|_| {
        // SAFETY: this code and its stack are in RAM, so that the cache is not needed until it
        // resumes.
        let before = unsafe { Cache_Suspend_ICache() };
        for at in 0..pages {
            // SAFETY: by the contract, nothing uses these entries.
            unsafe { write_entry((address + at * PAGE) as u32, (page + at) as u16) };
        }
        // SAFETY: as above; nothing uses the cache's contents for these addresses.
        unsafe {
            Cache_Invalidate_Addr(address as u32, (pages * PAGE) as u32);
            Cache_Resume_ICache(before);
        }
    });
}

/// Writes the entry of an address. There are 128 entries, which code and constants share.
///
/// # Safety
///
/// Nothing uses the addresses that it is of.
#[cfg(feature = "esp32c3")]
#[inline(always)]
unsafe fn write_entry(address: u32, page: u16) {
    let entry = (address & 0x7f_ffff) as usize / PAGE;
    let table = esp_hal::peripherals::MMU_TABLE::PTR.cast::<u32>();
    // SAFETY: the table has 128 words, and `entry` is below 128. A page without the bit above it is
    // a valid entry.
    unsafe { table.cast_mut().add(entry).write_volatile(u32::from(page & 0xff)) };
}

/// Writes the entry of an address. There are 256 entries, which are written through two registers.
///
/// # Safety
///
/// Nothing uses the addresses that it is of.
#[cfg(feature = "esp32c6")]
#[inline(always)]
unsafe fn write_entry(address: u32, page: u16) {
    const VALID: u32 = 1 << 9;
    let entry = (address & 0xff_ffff) / PAGE as u32;
    let flash = esp_hal::peripherals::SPI0::regs();
    // SAFETY: the entry exists, and the value is valid.
    unsafe {
        flash.mmu_item_index().write(|register| register.bits(entry));
        flash.mmu_item_content().write(|register| register.bits(u32::from(page & 0x1ff) | VALID));
    }
}
