// Runs an RP2040: node runner.mjs --flash IMAGE.uf2 --baud N
//
// The flash holds the contents of the UF2 file, as if the file had been copied to the drive of the
// chip's boot loader. UART 0 is standard input and output. Bytes of the input arrive at the rate of
// a serial line; a byte that finds the UART full is lost, as on the chip.
//
// To the emulator `rp2040js` this adds the work of a boot ROM, with its functions that write flash,
// the registers of the UART that it lacks, and the serial line.
import { readFileSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { Simulator } from 'rp2040js';

const FLASH = 0x10000000;
const BOOT2_BYTES = 256;
/** Where the boot ROM copies the second stage to: the end of SRAM 5. */
const BOOT2_IN_RAM = 0x20041f00;
const RAM = 0x20000000;
const CYCLE_NANOS = 8; // 125 MHz
const BURST = 200000;
/** Number of instructions after which the wire is checked; far fewer than run during one byte. */
const LOOK = 64;

function option(name) {
  const at = process.argv.indexOf(name);
  if (at < 0 || !process.argv[at + 1]) throw new Error(`${name} is missing`);
  return process.argv[at + 1];
}

/** Calls back with address and bytes of each block of a UF2 file. */
function blocks(file, take) {
  const bytes = readFileSync(file);
  for (let at = 0; at < bytes.length; at += 512) {
    const word = (offset) => bytes.readUInt32LE(at + offset);
    if (word(0) !== 0x0a324655 || word(4) !== 0x9e5d5157 || word(508) !== 0x0ab16f30) {
      throw new Error(`${file}: no UF2 block at ${at}`);
    }
    // The boot ROM takes blocks of its own family only.
    if (word(28) !== 0xe48bff56) throw new Error(`${file}: a block of family ${word(28)}`);
    take(word(12), bytes.subarray(at + 32, at + 32 + word(16)));
  }
}

/** The sum that the boot ROM checks: CRC-32, most significant bit first, not inverted. */
function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) sum = sum & 0x80000000 ? (sum << 1) ^ 0x04c11db7 : sum << 1;
  }
  return sum >>> 0;
}

const { clock, rp2040: chip } = new Simulator();
const core = chip.core;
const silent = () => {};
chip.logger = { debug: silent, info: silent, warn: silent, error: (from, what) => process.stderr.write(`${from}: ${what}\n`) };

/** Stops the emulator with a message. */
function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

// What an earlier program has left in the flash.
chip.flash.fill(0xa5);
blocks(option('--flash'), (address, bytes) => chip.flash.set(bytes, address - FLASH));

// The work of the boot ROM: it runs the second stage from RAM, if its checksum is right, without an
// address to return to. The second stage sets up the flash, and starts the program by the vectors
// that follow it.
const boot2 = chip.flash.subarray(0, BOOT2_BYTES);
const sum = new DataView(boot2.buffer, boot2.byteOffset).getUint32(BOOT2_BYTES - 4, true);
if (crc(boot2.subarray(0, BOOT2_BYTES - 4)) !== sum) {
  stop('the second stage of the boot loader has a wrong sum');
}
chip.sram.set(boot2, BOOT2_IN_RAM - RAM);
core.SP = BOOT2_IN_RAM;
core.LR = 0;
core.PC = BOOT2_IN_RAM;

// The functions of the boot ROM that firmware needs to write flash, by the codes in its table (RP2040
// datasheet, section 2.8.3). In the ROM each is a breakpoint with its number and a return.
const FLASH_BYTES = 2 << 20;
const SECTOR = 4096;
const PAGE = 256;
/** Typical times of the Pico's flash chip, a W25Q16JV. */
const ERASE_NANOS = 45e6;
const PROGRAM_NANOS = 0.4e6;
/** What is in the flash while it is not mapped into memory: then any read of it finds other bytes. */
let unmapped = null;
const UNMAPPED = 0x5a;

/** The part of the flash that a function changes, which must consist of whole units. */
function changed(what, offset, count, unit) {
  if (!unmapped) stop(`${what}: the flash is mapped into memory`);
  if (offset % unit || count % unit || offset + count > FLASH_BYTES) {
    stop(`${what}: ${count} bytes at ${offset} are not whole units of ${unit} bytes of the flash`);
  }
  return unmapped.subarray(offset, offset + count);
}

const FUNCTIONS = {
  // Finds a function by its code.
  lookup: (table, code) => {
    const found = NAMES.indexOf(String.fromCharCode(code & 0xff, code >> 8));
    if (found < 0) stop(`the emulated boot ROM has no function ${code}`);
    return function_at(found);
  },
  // Copies words.
  C4: (to, from, bytes) => {
    for (let at = 0; at < bytes; at += 4) chip.writeUint32(to + at, chip.readUint32(from + at));
    return to;
  },
  // Connects the flash to the serial interface, and ends its mapping into memory.
  IF: () => 0,
  EX: () => {
    unmapped ??= chip.flash.slice(0, FLASH_BYTES);
    chip.flash.fill(UNMAPPED, 0, FLASH_BYTES);
    return 0;
  },
  // Erases sectors.
  RE: (offset, count) => {
    changed('erase', offset, count, SECTOR).fill(0xff);
    clock.tick((count / SECTOR) * ERASE_NANOS);
    return 0;
  },
  // Writes pages. Writing clears bits, and only erasing sets them.
  RP: (offset, data, count) => {
    const part = changed('program', offset, count, PAGE);
    for (let at = 0; at < count; at++) part[at] &= chip.readUint8(data + at);
    clock.tick((count / PAGE) * PROGRAM_NANOS);
    return 0;
  },
  // Empties the cache, and maps the flash into memory with a slow command.
  FC: () => 0,
  CX: () => { map(); return 0; },
};
const NAMES = Object.keys(FUNCTIONS);
const FIRST_FUNCTION = 0x40;
/** The address of a function, with the bit for Thumb. */
const function_at = (number) => (FIRST_FUNCTION + 4 * number) | 1;

/** Maps the flash into memory again. */
function map() {
  if (!unmapped) return;
  chip.flash.set(unmapped);
  unmapped = null;
}

// The pointers to the table, which is not read here, and to the function that finds functions in it.
const rom = new DataView(chip.bootrom.buffer);
rom.setUint16(0x14, FIRST_FUNCTION, true);
rom.setUint16(0x16, FIRST_FUNCTION, true);
rom.setUint16(0x18, function_at(0), true);
NAMES.forEach((_, number) => {
  rom.setUint16(FIRST_FUNCTION + 4 * number, 0xbe00 | number, true);
  rom.setUint16(FIRST_FUNCTION + 4 * number + 2, 0x4770, true);
});
chip.onBreak = (number) => {
  const { registers, PC } = chip.core;
  if (PC >= FIRST_FUNCTION + 4 * NAMES.length) stop(`the firmware met a breakpoint, ${number}`);
  const [first, second, third] = registers;
  registers[0] = FUNCTIONS[NAMES[number]](first >>> 0, second >>> 0, third >>> 0);
};

// The second stage of the boot loader maps the flash by turning the serial interface on.
const ssi = chip.peripherals[0x18000];
const write_ssi = ssi.writeUint32.bind(ssi);
ssi.writeUint32 = (offset, value) => {
  write_ssi(offset, value);
  if (offset === 8 && value === 1) map();
};

// Parts of the UARTs that rp2040js lacks: UARTRSR (4), UARTIFLS (0x34) and UARTDMACR (0x48), which
// read as ones; the overrun bit; and a request for more bytes only when the UART has sent all of
// them, not always.
const OVERRUN = 1 << 11;
const TRANSMIT = 1 << 5;
for (const uart of chip.uart) {
  const registers = { 0x34: 0x12, 0x48: 0 };
  const read = uart.readUint32.bind(uart);
  const write = uart.writeUint32.bind(uart);
  uart.overrun = false;
  uart.readUint32 = (offset) => {
    if (offset in registers) return registers[offset];
    if (offset === 4) return uart.overrun ? 8 : 0;
    if (offset !== 0) return read(offset);
    const flag = uart.overrun ? OVERRUN : 0;
    uart.overrun = false;
    return read(0) | flag;
  };
  uart.writeUint32 = (offset, value) => {
    if (offset in registers) registers[offset] = value;
    else if (offset === 4) uart.overrun = false;
    else {
      if (offset === 0) uart.interruptStatus |= TRANSMIT;
      write(offset, value);
      if (offset === 0) uart.checkInterrupts();
    }
  };
  uart.checkInterrupts = () => {
    chip.setInterrupt(uart.irq, (uart.interruptStatus & uart.interruptMask) !== 0);
  };
}

// The second core, which rp2040js lacks: its registers, the FIFOs between the two cores, events, and
// the work of its boot ROM. It shares memory and peripherals, and accesses to these never wait.
const other = new core.constructor(chip);
const PROC1 = 1 << 16;
const FIFO_DEPTH = 8;
/** The SIO of each core. Core 1 has a divider and interpolators of its own. */
const sios = [chip.sio, new chip.sio.constructor(chip)];
/** The FIFOs with words for core 0 and for core 1. */
const fifos = [[], []];
/** Whether core 1 runs firmware. Until then, its boot ROM answers. */
let launched = false;
/** The words of the start sequence so far. The sequence is 0, 0, 1, vectors, stack, entry. */
let launch = [];

/** The boot ROM of core 1 echoes each word. After the sixth word, it jumps to the entry. */
function answer_of_rom(word) {
  const expected = [0, 0, 1];
  const right = launch.length >= 3 || word === expected[launch.length];
  launch = right ? [...launch, word] : word === 0 ? [0] : [];
  fifos[0].push(word);
  if (launch.length < 6) return;
  const [, , , vectors, stack, entry] = launch;
  other.reset();
  [other.VTOR, other.SP, other.PC] = [vectors, stack, entry & ~1];
  launched = true;
}

sios.forEach((sio, id) => {
  const read = sio.readUint32.bind(sio);
  const write = sio.writeUint32.bind(sio);
  const [mine, theirs] = [fifos[id], fifos[1 - id]];
  sio.readUint32 = (offset) => {
    if (offset === 0) return id;
    if (offset === 0x50) return (mine.length ? 1 : 0) | (theirs.length < FIFO_DEPTH ? 2 : 0);
    if (offset === 0x58) return mine.shift() ?? 0;
    return read(offset);
  };
  sio.writeUint32 = (offset, value) => {
    if (offset === 0x50) return;
    if (offset !== 0x54) return write(offset, value);
    if (id === 0 && !launched) return answer_of_rom(value >>> 0);
    if (theirs.length < FIFO_DEPTH) theirs.push(value >>> 0);
    event();
  };
});

/** Signals an event to both cores. */
function event() {
  for (const one of [core, other]) {
    if (one.waiting) one.waiting = false;
    else one.eventRegistered = true;
  }
}

// Registers of the memory protection unit, with which firmware guards core 1's stack: they store
// values, but protect nothing.
const mpu = new Map();
const is_mpu = (offset) => offset >= 0xd94 && offset <= 0xda0;
const [read_ppb, write_ppb] = [chip.ppb.readUint32, chip.ppb.writeUint32].map((f) => f.bind(chip.ppb));
chip.ppb.readUint32 = (offset) => (is_mpu(offset) ? (mpu.get(offset) ?? 0) : read_ppb(offset));
chip.ppb.writeUint32 = (offset, value) => {
  if (is_mpu(offset)) mpu.set(offset, value);
  else write_ppb(offset, value);
};

const psm = chip.peripherals[0x40010];
const write_psm = psm.writeUint32.bind(psm);
psm.writeUint32 = (offset, value) => {
  write_psm(offset, value);
  if (psm.frceOff & PROC1) {
    [launched, launch] = [false, []];
    fifos.forEach((fifo) => fifo.splice(0));
  }
};

// SEV does nothing in rp2040js except to report that it was executed.
chip.logger.info = (_, what) => { if (what === 'SEV') event(); };

/** Runs core 1 for a number of cycles. Cycles that it ran too far are subtracted from the next run. */
let ahead = 0;
function run_other(cycles) {
  if (!launched) return;
  ahead -= cycles;
  if (other.waiting || ahead >= 0) {
    ahead = Math.max(ahead, 0);
    return;
  }
  [chip.core, chip.sio] = [other, sios[1]];
  while (ahead < 0 && !other.waiting) ahead += other.executeInstruction();
  if (other.waiting) ahead = 0;
  [chip.core, chip.sio] = [core, sios[0]];
}

// A thread reads standard input into a ring that both threads share: `marks` are the numbers of bytes
// written to it and read from it so far.
const RING = 65536;
const shared = new SharedArrayBuffer(8 + RING);
const marks = new Int32Array(shared, 0, 2);
const ring = new Uint8Array(shared, 8);
const reader = new Worker(
  `const { workerData, parentPort } = require('node:worker_threads');
  const { readSync } = require('node:fs');
  const marks = new Int32Array(workerData, 0, 2);
  const ring = new Uint8Array(workerData, 8);
  const buffer = Buffer.alloc(4096);
  for (;;) {
    let count = 0;
    try {
      count = readSync(0, buffer);
    } catch (error) {
      if (error.code === 'EAGAIN') continue;
    }
    if (count === 0) break;
    for (let i = 0; i < count; i++) {
      while (marks[0] - Atomics.load(marks, 1) >= ${RING});
      ring[marks[0] % ${RING}] = buffer[i];
      Atomics.add(marks, 0, 1);
    }
  }
  parentPort.postMessage('end');`,
  { eval: true, workerData: shared },
);
reader.on('message', () => process.exit(0));

const uart = chip.uart[0];
const byteNanos = (10 * 1e9) / Number(option('--baud'));
let nextByte = 0;

/** Lets the wire bring its next byte, if it is time. */
function wire() {
  if (Atomics.load(marks, 0) === marks[1] || clock.nanos < nextByte) return;
  const byte = ring[marks[1] % RING];
  Atomics.add(marks, 1, 1);
  if (uart.rxFIFO.full) uart.overrun = true;
  else uart.feedByte(byte);
  nextByte = clock.nanos + byteNanos;
}

// Answers are frames that end with a zero, or lines.
const answer = [];
uart.onByte = (byte) => {
  answer.push(byte);
  if (byte === 0 || byte === 10) writeSync(1, Buffer.from(answer.splice(0)));
};

function burst() {
  for (let i = 0; i < BURST; i++) {
    if (core.waiting && launched && !other.waiting) {
      run_other(1);
      clock.tick(CYCLE_NANOS);
      if (i % LOOK === 0) wire();
    } else if (core.waiting) {
      clock.tick(Math.min(clock.nanosToNextAlarm || byteNanos, byteNanos));
      wire();
    } else {
      const cycles = core.executeInstruction();
      clock.tick(cycles * CYCLE_NANOS);
      run_other(cycles);
      if (i % LOOK === 0) wire();
    }
  }
  setImmediate(burst);
}
burst();
