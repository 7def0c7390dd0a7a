//! UART 0: an interrupt reads received bytes from it.

use core::cell::RefCell;
use core::convert::Infallible;

use brooklet_app::line::{Bad, Inlet};
use critical_section::Mutex;
use embedded_io::{ErrorType, Write};
use esp_hal::Blocking;
use esp_hal::gpio::AnyPin;
use esp_hal::peripherals::UART0;
use esp_hal::uart::{Config, RxConfig, RxError, RxErrorKind, Uart, UartInterrupt};

/// Number of bytes in the UART that raises the interrupt; there is room for 128.
const ALARM: u16 = 32;

/// The pins of the serial port.
#[derive(Debug)]
pub(crate) struct Wires {
    /// From the chip to the host.
    pub(crate) to_host: AnyPin<'static>,
    /// From the host to the chip.
    pub(crate) from_host: AnyPin<'static>,
}

/// The data of the interrupt: the UART, and the destination of its bytes.
struct Port {
    uart: Uart<'static, Blocking>,
    inlet: Inlet<'static>,
}

static PORT: Mutex<RefCell<Option<Port>>> = Mutex::new(RefCell::new(None));

/// Starts to receive.
pub(crate) fn receive(uart: UART0<'static>, wires: Wires, baud: u32, inlet: Inlet<'static>) {
    let errors = RxErrorKind::FifoOverflowed | RxErrorKind::FrameFormatViolated;
    let receiver = RxConfig::default().with_fifo_full_threshold(ALARM).with_reported_errors(errors);
    let config = Config::default().with_baudrate(baud).with_rx(receiver);
    let Ok(uart) = Uart::new(uart, config) else { unreachable!("a usual rate") };
    let mut uart = uart.with_tx(wires.to_host).with_rx(wires.from_host);
    uart.set_interrupt_handler(on_bytes);
    critical_section::with(|token| {
        // The boot loader has sent bytes, and may have received some.
        uart.clear_interrupts(UartInterrupt::RxFifoFull | UartInterrupt::RxTimeout);
        uart.listen(UartInterrupt::RxFifoFull | UartInterrupt::RxTimeout);
        PORT.borrow_ref_mut(token).replace(Port { uart, inlet });
    });
}

#[esp_hal::handler]
fn on_bytes() {
    critical_section::with(|token| {
        let mut port = PORT.borrow_ref_mut(token);
        let Some(Port { uart, inlet }) = port.as_mut() else { return };
        let mut bytes = [0; ALARM as usize];
        loop {
            match uart.read_buffered(&mut bytes) {
                Ok(0) => break,
                Ok(count) => bytes.iter().take(count).for_each(|&byte| inlet.receive(byte)),
                Err(RxError::FifoOverflowed) => inlet.note(Bad::Overrun),
                Err(_) => inlet.note(Bad::Framing),
            }
        }
        uart.clear_interrupts(UartInterrupt::RxFifoFull | UartInterrupt::RxTimeout);
    });
}

/// The sending half.
#[derive(Debug)]
pub struct Sender;

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        loop {
            // Interrupts are blocked only while the UART is filled, not while it is full.
            let written = critical_section::with(|token| {
                let mut port = PORT.borrow_ref_mut(token);
                let uart =
                    port.as_mut().map(|port| &mut port.uart).filter(|uart| uart.write_ready())?;
                uart.write(bytes).ok()
            });
            match written {
                Some(count) => return Ok(count),
                None => core::hint::spin_loop(),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
