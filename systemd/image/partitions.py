"""Where the partitions of the image lie on the card.

An MBR, because the firmware of the Pi 3 knows nothing else: firmware and kernel, the read-only root, and data, which
is last so that it can grow. Root has a fixed size, so that the data partition of every version begins at the same place
and a card can be given a newer root without losing its data (docs/image.md).
"""

from dataclasses import dataclass

SECTOR = 512
MIB = 1 << 20
ALIGN = 4 * MIB  # what SD cards erase at a time, or a multiple of it (SD Association, allocation unit)
DISK_ID = 0x62757369  # the same for every card: the kernel's command line and fstab name partitions by it
FAT32_LBA, LINUX = 0x0C, 0x83  # types of partitions
FIRMWARE, ROOT, DATA = 1, 2, 3  # their numbers
FIRMWARE_BYTES = 256 * MIB
DATA_BYTES = 256 * MIB  # on the image; the first boot takes the rest of the card


@dataclass(frozen=True)
class Partition:
    """number: from 1. kind: type byte of the MBR. start, size: bytes, whole sectors."""

    number: int
    kind: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


@dataclass(frozen=True)
class Layout:
    """The partitions in the order in which they lie."""

    partitions: tuple[Partition, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole image."""
        return self.partitions[-1].end

    def of(self, number: int) -> Partition:
        """A partition by its number."""
        return next(one for one in self.partitions if one.number == number)

    def script(self) -> str:
        """What sfdisk reads (sfdisk(8), "Named-fields format")."""
        head = f"label: dos\nlabel-id: 0x{DISK_ID:08x}\nunit: sectors\nsector-size: {SECTOR}\n\n"
        return head + "".join(
            f"start={one.start // SECTOR}, size={one.size // SECTOR}, type={one.kind:x}"
            f"{', bootable' if one.number == FIRMWARE else ''}\n"
            for one in self.partitions
        )


def partuuid(number: int) -> str:
    """By which the kernel finds a partition (Linux, Documentation/admin-guide/kernel-parameters: root=PARTUUID=)."""
    return f"{DISK_ID:08x}-{number:02x}"


def layout(root_bytes: int, firmware_bytes: int = FIRMWARE_BYTES, data_bytes: int = DATA_BYTES) -> Layout:
    """The layout of an image; sizes are rounded up to whole ALIGN. Raises ValueError for none, and for more than MBR
    can say (2 TiB)."""
    partitions, start = [], ALIGN
    for number, kind, size in (
        (FIRMWARE, FAT32_LBA, firmware_bytes),
        (ROOT, LINUX, root_bytes),
        (DATA, LINUX, data_bytes),
    ):
        if size <= 0:
            raise ValueError(f"partition {number} has {size} bytes")
        rounded = -(-size // ALIGN) * ALIGN
        partitions.append(Partition(number, kind, start, rounded))
        start += rounded
    if start // SECTOR >= 1 << 32:
        raise ValueError(f"{start} bytes are more than an MBR can say")
    return Layout(tuple(partitions))
