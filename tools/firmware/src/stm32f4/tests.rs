//! What the emulator promises beyond what firmware for the board needs, with a program of a few
//! instructions.

use std::io::Write;

use super::*;

const RCC: u32 = 0x4002_3800;
const FLASH_WAITS: u32 = 0x4002_3c00;
const USART2: u32 = 0x4000_4400;
/// The rate of the line at 16 MHz.
const RATE: u32 = 139;

/// A program that writes words to addresses, and then sends back each byte that USART 2 receives,
/// after a delay.
fn program(writes: &[(u32, u32)], delay: u32) -> Vec<u8> {
    let code: [u16; 16] = [
        0x4c07, //       ldr r4, table
        0xcc03, // next: ldmia r4!, {r0, r1}
        0x2800, //       cmp r0, #0
        0xd001, //       beq echo
        0x6001, //       str r1, [r0]
        0xe7fa, //       b next
        0x460d, // echo: mov r5, r1
        0x6828, // poll: ldr r0, [r5]
        0x0680, //       lsls r0, r0, #26
        0xd5fc, //       bpl poll
        0x6869, //       ldr r1, [r5, #4]
        0x6822, //       ldr r2, [r4]
        0x3a01, // wait: subs r2, #1
        0xd1fd, //       bne wait
        0x6069, //       str r1, [r5, #4]
        0xe7f6, //       b poll
    ];
    let mut bytes = [0x2002_0000_u32, 0x0800_0009].map(u32::to_le_bytes).concat();
    bytes.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    let table = 0x0800_0000 + bytes.len() as u32 + 4;
    let end = [(0, USART2)];
    let words = writes.iter().chain(&end).flat_map(|&(address, value)| [address, value]);
    let words = std::iter::once(table).chain(words).chain([delay]);
    bytes.extend(words.flat_map(u32::to_le_bytes));
    bytes
}

/// What the chip writes to the line and the emulator to its user, for a program and bytes on the line.
fn run(program: &[u8], input: &[u8]) -> (Vec<u8>, String) {
    let registry = Registry::find().unwrap();
    let spec = registry.board("nucleo-f446re").unwrap();
    ensure(&registry, spec, &mut |line| eprintln!("{line}")).unwrap();
    let mut image = FlashImage::default();
    image.add(spec.flash.address, program).unwrap();
    let (mut command, _file) = command(&registry, spec, &image).unwrap();
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input).unwrap();
    let ended = running.wait_with_output().unwrap();
    (ended.stdout, String::from_utf8(ended.stderr).unwrap())
}

/// Clocks and pins for the line, and the line itself, at a rate.
fn line(rate: u32) -> [(u32, u32); 6] {
    [
        (RCC + 0x30, 1),
        (RCC + 0x40, 1 << 17),
        (0x4002_0000, 0xa0),
        (0x4002_0020, 0x7700),
        (USART2 + 8, rate),
        (USART2 + 0xc, 0x200c),
    ]
}

#[test]
fn the_line_is_as_fast_as_a_wire() {
    let echo = |rate, delay| run(&program(&line(rate), delay), b"hello\n");
    assert_eq!(echo(RATE, 1), (b"hello\n".to_vec(), String::new()));
    // A receiver follows a rate that is a little wrong.
    assert_eq!(echo(RATE + RATE / 33, 1).0, b"hello\n");
    assert_ne!(echo(RATE + RATE / 6, 1).0, b"hello\n");
    // Who reads a byte after the next one has arrived loses that one.
    assert_eq!(echo(RATE, 1_400).0, b"hel\n");
    // Without its pins it is not connected.
    let pins = [0, 1, 4, 5].map(|at| line(RATE)[at]);
    assert_eq!(run(&program(&pins, 1), b"hello\n").0, b"");
}

#[test]
fn what_firmware_must_not_do_is_reported() {
    let (pll_on, choose_pll) = ((RCC, 1 << 24 | 1), (RCC + 8, 2));
    let fastest = [(FLASH_WAITS, 5), (RCC + 4, 180 << 6 | 8), pll_on, choose_pll];
    let cases: [(&[_], _); 8] = [
        (&[(0x2002_0000, 1)], "invalid memory write (uc_err_write_unmapped) at 0x20020000"),
        (&[(0x0800_0100, 1)], "write to write-protected memory (uc_err_write_prot) at 0x08000100"),
        (&[(USART2, 1)], "USART2 has no clock"),
        (&[(0x4000_0000, 1)], "the emulator has no peripheral at 0x40000000"),
        (&[choose_pll], "the core's clock is the PLL, which is off"),
        (&[pll_on, choose_pll], "96 MHz are too fast for 0 wait states of the flash"),
        (&fastest, "180 MHz without over-drive"),
        (&[(0xe000_ed0c, 0x05fa_0004)], "it resets itself"),
    ];
    for (writes, reason) in cases {
        let (_, said) = run(&program(writes, 1), b"");
        let number = 5 * writes.len();
        let expected =
            format!("{reason}, at pc 0x08000010, lr 0x00000000, in instruction {number}\n");
        assert_eq!(said, expected);
    }
}
