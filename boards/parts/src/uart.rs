//! Serial ports, polled.
//!
//! Each chip's port implements [`Port`], three one-line queries of its registers; [`Polled`]
//! provides embedded-io for any of them.

use core::convert::Infallible;

use brooklet_app::LineErrors;
use brooklet_app::line::Line;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use vcell::VolatileCell;

/// A serial port that holds one byte in each direction.
pub trait Port {
    /// Whether a byte has been received.
    fn received(&self) -> bool;
    /// The byte that was received; meaningless if there is none.
    fn take(&self) -> u8;
    /// Whether a byte can be sent now.
    fn can_send(&self) -> bool;
    /// Sends a byte. It may be called only if [`can_send`](Self::can_send) is true.
    fn send(&self, byte: u8);
}

/// A line over a [`Port`] that waits for its reader, as QEMU's ports do: it delivers a byte when
/// the previous one has been taken. A chip's port would lose it; see [`brooklet_app::line::Ring`].
#[derive(Debug)]
pub struct Polled<P>(pub P);

impl<P> ErrorType for Polled<P> {
    type Error = Infallible;
}

impl<P: Port> ReadReady for Polled<P> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.received())
    }
}

impl<P: Port> Read for Polled<P> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        while !self.0.received() {}
        *first = self.0.take();
        Ok(1)
    }
}

impl<P: Port> Write for Polled<P> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(&first) = bytes.first() else { return Ok(0) };
        while !self.0.can_send() {}
        self.0.send(first);
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while !self.0.can_send() {}
        Ok(())
    }
}

impl<P: Port> Line for Polled<P> {
    const KEEPS: usize = usize::MAX;

    fn errors(&self) -> LineErrors {
        LineErrors::default()
    }
}

/// The UART of Arm's CMSDK, as on the MPS2 boards.
#[repr(C)]
pub struct Cmsdk {
    data: VolatileCell<u32>,
    state: VolatileCell<u32>,
    control: VolatileCell<u32>,
    interrupt: VolatileCell<u32>,
    divider: VolatileCell<u32>,
}

impl Cmsdk {
    /// Switches both directions on, at 115,200 baud with a clock of `clock_hz`.
    pub fn enable(&'static self, clock_hz: u32) -> Polled<&'static Self> {
        self.divider.set(clock_hz / 115_200);
        self.control.set(0b11);
        Polled(self)
    }
}

impl Port for &Cmsdk {
    fn received(&self) -> bool {
        self.state.get() & 0b10 != 0
    }
    fn take(&self) -> u8 {
        self.data.get() as u8
    }
    fn can_send(&self) -> bool {
        self.state.get() & 0b01 == 0
    }
    fn send(&self, byte: u8) {
        self.data.set(byte.into());
    }
}

/// The USART of the STM32F4.
#[repr(C)]
pub struct Stm32f4 {
    status: VolatileCell<u32>,
    data: VolatileCell<u32>,
    baud: VolatileCell<u32>,
    control1: VolatileCell<u32>,
}

impl Stm32f4 {
    /// Switches both directions on, at 115,200 baud with a bus at `bus_hz`. The board must set the
    /// port's clock and the function of its pins.
    pub fn enable(&'static self, bus_hz: u32) -> Polled<&'static Self> {
        self.baud.set(bus_hz / 115_200);
        // Port on (13), transmitter (3), receiver (2).
        self.control1.set(1 << 13 | 1 << 3 | 1 << 2);
        Polled(self)
    }
}

impl Port for &Stm32f4 {
    fn received(&self) -> bool {
        self.status.get() & 1 << 5 != 0
    }
    fn take(&self) -> u8 {
        self.data.get() as u8
    }
    fn can_send(&self) -> bool {
        self.status.get() & 1 << 7 != 0
    }
    fn send(&self, byte: u8) {
        self.data.set(byte.into());
    }
}

/// The 16550, as on QEMU's RISC-V machine: registers are bytes, one after the other.
#[repr(C)]
pub struct Ns16550 {
    data: VolatileCell<u8>,
    interrupt: VolatileCell<u8>,
    fifo: VolatileCell<u8>,
    line_control: VolatileCell<u8>,
    modem_control: VolatileCell<u8>,
    line_status: VolatileCell<u8>,
}

impl Ns16550 {
    /// Eight bits, no parity, FIFOs on. The emulated port has no baud rate.
    pub fn enable(&'static self) -> Polled<&'static Self> {
        self.line_control.set(0b11);
        self.fifo.set(1);
        Polled(self)
    }
}

impl Port for &Ns16550 {
    fn received(&self) -> bool {
        self.line_status.get() & 1 != 0
    }
    fn take(&self) -> u8 {
        self.data.get()
    }
    fn can_send(&self) -> bool {
        self.line_status.get() & 1 << 5 != 0
    }
    fn send(&self, byte: u8) {
        self.data.set(byte);
    }
}

/// The UART of the nRF51: tasks and events are words at fixed addresses.
#[repr(C)]
pub struct Nrf51 {
    start_receiving: VolatileCell<u32>,
    stop_receiving: VolatileCell<u32>,
    start_sending: VolatileCell<u32>,
    _tasks: [u32; 63],
    received: VolatileCell<u32>,
    _events: [u32; 4],
    sent: VolatileCell<u32>,
    _interrupts: [u32; 248],
    enable: VolatileCell<u32>,
    _pins: [u32; 5],
    receive: VolatileCell<u32>,
    send: VolatileCell<u32>,
    _reserved: u32,
    baud: VolatileCell<u32>,
}

// Offsets from the reference manual, chapter UART.
const _: () = {
    assert!(core::mem::offset_of!(Nrf51, received) == 0x108);
    assert!(core::mem::offset_of!(Nrf51, sent) == 0x11c);
    assert!(core::mem::offset_of!(Nrf51, enable) == 0x500);
    assert!(core::mem::offset_of!(Nrf51, receive) == 0x518);
    assert!(core::mem::offset_of!(Nrf51, baud) == 0x524);
};

impl Nrf51 {
    /// Switches both directions on, at 115,200 baud. The board must set the function of its pins.
    pub fn enable(&'static self) -> Polled<&'static Self> {
        self.baud.set(0x01d7_e000);
        self.enable.set(4);
        self.start_receiving.set(1);
        self.start_sending.set(1);
        // The event "sent" belongs to the previous byte. Nothing was sent yet, so it is set here.
        self.sent.set(1);
        Polled(self)
    }
}

impl Port for &Nrf51 {
    fn received(&self) -> bool {
        self.received.get() != 0
    }
    fn take(&self) -> u8 {
        // Cleared first: if another byte is waiting, reading this one raises the event again.
        self.received.set(0);
        self.receive.get() as u8
    }
    fn can_send(&self) -> bool {
        self.sent.get() != 0
    }
    fn send(&self, byte: u8) {
        self.sent.set(0);
        self.send.set(byte.into());
    }
}

/// The UART of SiFive's chips.
#[repr(C)]
pub struct SiFive {
    send: VolatileCell<u32>,
    receive: VolatileCell<u32>,
    send_control: VolatileCell<u32>,
    receive_control: VolatileCell<u32>,
    interrupt_enable: VolatileCell<u32>,
    interrupt_pending: VolatileCell<u32>,
    divider: VolatileCell<u32>,
}

impl SiFive {
    /// Switches both directions on, at 115,200 baud with a clock of `clock_hz`.
    pub fn enable(&'static self, clock_hz: u32) -> Polled<&'static Self> {
        self.divider.set(clock_hz / 115_200 - 1);
        self.send_control.set(1);
        // "Pending" means more bytes than the level in bits 16 to 18, which is zero.
        self.receive_control.set(1);
        Polled(self)
    }
}

impl Port for &SiFive {
    fn received(&self) -> bool {
        self.interrupt_pending.get() & 0b10 != 0
    }
    fn take(&self) -> u8 {
        self.receive.get() as u8
    }
    fn can_send(&self) -> bool {
        self.send.get() & 1 << 31 == 0
    }
    fn send(&self, byte: u8) {
        self.send.set(byte.into());
    }
}
