"""Runs an STM32F446: python runner.py --flash IMAGE --baud N --clock LIBRARY

The flash holds the bytes of a file, from its start. USART 2 is standard input and output. Bytes of
the input arrive at the rate of a serial line; a byte that finds the last one still there is lost,
as on the chip.

The time is the number of instructions that ran: an instruction takes one of the core's cycles,
and a read of flash never waits. A chip takes longer. Nothing else that firmware can see differs on
purpose, except that it is stopped with a message where a chip would fault or do nothing: see
`chip.py`. The first bytes of memory, where the chip shows its flash again, do not exist here.
"""

import argparse
import os
import select
import sys

import unicorn
from unicorn import arm_const as arm

from chip import Chip
from core import Core, Fault

FLASH, FLASH_BYTES = 0x0800_0000, 0x8_0000
RAM, RAM_BYTES = 0x2000_0000, 0x2_0000
GARBAGE = b"\xa5"
"""What an earlier program has left."""
OTHER_REGISTERS = (0xED10, 0xED14, 0xED24, 0xED88, 0xEF34, 0xEDFC, 0x1000,
                   0x4_2004, 0x4_2008, 0x4_200C)
"""SCR, CCR, SHCSR, CPACR, FPCCR, DEMCR, DWT_CTRL, and DBGMCU's."""
SLICE = 20_000
"""Instructions after which the input is looked at, about a byte's time on the line."""
LAST_SECONDS = 0.005
"""How long the chip still runs when the input has ended and arrived."""


def arrived():
    """What has arrived at standard input since; `None` at its end."""
    if not select.select([0], [], [], 0)[0]:
        return b""
    return os.read(0, 4096) or None


def run(core, chip):
    """Runs until the input has ended."""
    usart, end = chip.usart, None
    while end is None or core.now < end:
        if not usart.coming and end is None:
            data = arrived()
            if data is None:
                end = core.now + LAST_SECONDS * chip.clocks.core_hz()
            elif data:
                usart.come(data)
        times = [when for when in (chip.next(), core.next_tick()) if when is not None]
        core.run(int(min([*times, core.now + SLICE])) + 1)
        chip.advance()
        # Answers are frames that end with a zero, or lines.
        if usart.out and usart.out[-1] in b"\0\n":
            os.write(1, usart.out)
            usart.out.clear()
    os.write(1, usart.out)


def main():
    """Starts the chip."""
    options = argparse.ArgumentParser()
    options.add_argument("--flash", required=True)
    options.add_argument("--baud", type=int, required=True)
    options.add_argument("--clock", required=True)
    options = options.parse_args()
    with open(options.flash, "rb") as file:
        image = file.read()
    core = Core(options.clock, OTHER_REGISTERS)
    core.uc.mem_map(FLASH, FLASH_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
    core.uc.mem_map(RAM, RAM_BYTES)
    core.uc.mem_write(FLASH, image.ljust(FLASH_BYTES, GARBAGE))
    core.uc.mem_write(RAM, GARBAGE * RAM_BYTES)
    core.reset(FLASH)
    try:
        run(core, Chip(core, options.baud))
    except Fault as fault:
        at, link = core.clock.address, core.uc.reg_read(arm.UC_ARM_REG_LR)
        sys.exit(f"{fault}, at pc {at:#010x}, lr {link:#010x}, in instruction {core.now}")


main()
