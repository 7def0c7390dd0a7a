//! Output pins.

use core::convert::Infallible;

#[cfg(target_os = "none")]
use brooklet_app::Parts;
use embedded_hal::digital::{ErrorType, OutputPin};
use vcell::VolatileCell;

/// One bit of a register that can be read back, such as one for a board's LEDs.
pub struct Bit {
    register: &'static VolatileCell<u32>,
    mask: u32,
}

impl Bit {
    /// Bit `number` of `register`.
    pub fn new(register: &'static VolatileCell<u32>, number: u32) -> Self {
        Self { register, mask: 1 << number }
    }
}

impl ErrorType for Bit {
    type Error = Infallible;
}

impl OutputPin for Bit {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.register.set(self.register.get() & !self.mask);
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        self.register.set(self.register.get() | self.mask);
        Ok(())
    }
}

/// A pin with inverted levels, such as that of an LED connected to the supply.
#[derive(Debug)]
pub struct Inverted<P>(pub P);

impl<P: OutputPin> ErrorType for Inverted<P> {
    type Error = P::Error;
}

impl<P: OutputPin> OutputPin for Inverted<P> {
    fn set_low(&mut self) -> Result<(), P::Error> {
        self.0.set_high()
    }
    fn set_high(&mut self) -> Result<(), P::Error> {
        self.0.set_low()
    }
}

/// A pin without a connection, for emulated chips without pins. QEMU's `virt` has no GPIO at all,
/// its STM32F405 only has addresses that ignore writes, and those of its micro:bit and SiFive E
/// have no effect. Firmware for real silicon replaces it by the pin of a HAL.
#[derive(Debug)]
pub struct Unconnected;

impl ErrorType for Unconnected {
    type Error = Infallible;
}

impl OutputPin for Unconnected {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The parts of a board whose pins have no connection.
#[cfg(target_os = "none")]
pub fn unconnected<L, C>(link: L, counter: C) -> Parts<L, C, Unconnected, Unconnected> {
    let stack_bytes = crate::stack::high_water;
    Parts { link, counter, busy: Unconnected, status: Unconnected, stack_bytes }
}
