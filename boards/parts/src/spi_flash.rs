//! A flash chip at the SPI controller of SiFive's chips, read with its command for 32-bit
//! addresses.
//!
//! The controller has a queue of eight bytes in each direction. Registers: SiFive FU540-C000
//! manual, chapter SPI. Command: JEDEC's 4-byte read, as in ISSI's IS25WP256.

use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash, check_read};
use vcell::VolatileCell;

/// The controller.
#[repr(C)]
pub struct SiFive {
    divider: VolatileCell<u32>,
    clock_mode: VolatileCell<u32>,
    _reserved: [u32; 2],
    chip: VolatileCell<u32>,
    chip_levels: VolatileCell<u32>,
    chip_mode: VolatileCell<u32>,
    _reserved_and_delays: [u32; 9],
    format: VolatileCell<u32>,
    _reserved_1: u32,
    send: VolatileCell<u32>,
    receive: VolatileCell<u32>,
    send_level: VolatileCell<u32>,
    receive_level: VolatileCell<u32>,
    _reserved_2: [u32; 2],
    mapped: VolatileCell<u32>,
}

// Offsets from the manual.
const _: () = {
    assert!(core::mem::offset_of!(SiFive, chip_mode) == 0x18);
    assert!(core::mem::offset_of!(SiFive, format) == 0x40);
    assert!(core::mem::offset_of!(SiFive, send) == 0x48);
    assert!(core::mem::offset_of!(SiFive, mapped) == 0x60);
};

/// The chip is selected only while frames are sent.
const AUTO: u32 = 0;
/// The chip stays selected.
const HOLD: u32 = 2;
/// Eight bits for each frame, one wire in each direction, the most significant bit first; received
/// bytes are kept.
const FRAME: u32 = 8 << 16;
/// The queue is full (sending) or empty (receiving).
const NOT_NOW: u32 = 1 << 31;
/// Number of frames that a queue holds.
const QUEUE: usize = 8;
/// Read from an address of four bytes.
const READ: u8 = 0x13;

/// A flash chip at the controller.
pub struct SpiFlash {
    port: &'static SiFive,
    bytes: usize,
}

impl SiFive {
    /// The chip with `bytes` bytes, at half the controller's clock divided by `divider` + 1.
    pub fn flash(&'static self, divider: u32, bytes: usize) -> SpiFlash {
        // No longer mapped into memory: commands are sent explicitly.
        self.mapped.set(0);
        self.divider.set(divider);
        self.clock_mode.set(0);
        self.chip.set(0);
        self.chip_mode.set(AUTO);
        self.format.set(FRAME);
        SpiFlash { port: self, bytes }
    }

    fn send(&self, byte: u8) {
        while self.send.get() & NOT_NOW != 0 {}
        self.send.set(byte.into());
    }

    fn receive(&self) -> u8 {
        loop {
            let received = self.receive.get();
            if received & NOT_NOW == 0 {
                return received as u8;
            }
        }
    }
}

impl ErrorType for SpiFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for SpiFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let port = self.port;
        port.chip_mode.set(HOLD);
        let [a, b, c, d] = offset.to_be_bytes();
        for byte in [READ, a, b, c, d] {
            port.send(byte);
            port.receive();
        }
        for bytes in bytes.chunks_mut(QUEUE) {
            bytes.iter().for_each(|_| port.send(0));
            bytes.iter_mut().for_each(|byte| *byte = port.receive());
        }
        port.chip_mode.set(AUTO);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}
