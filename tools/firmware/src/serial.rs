//! Serial ports: lists and identifies them, and opens links over them.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use board_build::Spec;
use serialport::SerialPortType;

use crate::{FirmwareError, Link};

/// A serial port of this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The system's name for it.
    pub name: String,
    /// Its USB device, if it has one.
    pub usb: Option<Usb>,
}

/// The properties that a USB device reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usb {
    /// Vendor and product ids.
    pub id: (u16, u16),
    /// Its serial number.
    pub serial_number: Option<String>,
    /// Name of the product.
    pub product: Option<String>,
}

/// All ports; empty if they cannot be listed.
pub fn ports() -> Vec<Port> {
    let ports = serialport::available_ports().unwrap_or_default();
    let port = |port: serialport::SerialPortInfo| {
        let usb = match port.port_type {
            SerialPortType::UsbPort(usb) => Some(Usb {
                id: (usb.vid, usb.pid),
                serial_number: usb.serial_number,
                product: usb.product,
            }),
            _ => None,
        };
        Port { name: port.port_name, usb }
    };
    ports.into_iter().map(port).collect()
}

/// The port of a board: that of the probe with this USB serial number, if it is known; otherwise
/// the only port of a USB device.
pub fn port_of(
    board: &str,
    ports: &[Port],
    serial_number: Option<&str>,
) -> Result<String, FirmwareError> {
    let usb: Vec<(&Port, &Usb)> =
        ports.iter().filter_map(|port| port.usb.as_ref().map(|usb| (port, usb))).collect();
    let fault = |reason: String| Err(FirmwareError::NoPort { board: board.to_owned(), reason });
    let known = usb.iter().map(|(port, usb)| match &usb.product {
        Some(product) => format!("{} ({product})", port.name),
        None => port.name.clone(),
    });
    let known = known.collect::<Vec<_>>().join(", ");
    if let Some(number) = serial_number {
        // Serial numbers of USB devices differ in case and leading zeros from those that debuggers
        // print.
        let same = |usb: &Usb| {
            let plain = |text: &str| text.trim_start_matches('0').to_ascii_uppercase();
            usb.serial_number.as_deref().is_some_and(|found| plain(found) == plain(number))
        };
        // If a probe has several ports, the first is connected to the target.
        if let Some((port, _)) = usb.iter().find(|(_, usb)| same(usb)) {
            return Ok(port.name.clone());
        }
        if usb.len() != 1 {
            return fault(format!("the probe {number} has no serial port; the ports are: {known}"));
        }
    }
    match usb[..] {
        [] => fault("there is no serial port of a USB device".to_owned()),
        [(port, _)] => Ok(port.name.clone()),
        _ => fault(format!("there are several serial ports: {known}")),
    }
}

/// Time that a port waits for a byte before it checks whether it is still in use.
const TURN: Duration = Duration::from_millis(100);

/// Reads bytes from a port as long as it exists.
pub(crate) fn reader(
    spec: &Spec,
    port: &str,
) -> Result<impl io::Read + Send + use<>, FirmwareError> {
    let opened = serialport::new(port, spec.baud).timeout(Duration::MAX).open();
    opened.map_err(|error| FirmwareError::Port {
        board: spec.name.clone(),
        port: port.to_owned(),
        reason: error.to_string(),
    })
}

/// Opens a port, even if there is no board.
pub(crate) fn open(spec: &Spec, port: &str) -> Result<Link, FirmwareError> {
    let fault = |error: serialport::Error| FirmwareError::Port {
        board: spec.name.clone(),
        port: port.to_owned(),
        reason: error.to_string(),
    };
    let to = serialport::new(port, spec.baud).timeout(TURN).open().map_err(fault)?;
    let mut from = to.try_clone().map_err(fault)?;
    let (send, received) = mpsc::channel();
    let wanted = Arc::new(AtomicBool::new(true));
    let sender = Sender { port: to, wanted: Arc::clone(&wanted) };
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while wanted.load(Relaxed) {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if send.send(buffer[..count].to_vec()).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It was unplugged, which closes the channel.
                Err(_) => return,
            }
        }
    });
    Ok(Link::new(spec.name.clone(), Box::new(sender), received, Arc::default()))
}

/// The writing half; when it is dropped, the reading half ends.
struct Sender {
    port: Box<dyn serialport::SerialPort>,
    wanted: Arc<AtomicBool>,
}

impl io::Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.port.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.port.flush()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.wanted.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(name: &str, serial_number: &str) -> Port {
        let serial_number = Some(serial_number.to_owned());
        let usb = Usb { id: (0x2e8a, 0xc), serial_number, product: Some("Debugprobe".to_owned()) };
        Port { name: name.to_owned(), usb: Some(usb) }
    }

    #[test]
    fn a_port_is_found_by_its_probe() {
        let built_in = Port { name: "ttyS0".to_owned(), usb: None };
        let two = [built_in.clone(), usb("ttyACM0", "E661"), usb("ttyACM1", "00e662")];
        assert_eq!(port_of("b", &two, Some("E662")).unwrap(), "ttyACM1");
        assert_eq!(port_of("b", &two[..2], None).unwrap(), "ttyACM0");
        // A probe without a port of its own, beside one adapter.
        assert_eq!(port_of("b", &two[..2], Some("7")).unwrap(), "ttyACM0");
        let said = |ports: &[Port], number| port_of("b", ports, number).unwrap_err().to_string();
        let list = "ttyACM0 (Debugprobe), ttyACM1 (Debugprobe)";
        assert_eq!(said(&two, None), format!("b: there are several serial ports: {list}"));
        assert!(said(&two, Some("7")).contains(list));
        assert_eq!(said(&[built_in], None), "b: there is no serial port of a USB device");
    }

    /// A board at the other end of a pseudo-terminal, which first receives noise, and then
    /// requests.
    #[cfg(unix)]
    #[test]
    fn a_board_at_a_port_answers() {
        use brooklet_protocol::{
            ANSWER_BYTES, Frames, Identity, LineErrors, Request, Response, Unit, VERSION, decode,
            encode,
        };
        use serialport::{SerialPort, TTYPort};
        use std::io::Write;

        let (mut board, host) = TTYPort::pair().unwrap();
        let name = host.name().unwrap();
        drop(host);
        thread::spawn(move || {
            let mut frames = Frames::new([0; 256]);
            let mut byte = [0];
            loop {
                // Until the host opens its end, there is nothing to read.
                if board.read(&mut byte).is_err() {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
                let Some(Ok(frame)) = frames.push(byte[0]) else { continue };
                let response = match decode(frame).unwrap() {
                    Request::Line => {
                        Response::Line(LineErrors { framing: 3, ..Default::default() })
                    }
                    _ => Response::Identity(Identity {
                        protocol: VERSION,
                        board: "rpi-pico",
                        core: "c",
                        backend: "b",
                        firmware: "f",
                        slot_bytes: 1,
                        arena_bytes: 2,
                        row_bytes: 3,
                        unit: Unit::Cycles,
                        check_count: 4,
                    }),
                };
                board.write_all(encode(&response, &mut [0; ANSWER_BYTES]).unwrap()).unwrap();
            }
        });
        let registry = crate::Registry::find().unwrap();
        let mut board = crate::Board::attach(registry.board("rpi-pico").unwrap(), &name).unwrap();
        assert_eq!(board.link().identify().unwrap().unit, Unit::Cycles);
        assert_eq!(board.link().line_errors().unwrap().framing, 3);
    }

    #[test]
    fn a_port_that_is_not_there_is_named() {
        let registry = crate::Registry::find().unwrap();
        let spec = registry.board("rpi-pico").unwrap();
        let error = crate::Board::attach(spec, "/dev/there-is-none").unwrap_err().to_string();
        assert!(error.contains("/dev/there-is-none of rpi-pico"), "{error}");
    }
}
