//! Halves of the model's slot, for models that arrive over the link: the flash of the Pico, which is
//! mapped into memory, and written by functions of the boot ROM.
//!
//! While flash is erased or written, nothing can be read from it. The code that does it is in RAM,
//! interrupts are off, and core 1 does not run.

use brooklet_app::updates::Slot;
use brooklet_parts::memory;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use rp2040_hal::rom_data;

use crate::BOOT2;

#[cfg(feature = "two-cores")]
compile_error!("`updates` and `two-cores` exclude each other: core 1 reads flash at any time");

/// Where flash begins in memory.
const FLASH: usize = 0x1000_0000;

/// The unit in which the boot ROM writes. Flash that is written with ones keeps its value, so that
/// parts of a page can be written one by one.
const PAGE: usize = 256;

/// The unit in which the boot ROM erases.
const SECTOR: usize = 4096;

/// What happens to flash while it is not mapped.
enum Change<'p> {
    /// A sector is erased.
    Erase,
    /// A page is written.
    Program(&'p [u8; PAGE]),
}

/// The second stage of the boot loader, as it is called from RAM.
#[repr(align(4))]
struct Boot2([u8; 256]);

/// The functions that change flash, all outside of flash (RP2040 datasheet, section 2.8.3.1.3).
struct Functions {
    connect: unsafe extern "C" fn(),
    unmap: unsafe extern "C" fn(),
    erase: unsafe extern "C" fn(u32, usize, u32, u8),
    program: unsafe extern "C" fn(u32, *const u8, usize),
    flush: unsafe extern "C" fn(),
    map: extern "C" fn(),
}

/// Changes the sector or page at an offset from the beginning of flash.
///
/// # Safety
///
/// `offset` is that of a whole sector or page of flash. Nothing refers to its bytes, and core 1 and
/// DMA do not read flash.
unsafe fn change(offset: u32, change: &Change<'_>) {
    let boot2 = Boot2(BOOT2);
    // The lowest bit is that of Thumb code.
    let entry = boot2.0.as_ptr().expose_provenance() | 1;
    let functions = Functions {
        connect: rom_data::connect_internal_flash::ptr(),
        unmap: rom_data::flash_exit_xip::ptr(),
        erase: rom_data::flash_range_erase::ptr(),
        program: rom_data::flash_range_program::ptr(),
        flush: rom_data::flash_flush_cache::ptr(),
        // SAFETY: the second stage of the boot loader is a function without arguments that is made
        // to run from any place in RAM. It returns if it was called with an address to return to.
        map: unsafe { core::mem::transmute::<usize, extern "C" fn()>(entry) },
    };
    critical_section::with(|_| {
        // SAFETY: interrupts are off. The rest is this function's contract, and the functions are
        // those of the boot ROM, and a copy of the boot loader that lives until the end.
        unsafe { change_unmapped(offset, change, &functions) }
    });
}

/// [`change`], from RAM. It calls nothing else, so nothing of this is in flash.
///
/// # Safety
///
/// As for [`change`]. Interrupts are off, and the functions are those that their names say.
#[inline(never)]
#[unsafe(link_section = ".data.half")]
unsafe fn change_unmapped(offset: u32, change: &Change<'_>, functions: &Functions) {
    // SAFETY: this is the sequence that the datasheet gives. Interrupts are off and nothing else reads
    // flash, by this function's contract. This code, its stack, and `change` are in RAM.
    unsafe {
        (functions.connect)();
        (functions.unmap)();
        match change {
            // The second unit, for large ranges, is not used.
            Change::Erase => (functions.erase)(offset, SECTOR, 1 << 31, 0),
            Change::Program(page) => (functions.program)(offset, page.as_ptr(), PAGE),
        }
        (functions.flush)();
        (functions.map)();
    }
}

/// A part of the flash that is only used through this value.
pub(crate) struct Half {
    address: usize,
    bytes: usize,
}

impl Half {
    /// The two halves of the flash from `address` on, which has `bytes` bytes.
    ///
    /// # Safety
    ///
    /// These addresses are whole sectors of flash, mapped into memory. Nothing else reads or writes
    /// them, and this is called once.
    pub(crate) unsafe fn both(address: usize, bytes: usize) -> [Self; 2] {
        let half = bytes / 2 / SECTOR * SECTOR;
        [address, address + half].map(|address| Self { address, bytes: half })
    }

    /// The offset from the beginning of flash, as the boot ROM counts.
    fn offset(&self, offset: u32) -> u32 {
        (self.address - FLASH) as u32 + offset
    }
}

impl Slot for Half {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `both` made this value, and its caller established that the flash is mapped and
        // only used through this value. `erase` and `write` borrow it mutably, so nothing changes the
        // bytes while they are borrowed from here.
        unsafe { memory::slot(self.address, self.bytes) }
    }
}

impl ErrorType for Half {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Half {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let from = self.bytes().get(offset as usize..).unwrap_or(&[]);
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl NorFlash for Half {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        // One sector at a time, so that interrupts are off for one sector only.
        for sector in (from..to).step_by(SECTOR) {
            // SAFETY: `check_erase` has found whole sectors inside this half, which nothing else
            // uses and which is borrowed mutably. Core 1 was never started (the features exclude each
            // other), and this firmware uses no DMA.
            unsafe { change(self.offset(sector), &Change::Erase) };
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let begin = at % PAGE;
            let (part, after) = rest.split_at(rest.len().min(PAGE - begin));
            let mut page = [0xff; PAGE];
            page.iter_mut().skip(begin).zip(part).for_each(|(to, from)| *to = *from);
            // SAFETY: `check_write` has found the bytes inside this half, which consists of whole
            // pages. The rest is as for `erase`.
            unsafe { change(self.offset((at - begin) as u32), &Change::Program(&page)) };
            at += part.len();
            rest = after;
        }
        Ok(())
    }
}
