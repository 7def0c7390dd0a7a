//! Drivers that the crates of several boards share.
//!
//! - [`uart`]: chips' serial ports, polled, as embedded-io
//! - [`pin`]: pins as embedded-hal
//! - `systick`, `minstret`: the instruction counters of Arm and RISC-V under QEMU
//! - `mcycle`: the cycle counter of RISC-V chips
//! - [`stack`]: the stack's high-water mark
//! - `spi_flash`: a flash chip at SiFive's SPI controller, as embedded-storage
//! - [`memory`]: the application's RAM, and the model's slot
//! - `mps`, `virt`: what Arm's MPS boards, and QEMU's RISC-V machines, have in common
//!
//! Registers are `VolatileCell`s in structures with the layout of the chip's manual. A driver
//! borrows its structure, so drivers are safe code. Only a board's start-up code turns an address
//! into such a borrow, and has to justify it there.
#![no_std]

#[cfg(target_arch = "riscv32")]
pub mod mcycle;
pub mod memory;
#[cfg(target_arch = "riscv32")]
pub mod minstret;
#[cfg(target_arch = "arm")]
pub mod mps;
pub mod pin;
#[cfg(feature = "weights-window")]
pub mod spi_flash;
#[cfg(target_os = "none")]
pub mod stack;
#[cfg(target_arch = "arm")]
pub mod systick;
pub mod uart;
#[cfg(target_arch = "riscv32")]
pub mod virt;

/// After a panic the firmware stops; the host's next request times out and says so. The core never
/// gets here (`boards/no-panic` is the proof), and the application should not.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "defmt")]
    defmt::error!("{}", defmt::Display2Format(info));
    let _ = info;
    loop {
        core::hint::spin_loop();
    }
}
