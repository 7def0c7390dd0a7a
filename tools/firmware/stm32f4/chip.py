"""The STM32F446's peripherals, as far as firmware here uses them (ST's manual RM0390).

Clocks are ready at once. What firmware has to do before it may use something is checked: an access
to a peripheral without a clock, and a clock that is too fast for the flash or the voltage, are
faults. So is an access to a register that is not here.
"""

from collections import deque

from core import FIRST_INTERRUPT, Fault

PERIPHERALS, PERIPHERALS_BYTES = 0x4000_0000, 0x8_0000
USART2_INTERRUPT, TIMER12_INTERRUPT = FIRST_INTERRUPT + 38, FIRST_INTERRUPT + 43
HSI_HZ = 16_000_000
FLASH_STEP_HZ = 30_000_000
VOLTAGE_HZ = 168_000_000
PORTS = "ABCDEFGH"

# Bits of the USART's registers SR and CR1, which raise interrupts with the same number in both.
FRAMING, OVERRUN, IDLE, RECEIVED, SENT, EMPTY = (1 << bit for bit in (1, 3, 4, 5, 6, 7))
RECEIVES, SENDS, OVERSAMPLES, ENABLED = 1 << 2, 1 << 3, 1 << 15, 1 << 13
BITS = 10
"""A byte on the line: a start bit, eight bits from the lowest, a stop bit."""


class Registers:
    """Registers that store values, each with the value after a reset."""

    def __init__(self, name, values):
        self.name, self.values = name, dict(values)

    def read(self, offset):
        """The word at an offset."""
        if offset not in self.values:
            raise Fault(f"the emulator has no register {self.name}+{offset:#x}")
        return self.values[offset]

    def write(self, offset, value):
        """Stores a word."""
        self.read(offset)
        self.values[offset] = value


class Clocks(Registers):
    """RCC: an oscillator or PLL is ready when it is on, and chosen when it is asked for."""

    CR, PLL, CFGR, AHB1_ENABLE, APB1_ENABLE, APB2_ENABLE = 0x00, 0x04, 0x08, 0x30, 0x40, 0x44
    BACKUP, STATUS = 0x70, 0x74

    def __init__(self, power, flash):
        offsets = dict.fromkeys(range(0, 0x98, 4), 0)
        super().__init__("RCC", offsets | {self.CR: 0x83, self.PLL: 0x2400_3010})
        self.power, self.flash = power, flash

    def read(self, offset):
        value = super().read(offset)
        if offset == self.CR:
            # HSI, HSE and three PLLs: the bit that tells follows the bit that asks.
            asks = value & 0x1501_0001
            return value & ~(asks << 1 | 0x2A02_0002) | asks << 1
        if offset == self.CFGR:
            return value & ~12 | (value & 3) << 2
        if offset in (self.BACKUP, self.STATUS):
            return value & ~2 | (value & 1) << 1
        return value

    def write(self, offset, value):
        super().write(offset, value)
        if offset in (self.CR, self.PLL, self.CFGR):
            self._check()

    def core_hz(self):
        """The rate of the core."""
        config, pll = self.values[self.CFGR], self.values[self.PLL]
        sources = {0: HSI_HZ, 1: 8_000_000}
        if config & 3 == 2:
            source = sources[pll >> 22 & 1]
            hz = source / (pll & 0x3F) * (pll >> 6 & 0x1FF) / (2 * (pll >> 16 & 3) + 2)
        else:
            hz = sources[config & 3]
        step = config >> 4 & 15
        return hz / (1, 2, 4, 8, 16, 64, 128, 256, 512)[max(step - 7, 0)]

    def slow_step(self):
        """How many of the core's cycles one of the slow bus (APB1) takes."""
        return 1 << max((self.values[self.CFGR] >> 10 & 7) - 3, 0)

    def _check(self):
        """Whether flash and voltage are set up for the core's rate."""
        hz, on = self.core_hz(), self.values[self.CR]
        if self.values[self.CFGR] & 3 == 2 and not on & 1 << 24:
            raise Fault("the core's clock is the PLL, which is off")
        waits = self.flash.values[0] & 15
        if hz > (waits + 1) * FLASH_STEP_HZ:
            raise Fault(f"{hz / 1e6:.0f} MHz are too fast for {waits} wait states of the flash")
        if hz > VOLTAGE_HZ and not self.power.is_over_driven():
            raise Fault(f"{hz / 1e6:.0f} MHz without over-drive")


class Power(Registers):
    """PWR: what is asked for is ready."""

    def __init__(self):
        super().__init__("PWR", {0: 0xC000, 4: 0})

    def read(self, offset):
        value = super().read(offset)
        # Over-drive is on, and switched to; the regulator is ready.
        return self.values[0] & 0x3_0000 | 1 << 14 if offset == 4 else value

    def is_over_driven(self):
        """Whether the core may be fastest."""
        return self.values[0] & 0x3_0000 == 0x3_0000


class Port(Registers):
    """GPIO: pins that are set read as they were set."""

    def __init__(self, name):
        super().__init__(f"GPIO{name}", dict.fromkeys(range(0, 0x28, 4), 0))

    def read(self, offset):
        return super().read(0x14 if offset == 0x10 else offset)

    def write(self, offset, value):
        if offset == 0x18:
            offset, value = 0x14, (self.values[0x14] & ~(value >> 16)) | value & 0xFFFF
        super().write(offset, value)

    def function(self, pin):
        """The number of the function that a pin has, if a peripheral has it."""
        if self.values[0] >> 2 * pin & 3 != 2:
            return None
        return self.values[0x20 + pin // 8 * 4] >> 4 * (pin % 8) & 15


def sampled(byte, ratio):
    """What a receiver makes of a byte whose bits are `ratio` of its own: the byte, and whether the
    stop bit was right. It looks at the middle of each bit."""
    wire = [0] + [byte >> bit & 1 for bit in range(8)] + [1]
    looks = (int((bit + 0.5) / ratio) for bit in range(BITS))
    seen = [wire[look] if look < BITS else 1 for look in looks]
    return sum(bit << at for at, bit in enumerate(seen[1:9])), bool(seen[9])


class Usart(Registers):
    """USART 2, which the board connects to its ST-LINK, with a line to a host.

    A byte takes its time on the line. One that arrives before the last was read is lost.
    """

    STATUS, DATA, RATE, CONTROL = 0x00, 0x04, 0x08, 0x0C
    FUNCTION, SEND_PIN, RECEIVE_PIN = 7, 2, 3

    def __init__(self, core, clocks, port, host_baud):
        super().__init__("USART2", dict.fromkeys(range(0, 0x1C, 4), 0))
        self.core, self.clocks, self.port, self.host_baud = core, clocks, port, host_baud
        self.status, self.data, self.seen = EMPTY | SENT, 0, 0
        # Of the line to the board: its bytes, when the one on it ends, and when it will be idle.
        self.coming, self.arrives, self.idles = deque(), None, None
        # Of the line from the board: the byte on it, when it ends, the byte that waits, what came.
        self.leaving, self.leaves, self.waits, self.out = None, None, None, bytearray()

    def raises(self):
        """Whether it asks for its interrupt."""
        control = self.values[self.CONTROL]
        asks = control & (IDLE | RECEIVED | SENT | EMPTY)
        asks |= OVERRUN if control & RECEIVED else 0
        return bool(self.status & asks)

    def _host_bit(self):
        """Cycles of a bit of the host."""
        return self.clocks.core_hz() / self.host_baud

    def _bit(self):
        """Cycles of a bit of the board."""
        control, rate = self.values[self.CONTROL], self.values[self.RATE]
        if control & OVERSAMPLES:
            raise Fault("the emulator's USART samples 16 times")
        return max(rate, 16) * self.clocks.slow_step()

    def _connected(self, pin, direction):
        control = self.values[self.CONTROL]
        is_on = control & ENABLED and control & direction
        return is_on and self.port.function(pin) == self.FUNCTION

    def come(self, data):
        """The host sends bytes."""
        self.coming.extend(data)
        if self.arrives is None:
            self.arrives = self.core.now + BITS * self._host_bit()
            self.idles = None

    def next(self):
        """When something happens next on the line, if anything does."""
        return min((when for when in (self.arrives, self.leaves, self.idles) if when is not None),
                   default=None)

    def advance(self):
        """Does what has happened by now."""
        now = self.core.now
        if self.arrives is not None and now >= self.arrives:
            self._arrive(self.coming.popleft())
            byte = BITS * self._host_bit()
            self.idles = None if self.coming else self.arrives + byte
            self.arrives = self.arrives + byte if self.coming else None
        if self.idles is not None and now >= self.idles:
            self.status |= IDLE
            self.idles = None
        if self.leaves is not None and now >= self.leaves:
            if self._connected(self.SEND_PIN, SENDS):
                self.out.append(sampled(self.leaving, self._bit() / self._host_bit())[0])
            self.leaving = self.leaves = None
            if self.waits is None:
                self.status |= SENT
            else:
                self._leave(self.waits)

    def _arrive(self, byte):
        if not self._connected(self.RECEIVE_PIN, RECEIVES):
            return
        byte, is_whole = sampled(byte, self._host_bit() / self._bit())
        if self.status & RECEIVED:
            self.status |= OVERRUN
            return
        self.data = byte
        self.status |= RECEIVED | (0 if is_whole else FRAMING)

    def _leave(self, byte):
        self.leaving, self.waits = byte, None
        self.leaves = self.core.now + BITS * self._bit()
        self.status |= EMPTY

    def read(self, offset):
        if offset == self.STATUS:
            self.seen = self.status
            return self.status
        if offset == self.DATA:
            # Flags that were read before are cleared with the byte.
            self.core.soon()
            self.status &= ~(RECEIVED | self.seen & (FRAMING | OVERRUN | IDLE))
            return self.data
        return super().read(offset)

    def write(self, offset, value):
        if offset == self.STATUS:
            # Writing zero clears these.
            self.status &= value | ~(SENT | RECEIVED)
        elif offset == self.DATA:
            if not self.values[self.CONTROL] & ENABLED:
                return
            self.status &= ~SENT
            if self.leaves is None:
                self._leave(value & 0xFF)
            else:
                self.waits = value & 0xFF
                self.status &= ~EMPTY
        else:
            super().write(offset, value)


class Timer(Registers):
    """A timer of the slow bus: it counts up to a value, and compares two others."""

    CONTROL, INTERRUPTS, STATUS, EVENTS, COUNT = 0x00, 0x0C, 0x10, 0x14, 0x24
    PRESCALER, TOP, COMPARE = 0x28, 0x2C, (0x34, 0x38)
    ENABLED, ONLY_OVERFLOWS = 1, 1 << 2

    def __init__(self, name, core, clocks):
        super().__init__(name, dict.fromkeys(range(0, 0x54, 4), 0) | {self.TOP: 0xFFFF})
        self.core, self.clocks = core, clocks
        # When it counted from zero, how far it had counted by the last look, and the prescaler.
        self.start, self.last, self.prescaler = 0, 0, 1

    def raises(self):
        """Whether it asks for its interrupt."""
        return bool(self.values[self.STATUS] & self.values[self.INTERRUPTS])

    def _cycles(self):
        """Cycles of the core of one count. Timers run at twice the rate of a divided bus."""
        return max(self.clocks.slow_step() // 2, 1) * self.prescaler

    def _marks(self):
        """The counts at which something happens: by their bit in the status."""
        return {1 << at: self.values[mark] for at, mark in enumerate(self.COMPARE, 1)} | {1: 0}

    def next(self):
        """When it next sets a flag that interrupts, if it ever does."""
        if not self.values[self.CONTROL] & self.ENABLED:
            return None
        whole, asked = self.values[self.TOP] + 1, self.values[self.INTERRUPTS]
        marks = [mark for flag, mark in self._marks().items() if flag & asked]
        ahead = [(mark - self.last - 1) % whole + 1 for mark in marks]
        return self.start + (self.last + min(ahead)) * self._cycles() if ahead else None

    def advance(self):
        """Counts up to now."""
        if not self.values[self.CONTROL] & self.ENABLED:
            return
        whole, now = self.values[self.TOP] + 1, (self.core.now - self.start) // self._cycles()
        for flag, mark in self._marks().items():
            if (now - mark) // whole > (self.last - mark) // whole:
                self.values[self.STATUS] |= flag
        self.last = now

    def _count_from(self, count):
        self.last, self.start = count, self.core.now - count * self._cycles()

    def read(self, offset):
        self.advance()
        if offset == self.COUNT:
            return self.last % (self.values[self.TOP] + 1)
        return super().read(offset)

    def write(self, offset, value):
        self.advance()
        if offset == self.STATUS:
            self.values[offset] &= value
        elif offset == self.COUNT:
            self._count_from(value)
        elif offset == self.EVENTS:
            if value & 1:
                self.prescaler = self.values[self.PRESCALER] + 1
                self._count_from(0)
                if not self.values[self.CONTROL] & self.ONLY_OVERFLOWS:
                    self.values[self.STATUS] |= 1
        else:
            starts = offset == self.CONTROL and value & ~self.values[offset] & self.ENABLED
            super().write(offset, value)
            if starts:
                self._count_from(self.last)


class Chip:
    """The peripherals by address."""

    def __init__(self, core, host_baud):
        self.core = core
        power, flash = Power(), Registers("FLASH", {0: 0})
        self.clocks = clocks = Clocks(power, flash)
        ports = [Port(name) for name in PORTS]
        self.usart = Usart(core, clocks, ports[0], host_baud)
        timer = Timer("TIM12", core, clocks)
        self.active = ((self.usart, USART2_INTERRUPT), (timer, TIMER12_INTERRUPT))
        core.levels = lambda: [interrupt for part, interrupt in self.active if part.raises()]
        # Each with the register and the bit that turn its clock on.
        ahb1, apb1, apb2 = clocks.AHB1_ENABLE, clocks.APB1_ENABLE, clocks.APB2_ENABLE
        self.parts = {
            0x4000_1800: (timer, apb1, 6),
            0x4000_4400: (self.usart, apb1, 17),
            0x4000_7000: (power, apb1, 28),
            0x4001_3800: (Registers("SYSCFG", dict.fromkeys(range(0, 0x24, 4), 0)), apb2, 14),
            0x4002_3800: (clocks, None, None),
            0x4002_3C00: (flash, None, None),
        }
        for at, port in enumerate(ports):
            self.parts[0x4002_0000 + 0x400 * at] = (port, ahb1, at)
        core.map(PERIPHERALS, PERIPHERALS_BYTES, self._read, self._write)

    def next(self):
        """When something happens next, if anything does."""
        times = [part.next() for part, _ in self.active]
        return min((when for when in times if when is not None), default=None)

    def advance(self):
        """Does what has happened by now."""
        for part, _ in self.active:
            part.advance()

    def _part(self, offset):
        address = PERIPHERALS + offset
        part, register, bit = self.parts.get(address & ~0x3FF, (None, None, None))
        if part is None:
            raise Fault(f"the emulator has no peripheral at {address:#010x}")
        if register is not None and not self.clocks.values[register] >> bit & 1:
            raise Fault(f"{part.name} has no clock")
        return part, offset & 0x3FC

    def _read(self, offset, size):
        part, register = self._part(offset)
        return part.read(register) >> 8 * (offset & 3) & ((1 << 8 * size) - 1)

    def _write(self, offset, size, value):
        part, register = self._part(offset)
        if offset & 3:
            raise Fault(f"a write of {size} bytes at {PERIPHERALS + offset:#010x}")
        part.write(register, value)
        self.core.soon()
