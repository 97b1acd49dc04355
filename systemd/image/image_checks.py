"""What an image must be before it leaves this machine. Each check reads the finished image, not what it was made of."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pi_firmware
from emulation import run
from filesystems import LABELS, copy_sparse, used
from partitions import DATA, FIRMWARE, MIB, ROOT, SECTOR, Layout, partuuid

from device.errors import UserError

MOST_COMPRESSED = 400_000_000  # bytes
LEAST_FREE = 64 * MIB  # of root: what a newer package of busi-kd may take more
_MEND = "the image is not good, and was not kept"
# Whoever has one of these could come in over a network.
_NO_PROGRAMS = (
    "/usr/sbin/sshd",
    "/usr/sbin/dropbear",
    "/usr/sbin/telnetd",
    "/usr/sbin/in.telnetd",
    "/usr/sbin/avahi-daemon",
)
_NO_FILES = ("/etc/ssh", "/var/lib/systemd/random-seed", "/var/lib/busi-kd-fleet", "/etc/systemd/network.conf")


@dataclass(frozen=True)
class Parts:
    """An image with its partitions in files of their own, for programs that read no image."""

    image: Path
    layout: Layout
    files: dict[int, Path]

    def text(self, path: str, number: int = ROOT) -> str:
        """A file of an ext4. Raises UserError when it is not there."""
        found = run(["debugfs", "-R", f"cat {path}", self.files[number]], _MEND)
        if not found and not self.there(path, number):
            raise UserError(f"the image has no {path}.")
        return found

    def stat(self, path: str, number: int = ROOT) -> dict[str, str]:
        """mode (octal), user, group, size of a file; empty when it is not there."""
        said = run(["debugfs", "-R", f"stat {path}", self.files[number]], _MEND)
        found = re.search(r"Mode:\s+(\d+).*?User:\s+(\d+)\s+Group:\s+(\d+).*?Size: (\d+)", said, re.DOTALL)
        return dict(zip(("mode", "user", "group", "size"), found.groups())) if found else {}

    def there(self, path: str, number: int = ROOT) -> bool:
        """Whether there is such a file or folder."""
        return bool(self.stat(path, number))


def table(parts: Parts) -> str:
    """The table says what the layout says, and sfdisk finds nothing wrong with it."""
    run(["sfdisk", "--verify", parts.image], _MEND)
    told = json.loads(run(["sfdisk", "--json", parts.image], _MEND))["partitiontable"]
    found = [(one["start"] * SECTOR, one["size"] * SECTOR, int(one["type"], 16)) for one in told["partitions"]]
    wanted = [(one.start, one.size, one.kind) for one in parts.layout.partitions]
    if (told["label"], found) != ("dos", wanted):
        raise UserError(f"the table of partitions says {found}, and not {wanted}.")
    if f"{int(told['id'], 16):08x}-02" != partuuid(ROOT):
        raise UserError(f"the disk is called {told['id']}, but the kernel looks for {partuuid(ROOT)}.")
    return run(["fdisk", "--list", parts.image], _MEND).strip()


def firmware_partition(parts: Parts) -> str:
    """The FAT is sound, and holds what the Pi's firmware reads."""
    file = parts.files[FIRMWARE]
    said = run(["fsck.vfat", "-n", file], _MEND)
    held = {line.strip().removeprefix("::/") for line in run(["mdir", "-b", "-i", file, "::"], _MEND).splitlines()}
    wanted = {
        *pi_firmware.NEEDED,
        *pi_firmware.TREES,
        "config.txt",
        "cmdline.txt",
        "LICENCE.txt",
        "vmlinuz",
        "initrd.img",
    }
    if wanted - held:
        raise UserError(f"the firmware's partition has no {', '.join(sorted(wanted - held))}.")
    line = run(["mtype", "-i", file, "::cmdline.txt"], _MEND)
    if f"root=PARTUUID={partuuid(ROOT)}" not in line or " ro " not in line:
        raise UserError(f"cmdline.txt does not mount {partuuid(ROOT)} read-only: {line}")
    return said.splitlines()[-1]


def linux_partitions(parts: Parts) -> str:
    """Both ext4 are sound; root has room, and no journal that a mount would replay."""
    said = []
    for number in (ROOT, DATA):
        said.append(run(["e2fsck", "-f", "-n", parts.files[number]], _MEND).splitlines()[-1])
        with open(parts.files[number], "rb") as stream:
            stream.seek(1024)
            superblock = stream.read(1024)
        taken, whole = used(superblock)
        if number == ROOT and whole - taken < LEAST_FREE:
            raise UserError(f"root has {(whole - taken) // MIB} MiB free, and {LEAST_FREE // MIB} are wanted.")
        said.append(f"{LABELS[number]}: {taken / 1e6:.0f} of {whole / 1e6:.0f} MB used")
    if "has_journal" in run(["dumpe2fs", "-h", parts.files[ROOT]], _MEND):
        raise UserError("root has a journal, though nothing may write to it.")
    return "\n".join(said)


def nobody_can_come_in(parts: Parts) -> str:
    """No account has a password or could be given an empty one, and nothing listens that would let somebody in."""
    accounts = [line.split(":") for line in parts.text("/etc/shadow").splitlines()]
    for name, password, *_ in accounts:
        if not password.startswith(("!", "*")):
            raise UserError(f"the account {name} is not locked.")
    people = [
        line.split(":")[0] for line in parts.text("/etc/passwd").splitlines() if 1000 <= int(line.split(":")[2]) < 60000
    ]
    if people:
        raise UserError(f"there are accounts of people: {', '.join(people)}.")
    open_to = [path for path in (*_NO_PROGRAMS, "/root/.ssh") if parts.there(path)]
    if open_to:
        raise UserError(f"somebody could come in by {', '.join(open_to)}.")
    return f"{len(accounts)} accounts, all locked; no ssh"


def nothing_of_one_unit(parts: Parts) -> str:
    """What each unit makes for itself is not in the image, nor where it was built from."""
    size = parts.stat("/etc/machine-id").get("size")
    if size != "0":
        raise UserError("/etc/machine-id is not empty, so all units would have one name.")
    found = [path for path in _NO_FILES if parts.there(path)]
    found += [path for path in ("/busi-kd/page", "/busi-kd/studies") if parts.there(path, DATA)]
    if found:
        raise UserError(f"the image has {', '.join(found)}, which each unit makes for itself.")
    if re.search(r"https?://|^deb ", parts.text("/etc/apt/sources.list"), re.MULTILINE):
        raise UserError("/etc/apt/sources.list names the package sources of the machine that built the image.")
    return "no machine-id, keys, PIN or package sources"


def data_partition(parts: Parts) -> str:
    """busi-kd owns its folder; the folder of its updates is root's."""
    owners = dict(line.split(":")[0:3:2] for line in parts.text("/etc/passwd").splitlines())
    own, updates = parts.stat("/busi-kd", DATA), parts.stat("/busi-kd/app", DATA)
    if (own.get("user"), own.get("mode", "")[-4:]) != (owners.get("busi-kd"), "0750"):
        raise UserError(f"/data/busi-kd is {own}, and not busi-kd's with mode 0750.")
    if (updates.get("user"), updates.get("mode", "")[-4:]) != ("0", "0755"):
        raise UserError(f"/data/busi-kd/app is {updates}, and not root's with mode 0755.")
    return "/data/busi-kd is busi-kd's, its app/ is root's"


CHECKS: tuple[Callable[[Parts], str], ...] = (
    table,
    firmware_partition,
    linux_partitions,
    nobody_can_come_in,
    nothing_of_one_unit,
    data_partition,
)


def check(image: Path, layout: Layout, work: Path) -> Iterator[tuple[str, str]]:
    """Each check's description, and what it found. work: a folder for the partitions. Raises UserError."""
    if image.stat().st_size != layout.size:
        raise UserError(f"{image.name} has {image.stat().st_size} bytes, and not {layout.size}.")
    files = {}
    for one in layout.partitions:
        files[one.number] = work / f"checked-{one.number}"
        with open(files[one.number], "wb") as stream:
            stream.truncate(one.size)
        copy_sparse(image, one.start, files[one.number], 0, one.size)
    parts = Parts(image, layout, files)
    for one in CHECKS:
        yield one.__doc__.splitlines()[0], one(parts)
    for file in files.values():
        file.unlink()


def compressed(file: Path) -> str:
    """It can be unpacked, and is small enough to be sent around."""
    run(["xz", "--test", file], _MEND)
    size = file.stat().st_size
    if size > MOST_COMPRESSED:
        raise UserError(f"{file.name} has {size / 1e6:.1f} MB, and {MOST_COMPRESSED / 1e6:.0f} are the most.")
    return f"{size / 1e6:.1f} MB"
