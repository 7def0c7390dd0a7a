//! The model's slot, shown in memory: the cache's MMU has an entry for each 64 KiB of addresses, and the boot
//! loader fills those of the application only.

use brooklet_parts::memory;

/// Bytes of an entry, which the boot loader leaves at this.
const PAGE: usize = 0x1_0000;

unsafe extern "C" {
    /// Stops the cache, which has to run code from RAM then. Returns how [`Cache_Resume_ICache`] finds
    /// it. In the chip's ROM.
    fn Cache_Suspend_ICache() -> u32;
    /// Has it go on. Likewise.
    fn Cache_Resume_ICache(before: u32);
    /// Has it forget what it had of these addresses. Likewise.
    fn Cache_Invalidate_Addr(address: u32, bytes: u32);
}

/// The bytes of a slot that is `offset` bytes into the flash chip, shown at an address.
///
/// # Safety
///
/// Flash has `bytes` bytes at `offset`, to which nothing writes; both this and `address` are multiples of
/// 64 KiB. The address is one at which the cache shows data, and nothing else is at it and behind.
pub unsafe fn slot(offset: usize, address: usize, bytes: usize) -> &'static [u8] {
    // SAFETY: the same contract.
    unsafe { show(offset / PAGE, address, bytes.div_ceil(PAGE)) };
    // SAFETY: from now on the cache reads flash at these addresses, and nothing writes to it.
    unsafe { memory::slot(address, bytes) }
}

/// Shows pages of the flash at an address.
///
/// In RAM, and without interrupts, as nothing can be read from flash meanwhile.
///
/// # Safety
///
/// That of [`slot`].
#[esp_hal::ram]
unsafe fn show(page: usize, address: usize, pages: usize) {
    critical_section::with(|_| {
        // SAFETY: this code and its stack are in RAM, so that the cache is not needed until it goes on.
        let before = unsafe { Cache_Suspend_ICache() };
        for at in 0..pages {
            // SAFETY: by the contract nothing uses these entries.
            unsafe { write_entry((address + at * PAGE) as u32, (page + at) as u16) };
        }
        // SAFETY: as above; what the cache has of these addresses is of no use to anybody.
        unsafe {
            Cache_Invalidate_Addr(address as u32, (pages * PAGE) as u32);
            Cache_Resume_ICache(before);
        }
    });
}

/// Writes the entry of an address: of 128, which code and constants share.
///
/// # Safety
///
/// Nothing uses the addresses that it is of.
#[cfg(feature = "esp32c3")]
#[inline(always)]
unsafe fn write_entry(address: u32, page: u16) {
    let entry = (address & 0x7f_ffff) as usize / PAGE;
    let table = esp_hal::peripherals::MMU_TABLE::PTR.cast::<u32>();
    // SAFETY: the table has 128 words, and `entry` is below. A page without the bit behind it is a valid
    // entry.
    unsafe { table.cast_mut().add(entry).write_volatile(u32::from(page & 0xff)) };
}

/// Writes the entry of an address: of 256, one after the other by two registers.
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
    // SAFETY: an entry that there is, and a valid value of it.
    unsafe {
        flash.mmu_item_index().write(|register| register.bits(entry));
        flash.mmu_item_content().write(|register| register.bits(u32::from(page & 0x1ff) | VALID));
    }
}
