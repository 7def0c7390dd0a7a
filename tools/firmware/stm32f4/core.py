"""The core: Unicorn's Cortex-M4, and what it lacks: time, interrupts, SysTick.

Unicorn runs instructions and nothing else. Here a clock counts them, and the core is stopped when
the chip has something to do. Exceptions are taken and left as the ARMv7-M Architecture Reference
Manual describes in section B1.5, between two instructions.
"""

import ctypes

import unicorn
from unicorn import arm_const as arm
from unicorn.unicorn_py3.unicorn import uclib

SYSTICK = 15
FIRST_INTERRUPT = 16
INTERRUPTS = 97
SYSTEM = 0xE000_0000
SYSTEM_BYTES = 0x10_0000

# Registers, relative to SYSTEM.
DWT_CYCCNT = 0x1004
SYST_CTRL, SYST_LOAD, SYST_VALUE = 0xE010, 0xE014, 0xE018
SET_ENABLE, CLEAR_ENABLE, SET_PENDING, CLEAR_PENDING = 0xE100, 0xE180, 0xE200, 0xE280
PRIORITIES = 0xE400
CPUID, ICSR, VTOR, AIRCR, SYSTEM_PRIORITIES = 0xED00, 0xED04, 0xED08, 0xED0C, 0xED18
PENDST, TICK_FLAG = 1 << 26, 1 << 16

# Bits of CONTROL, of an exception's return value, and of the status register on the stack.
PROCESS_STACK, FLOATS = 2, 4
RETURN, TO_THREAD, BASIC_FRAME = 0xFFFF_FFE1, 8, 16
PADDED = 1 << 9
LOWEST = 256

FRAME = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3,
         arm.UC_ARM_REG_R12, arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC, arm.UC_ARM_REG_XPSR)
FLOAT_FRAME = (*range(arm.UC_ARM_REG_S0, arm.UC_ARM_REG_S0 + 16), arm.UC_ARM_REG_FPSCR)
FRAME_BYTES, FLOAT_FRAME_BYTES = 32, 104

EXCEPTION_RETURN = 8
TRAPS = {2: "a supervisor call", 7: "a breakpoint"}
WAIT_FOR_EVENT = (0xBF20, 0xBF10)


class Fault(Exception):
    """What firmware must not do."""


class Clock(ctypes.Structure):
    """See `clock.rs`."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("now", "deadline", "address", "stopped")]
    _fields_.append(("stop", ctypes.c_void_p))


class Core:
    """A Cortex-M4 with interrupts."""

    def __init__(self, library, other_registers):
        """A core whose clock is in `library`. Words at `other_registers` only store values."""
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        self.clock = Clock(stop=ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p))
        self.library = ctypes.CDLL(library)
        hook = ctypes.cast(self.library.instruction, ctypes.c_void_p)
        uclib.uc_hook_add(self.uc._uch, ctypes.byref(ctypes.c_size_t()), unicorn.UC_HOOK_CODE, hook,
                          ctypes.byref(self.clock), ctypes.c_uint64(1), ctypes.c_uint64(0))
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._trapped)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._missed)
        self.map(SYSTEM, SYSTEM_BYTES, self._read, self._write)
        self.registers = {CPUID: 0x410F_C241, VTOR: 0, **dict.fromkeys(other_registers, 0)}
        self.enabled, self.pending, self.active = {SYSTICK}, set(), []
        self.priorities = [0] * (FIRST_INTERRUPT + INTERRUPTS)
        self.levels = lambda: ()
        self.trap, self.missed, self.fault = None, None, None
        self.tick_control, self.tick_top, self.tick_start, self.ticks = 0, 0, 0, 0
        self.tick_flag = 0

    @property
    def now(self):
        """Number of instructions that ran, and of those that would have run during sleep."""
        return self.clock.now

    def map(self, address, count, read, write):
        """Registers, which `read(offset, size)` reads, and `write(offset, size, value)` writes."""

        def guarded(access):
            def call(_uc, offset, size, *value_and_data):
                try:
                    return access(offset, size, *value_and_data[:-1])
                except Fault as fault:
                    self.fault = self.fault or (fault, self.clock.address)
                    self.soon()
                    return 0

            return call

        self.uc.mmio_map(address, count, guarded(read), None, guarded(write), None)

    def reset(self, vectors):
        """Starts as after a reset, with the stack and the address in the table of vectors."""
        self.registers[VTOR] = vectors
        stack, entry = (self._load(vectors + at) for at in (0, 4))
        self.uc.reg_write(arm.UC_ARM_REG_MSP, stack)
        self.uc.reg_write(arm.UC_ARM_REG_PC, entry)

    def run(self, until):
        """Runs until that time, or until something may have to be done."""
        self.take()
        # While firmware holds an interrupt back, the end of that is looked for.
        held_back = self._waiting() and self._masked() < LOWEST
        self.clock.deadline = min(until, self.now + 4) if held_back else until
        self.clock.stopped, self.trap = 0, None
        try:
            self.uc.emu_start(self.uc.reg_read(arm.UC_ARM_REG_PC) | 1, 0)
        except unicorn.UcError as error:
            self._failed(error)
        if self.fault:
            fault, self.clock.address = self.fault
            raise fault
        if self.trap == EXCEPTION_RETURN:
            self._leave()
        elif self.trap is not None:
            raise Fault(TRAPS.get(self.trap, f"trap {self.trap}"))
        elif self.now < self.clock.deadline and not self.clock.stopped:
            # It sleeps, in which an interrupt that is held back wakes it, too. A wait for an event
            # may end at any time.
            if not self._waiting():
                self.clock.now = until
        self._tick()

    def soon(self):
        """Something may have to be done before the next instruction."""
        self.clock.deadline = 0

    def _failed(self, error):
        """Explains an error, unless it is a wait for an event, which Unicorn does not know."""
        at = self.clock.address
        if error.errno == unicorn.UC_ERR_INSN_INVALID and self._load(at, 2) in WAIT_FOR_EVENT:
            self.uc.reg_write(arm.UC_ARM_REG_PC, at + 2)
            return
        reason = f"{error}".lower()
        raise Fault(reason if self.missed is None else f"{reason} at {self.missed:#010x}") from None

    def _missed(self, _uc, _access, address, _size, _value, _data):
        self.missed = address
        return False

    def _trapped(self, _uc, number, _data):
        self.trap = number
        self.uc.emu_stop()

    # Exceptions

    def _waiting(self):
        """The exceptions that are pending and enabled."""
        waiting = self.pending & self.enabled
        waiting.update(number for number in self.levels() if number in self.enabled)
        return waiting.difference(self.active)

    def _masked(self):
        """The priority from which on firmware holds exceptions back."""
        if self.uc.reg_read(arm.UC_ARM_REG_PRIMASK) & 1:
            return 0
        return self.uc.reg_read(arm.UC_ARM_REG_BASEPRI) or LOWEST

    def _priority(self):
        """The priority at which the core runs: lower numbers are more important."""
        return min(self._masked(), *(self.priorities[number] for number in self.active), LOWEST)

    def take(self):
        """Takes the exception that is most important, if it is more important than what runs."""
        waiting = self._waiting()
        if not waiting:
            return
        number = min(waiting, key=lambda number: (self.priorities[number], number))
        if self.priorities[number] >= self._priority():
            return
        self.pending.discard(number)
        control = self.uc.reg_read(arm.UC_ARM_REG_CONTROL)
        if control & PROCESS_STACK:
            raise Fault("an exception on the process stack, which the emulator does not have")
        values = [self.uc.reg_read(register) for register in FRAME]
        sp = self.uc.reg_read(arm.UC_ARM_REG_SP)
        floats = control & FLOATS
        bytes_ = FLOAT_FRAME_BYTES if floats else FRAME_BYTES
        frame = (sp - bytes_) & ~7
        values[7] |= PADDED if frame != sp - bytes_ else 0
        if floats:
            values += [self.uc.reg_read(register) for register in FLOAT_FRAME] + [0]
        self._store(frame, values)
        back = RETURN | (0 if floats else BASIC_FRAME) | (0 if self.active else TO_THREAD)
        self.active.append(number)
        self.uc.reg_write(arm.UC_ARM_REG_SP, frame)
        self.uc.reg_write(arm.UC_ARM_REG_LR, back)
        self.uc.reg_write(arm.UC_ARM_REG_CONTROL, control & ~FLOATS)
        self.uc.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24 | number)
        self.uc.reg_write(arm.UC_ARM_REG_PC, self._load(self.registers[VTOR] + 4 * number))

    def _leave(self):
        """Returns from an exception."""
        back = self.uc.reg_read(arm.UC_ARM_REG_PC)
        if not self.active:
            raise Fault("a return from an exception outside of one")
        self.active.pop()
        if bool(back & TO_THREAD) == bool(self.active):
            raise Fault(f"a return from an exception with {back:#010x}")
        frame = self.uc.reg_read(arm.UC_ARM_REG_SP)
        floats = not back & BASIC_FRAME
        bytes_ = FLOAT_FRAME_BYTES if floats else FRAME_BYTES
        values = [self._load(frame + at) for at in range(0, bytes_, 4)]
        status = values[7]
        self.uc.reg_write(arm.UC_ARM_REG_XPSR, status & ~PADDED)
        for register, value in zip(FRAME[:7], values):
            self.uc.reg_write(register, value)
        for register, value in zip(FLOAT_FRAME, values[8:]):
            self.uc.reg_write(register, value)
        self.uc.reg_write(arm.UC_ARM_REG_SP, frame + bytes_ + (4 if status & PADDED else 0))
        control = self.uc.reg_read(arm.UC_ARM_REG_CONTROL) & ~FLOATS
        self.uc.reg_write(arm.UC_ARM_REG_CONTROL, control | (FLOATS if floats else 0))

    def _load(self, address, count=4):
        return int.from_bytes(self.uc.mem_read(address, count), "little")

    def _store(self, address, words):
        try:
            self.uc.mem_write(address, b"".join(word.to_bytes(4, "little") for word in words))
        except unicorn.UcError:
            raise Fault(f"no memory for the stack at {address:#010x}") from None

    # SysTick: it counts instructions, as if each took one cycle.

    def _tick_value(self):
        return -(self.now - self.tick_start) % (self.tick_top + 1) if self.tick_control & 1 else 0

    def next_tick(self):
        """When the timer wraps next, if it then interrupts."""
        if self.tick_control & 3 != 3:
            return None
        return self.tick_start + (self.ticks + 1) * (self.tick_top + 1)

    def _tick(self):
        ticks = (self.now - self.tick_start) // (self.tick_top + 1)
        if self.tick_control & 1 and ticks > self.ticks:
            self.ticks, self.tick_flag = ticks, TICK_FLAG
            if self.tick_control & 2:
                self.pending.add(SYSTICK)

    def _set_tick(self, control):
        if control & 5 == 1:
            raise Fault("the emulator's SysTick counts the core's cycles only")
        if control & ~self.tick_control & 1:
            self.tick_start, self.ticks = self.now, 0
        self.tick_control = control & 7

    # Registers

    def _read(self, offset, size):
        word, shift = offset & ~3, 8 * (offset & 3)
        return self._word(word) >> shift & ((1 << 8 * size) - 1)

    def _word(self, offset):
        if offset == SYST_VALUE:
            return self._tick_value()
        if offset == SYST_CTRL:
            self._tick()
            flag, self.tick_flag = self.tick_flag, 0
            return self.tick_control | flag
        if offset == SYST_LOAD:
            return self.tick_top
        if offset == DWT_CYCCNT:
            return self.now & 0xFFFF_FFFF
        if offset == ICSR:
            self._tick()
            active = self.active[-1] if self.active else 0
            return active | (PENDST if SYSTICK in self.pending else 0)
        for base, numbers in ((SET_ENABLE, self.enabled), (CLEAR_ENABLE, self.enabled),
                              (SET_PENDING, self.pending), (CLEAR_PENDING, self.pending)):
            if base <= offset < base + 0x40:
                first = FIRST_INTERRUPT + 8 * (offset - base)
                return sum(1 << bit for bit in range(32) if first + bit in numbers)
        first = _first_priority(offset)
        if first is not None:
            return int.from_bytes(bytes(self.priorities[first:first + 4]), "little")
        if offset not in self.registers:
            raise Fault(f"the emulator has no register at {SYSTEM + offset:#010x}")
        return self.registers[offset]

    def _write(self, offset, size, value):
        self.soon()
        changes = ((SET_ENABLE, self.enabled.add), (CLEAR_ENABLE, self.enabled.discard),
                   (SET_PENDING, self.pending.add), (CLEAR_PENDING, self.pending.discard))
        for base, change in changes:
            if base <= offset < base + 0x40:
                first = FIRST_INTERRUPT + 8 * (offset - base)
                for bit in range(8 * size):
                    if value >> bit & 1:
                        change(first + bit)
                return
        first = _first_priority(offset)
        if first is not None:
            for at in range(size):
                self.priorities[first + at] = value >> 8 * at & 0xF0  # four bits
        elif offset == SYST_CTRL:
            self._set_tick(value)
        elif offset == SYST_LOAD:
            self.tick_top = value & 0xFF_FFFF
        elif offset == SYST_VALUE:
            self.tick_start, self.ticks, self.tick_flag = self.now, 0, 0
        elif offset == ICSR:
            if value & PENDST:
                self.pending.add(SYSTICK)
            if value & PENDST >> 1:
                self.pending.discard(SYSTICK)
        elif offset == AIRCR and value & 4:
            raise Fault("it resets itself")
        elif offset in self.registers:
            self.registers[offset] = value
        else:
            raise Fault(f"the emulator has no register at {SYSTEM + offset:#010x}")


def _first_priority(offset):
    """The exception whose priority is in the byte at that address."""
    if PRIORITIES <= offset < PRIORITIES + INTERRUPTS:
        return FIRST_INTERRUPT + offset - PRIORITIES
    if SYSTEM_PRIORITIES <= offset < SYSTEM_PRIORITIES + 12:
        return 4 + offset - SYSTEM_PRIORITIES
    return None
