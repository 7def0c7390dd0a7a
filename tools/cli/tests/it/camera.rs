//! The parts of a project's camera that do not depend on the chip, on a bus and with lines that are
//! made here. Nothing of this has seen a camera.

use std::collections::BTreeMap;
use std::convert::Infallible;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{ErrorType, I2c, Operation, SevenBitAddress};

use crate::pixels::{Window, grey, rgb565, row};

#[path = "../../templates/hm01b0.rs.txt"]
#[expect(dead_code, unreachable_pub, reason = "it is also a module of a program")]
mod himax;
#[path = "../../templates/ov7670.rs.txt"]
#[expect(dead_code, unreachable_pub, reason = "it is also a module of a program")]
mod omnivision;

/// A sensor with one byte in each register. A register has a number of `NUMBER` bytes.
#[derive(Default)]
struct Sensor<const NUMBER: usize> {
    address: u8,
    registers: BTreeMap<u16, u8>,
    selected: u16,
}

impl<const NUMBER: usize> Sensor<NUMBER> {
    fn new(address: u8, registers: &[(u16, u8)]) -> Self {
        Self { address, registers: registers.iter().copied().collect(), selected: 0 }
    }
}

impl<const NUMBER: usize> ErrorType for Sensor<NUMBER> {
    type Error = Infallible;
}

impl<const NUMBER: usize> I2c for Sensor<NUMBER> {
    fn transaction(
        &mut self,
        address: SevenBitAddress,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Infallible> {
        assert_eq!(address, self.address);
        for operation in operations {
            match operation {
                Operation::Write(bytes) => {
                    let (number, values) = bytes.split_at(NUMBER);
                    self.selected =
                        number.iter().fold(0, |number, &byte| number << 8 | u16::from(byte));
                    for &value in values {
                        self.registers.insert(self.selected, value);
                    }
                }
                Operation::Read(bytes) => {
                    for byte in bytes.iter_mut() {
                        *byte = self.registers.get(&self.selected).copied().unwrap_or(0);
                        self.selected += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A delay that passes at once, and is summed up in milliseconds.
struct Passed(u64);

impl DelayNs for Passed {
    fn delay_ns(&mut self, ns: u32) {
        self.0 += u64::from(ns) / 1_000_000;
    }
}

#[test]
fn an_ov7670_sends_small_images_in_rgb565() {
    let mut bus = Sensor::<1>::new(0x21, &[(0x0a, 0x76)]);
    let mut passed = Passed(0);
    assert_eq!(omnivision::start(&mut bus, &mut passed), Ok(()));
    // COM7: QVGA and RGB; COM15: RGB565; COM3 and COM14: scaling; HSTART and VSTART: the window.
    for (register, value) in
        [(0x12, 0x14), (0x40, 0xd0), (0x0c, 0x04), (0x3e, 0x19), (0x17, 168 >> 3), (0x19, 12 >> 2)]
    {
        assert_eq!(bus.registers[&register], value, "register {register:#x}");
    }
    assert!(passed.0 >= 300, "{} ms", passed.0);
    assert_eq!(omnivision::LINE, 640);
    let mut other = Sensor::<1>::new(0x21, &[(0x0a, 0x77)]);
    let error = omnivision::start(&mut other, &mut passed);
    assert_eq!(error, Err(omnivision::Error::Other(0x77)));
}

#[test]
fn an_hm01b0_streams() {
    let mut bus = Sensor::<2>::new(0x24, &[(0, 0x01), (1, 0xb0)]);
    assert!(himax::start(&mut bus, &mut Passed(0)).is_ok());
    // MODE_SELECT: streaming; BIT_CONTROL: neither four bits nor one.
    assert_eq!(bus.registers[&0x0100], 1);
    assert_eq!(bus.registers[&0x3059] & 0x60, 0);
    let mut other = Sensor::<2>::new(0x24, &[(0, 0x01), (1, 0xb1)]);
    assert!(himax::start(&mut other, &mut Passed(0)).is_err());
}

#[test]
fn colours_have_eight_bits() {
    let line = [0xf8, 0x00, 0x07, 0xe0, 0x00, 0x1f, 0xff, 0xff, 0x84, 0x10, 0x00];
    let colours: Vec<[u8; 3]> = (0..5).map(|x| rgb565(&line, x)).collect();
    assert_eq!(colours, [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [132, 130, 132]]);
    assert_eq!(grey(&[7, 9], 1), [9; 3]);
    // Beyond the line.
    assert_eq!([rgb565(&line, 9), grey(&[7], 1)], [[0; 3]; 2]);
}

#[test]
fn a_window_is_the_middle_of_the_image() {
    let window = Window::new(omnivision::LINES, omnivision::PIXELS, 32, 32);
    assert_eq!(window, Window { top: 8, left: 48, scale: 7 });
    assert_eq!(Window::new(324, 324, 96, 96), Window { top: 18, left: 18, scale: 3 });
    assert_eq!(Window::new(324, 324, 324, 324), Window { top: 0, left: 0, scale: 1 });
    // All lines and pixels of a window are in the image.
    for (rows, columns) in [(1, 1), (32, 32), (96, 96), (240, 320), (7, 300), (200, 3)] {
        let Window { top, left, scale } = Window::new(240, 320, rows, columns);
        assert!(top + scale * rows <= 240 && left + scale * columns <= 320, "{rows}x{columns}");
        assert!(scale + 1 > 240 / rows || scale + 1 > 320 / columns, "{rows}x{columns}");
    }
}

#[test]
fn a_row_has_the_means_of_pixels() {
    let window = Window { top: 0, left: 1, scale: 2 };
    let line = [255, 10, 20, 30, 50, 255];
    let mut one = [0; 2];
    row(&window, 1, |x| himax::colours(&line, x), &mut one);
    assert_eq!(one, [15, 40]);
    let mut three = [0; 6];
    row(&window, 3, |x| himax::colours(&line, x), &mut three);
    assert_eq!(three, [15, 15, 15, 40, 40, 40]);
    // Grey is the luminance of colours: red, green, blue, white.
    let line = [0xf8, 0x00, 0x07, 0xe0, 0x00, 0x1f, 0xff, 0xff];
    let mut greys = [0; 4];
    row(&Window { top: 0, left: 0, scale: 1 }, 1, |x| omnivision::colours(&line, x), &mut greys);
    assert_eq!(greys, [76, 149, 28, 255]);
}
