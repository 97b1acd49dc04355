"""The EDID that an HDMI bridge shows to the scanner: what to send, when the bridge has none of its own.

Without one many sources send nothing, or 640 x 480. Two blocks: the base block of VESA E-EDID 1.3 and the
CEA-861 extension (CEA-861-D, section 7.5), whose vendor block tells HDMI from DVI (HDMI 1.4b, section 8.3.2).
"""

from dataclasses import dataclass

BLOCK = 128
_HEADER = bytes((0, 255, 255, 255, 255, 255, 255, 0))
_MAKER = "BKD"  # three letters; they name nobody that is registered
_NAME = "busi-kd"
# What the smallest bridges take (two CSI-2 lanes, 74.25 MHz pixel clock): CEA-861-D, table 4. 4: 720p60, 19: 720p50,
# 34: 1080p30, 33: 1080p25, 32: 1080p24, 1: 640 x 480, which every source must know.
VIDEO_CODES = (4, 19, 34, 33, 32, 1)
_HDMI = bytes((0x03, 0x0C, 0x00, 0x10, 0x00))  # HDMI's identifier, least byte first, and the physical address 1.0.0.0


@dataclass(frozen=True)
class Timing:
    """A progressive video mode with positive sync. clock: 10 kHz; the others: pixels across and lines down."""

    clock: int
    width: int
    front: int
    sync: int
    blank: int
    height: int
    front_lines: int
    sync_lines: int
    blank_lines: int


HD60 = Timing(7425, 1280, 110, 40, 370, 720, 5, 5, 30)  # CEA-861-D, table 3, code 4
FULL_HD30 = Timing(7425, 1920, 88, 44, 280, 1080, 4, 5, 45)  # code 34


def checksum(block: bytes) -> int:
    """The byte behind the 127 of `block` that makes the sum of all 128 a multiple of 256."""
    return -sum(block) % 256


def default_edid() -> bytes:
    """256 bytes: 720p60 preferred, 1080p30 second, HDMI with full-range RGB selectable, no sound."""
    return _whole(_base()) + _whole(_extension())


def _whole(block: bytes) -> bytes:
    padded = block.ljust(BLOCK - 1, b"\0")
    return padded + bytes((checksum(padded),))


def _base() -> bytes:
    letters = [ord(letter) - 64 for letter in _MAKER]
    maker = (letters[0] << 10 | letters[1] << 5 | letters[2]).to_bytes(2, "big")
    identity = maker + (1).to_bytes(2, "little") + bytes(4) + bytes((0, 2026 - 1990)) + bytes((1, 3))
    # Digital input; size unknown; gamma 2.2; RGB, sRGB, the first timing is preferred.
    kind = bytes((0x80, 0, 0, 120, 0b0000_0110))
    srgb = bytes((0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54))
    established = bytes((0x20, 0, 0))  # 640 x 480 at 60 Hz
    unused = b"\x01\x01" * 8
    name = bytes((0, 0, 0, 0xFC, 0)) + (_NAME + "\n").ljust(13).encode("ascii")
    # Range limits: 23-61 Hz down, 15-70 kHz across, at most 80 MHz, no secondary formula.
    limits = bytes((0, 0, 0, 0xFD, 0, 23, 61, 15, 70, 8, 0x00, 0x0A)) + b" " * 6
    return (
        _HEADER
        + identity
        + kind
        + srgb
        + established
        + unused
        + detailed(HD60)
        + detailed(FULL_HD30)
        + (
            name + limits + b"\x01"  # one extension follows
        )
    )


def _extension() -> bytes:
    video = bytes((0x40 | len(VIDEO_CODES), 0x80 | VIDEO_CODES[0], *VIDEO_CODES[1:]))  # the first one is native
    vendor = bytes((0x60 | len(_HDMI),)) + _HDMI
    # Extended tag 0, video capability: the quantisation range of RGB and of YCbCr can be chosen by the source.
    capability = bytes((0xE0 | 2, 0x00, 0b1100_0000))
    blocks = video + vendor + capability
    # Tag and revision; where the timings begin; underscan, YCbCr 4:4:4 and 4:2:2, one native timing.
    return bytes((2, 3, 4 + len(blocks), 0b1011_0001)) + blocks + detailed(HD60) + detailed(FULL_HD30)


def detailed(timing: Timing) -> bytes:
    """The 18 bytes of a detailed timing descriptor (VESA E-EDID 1.3, section 3.10.2)."""
    t = timing
    return bytes(
        (
            t.clock & 0xFF,
            t.clock >> 8,
            t.width & 0xFF,
            t.blank & 0xFF,
            t.width >> 8 << 4 | t.blank >> 8,
            t.height & 0xFF,
            t.blank_lines & 0xFF,
            t.height >> 8 << 4 | t.blank_lines >> 8,
            t.front & 0xFF,
            t.sync & 0xFF,
            (t.front_lines & 15) << 4 | t.sync_lines & 15,
            t.front >> 8 << 6 | t.sync >> 8 << 4 | t.front_lines >> 4 << 2 | t.sync_lines >> 4,
            *(0, 0, 0, 0, 0),  # size and border
            0b0001_1110,  # digital, separate sync, both positive
        )
    )
