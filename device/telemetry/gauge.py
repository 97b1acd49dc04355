"""Fuel gauges of the MAX17040 family (MAX17040, MAX17043, MAX17048 and others), as on UPS-Lite, Geekworm, SparkFun.

Datasheets: Maxim 19-5210 (MAX17040/41), 19-5221 (MAX17043/44), 19-6171 (MAX17048/49). I2C address 0x36; registers are
16 bits, the upper byte first. VCELL (0x02): the MAX17040's and MAX17043's 12 bits of 1.25 mV stand in the upper end of
the word, the MAX17048's 16 bits count 78.125 uV, and 1.25 mV / 16 is 78.125 uV: one formula for all. SOC (0x04): the
upper byte counts percent, the lower one 1/256 percent. Of the two-cell kinds (MAX17041, 17044, 17049), whose steps are
twice as large, it comes out as volts per cell.

Only the header's bus is asked: at 0x36 of a Raspberry Pi's camera bus sits the camera module's sensor (OV5647).
"""

import ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from device.telemetry.read import within

BUS = "dev/i2c-1"
ADDRESS = 0x36
VCELL, SOC = 0x02, 0x04
# linux/i2c-dev.h and linux/i2c.h
I2C_SLAVE, I2C_SMBUS = 0x0703, 0x0720
SMBUS_READ, SMBUS_WORD_DATA = 1, 3
_LOWEST_V, _HIGHEST_V = 2.5, 5.0  # of a lithium cell, and the end of the gauge's range
_FULL = 110.0  # percent: the model of the cell may overshoot


class Word(ctypes.Union):
    """union i2c_smbus_data of linux/i2c.h."""

    _fields_ = [("byte", ctypes.c_uint8), ("word", ctypes.c_uint16), ("block", ctypes.c_uint8 * 34)]


class Request(ctypes.Structure):
    """struct i2c_smbus_ioctl_data of linux/i2c-dev.h."""

    _fields_ = [
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.POINTER(Word)),
    ]


def ask(bus: Path, ioctl: Callable = fcntl.ioctl) -> tuple[float | None, float | None] | None:
    """(percent 0..100, volts), each None where implausible; None when no gauge answers at all.

    bus: such as /dev/i2c-1. ioctl: as of fcntl. Two transactions of 5 bytes, half a millisecond each.
    """
    try:
        # O_NONBLOCK for the sake of a file that is not a bus but would block, such as a pipe.
        descriptor = os.open(bus, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # no such bus, or not for this user
        return None
    try:
        ioctl(descriptor, I2C_SLAVE, ADDRESS)  # EBUSY: a driver of the kernel has it, see power_supply
        volts = volts_of(_register(ioctl, descriptor, VCELL))
        if volts is None:  # whatever sits there, it is no cell's gauge
            return None
        return percent_of(_register(ioctl, descriptor, SOC)), volts
    except OSError:  # nobody acknowledges
        return None
    finally:
        os.close(descriptor)


def _register(ioctl: Callable, descriptor: int, register: int) -> int:
    """A register's 16 bits. SMBus sends the lower byte of a word first and the gauge its upper one, so: swapped."""
    word = Word()
    ioctl(descriptor, I2C_SMBUS, Request(SMBUS_READ, register, SMBUS_WORD_DATA, ctypes.pointer(word)))
    return (word.word & 0xFF) << 8 | word.word >> 8


def volts_of(vcell: int) -> float | None:
    """The VCELL register's 16 bits -> volts; None when no lithium cell has so many."""
    return within(vcell * 78.125e-6, _LOWEST_V, _HIGHEST_V)


def percent_of(soc: int) -> float | None:
    """The SOC register's 16 bits -> percent, what overshoots 100 by a little as 100; None beyond that."""
    percent = within(soc / 256.0, 0.0, _FULL)
    return None if percent is None else min(percent, 100.0)
