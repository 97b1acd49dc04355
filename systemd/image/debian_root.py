"""A small Debian for the Raspberry Pi, made by mmdebstrap from the package sources that this machine's apt knows."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from emulation import emulated, run

from device.errors import UserError
from device.files import folder_beside, replace_folder

# What busi-kd depends on comes with its package's own Depends, looked up in build; these are the system around it.
SYSTEM = (
    *("systemd-sysv", "udev", "dbus", "kmod", "e2fsprogs", "systemd-timesyncd", "libpam-systemd"),
    *("linux-image-arm64", "initramfs-tools", "busybox", "zstd", "raspi-firmware"),
    *("libstdc++6", "libgcc-s1", "zlib1g"),
    *("iproute2", "procps", "less", "nano", "v4l-utils"),  # for who has opened a shell (docs/image.md)
)
# The page on the unit's own screen. Mesa's drivers are only recommended by what uses them.
KIOSK = ("cage", "chromium", "chromium-sandbox", "libgl1-mesa-dri", "libegl1", "fonts-dejavu-core")
HERE = Path(__file__).resolve().parent
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MEND = "it needs root, and the package sources of Debian that apt knows (apt-get update)"

# Nobody reads these on a unit without a shell. Licences stay.
_NO_DOCUMENTS = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc-base/*",
                 "/usr/share/doc/*", "/usr/share/lintian/*", "/usr/share/bug/*")  # fmt: skip
_DOCUMENTS = ("/usr/share/doc/*/copyright", "/usr/share/doc/busi-kd/*")
# The firmware's partition is put together here (pi_firmware.py): Debian's hooks would do it again for every kernel. The
# package itself calls one of them when it is installed, so an empty one stands in its place until the tree is finished.
HOOK = "etc/kernel/postinst.d/z50-raspi-firmware"
_NO_HOOKS = ("/etc/kernel/*/*raspi-firmware", "/etc/initramfs/*/*raspi-firmware")


def _no_drivers() -> list[str]:
    return [line for line in (HERE / "no-drivers.txt").read_text().splitlines() if line and not line.startswith("#")]


@dataclass(frozen=True)
class Recipe:
    """suite: of Debian, such as bookworm. kiosk: with a browser for the own screen. python: such as python3.11."""

    suite: str
    kiosk: bool
    python: str

    @property
    def packages(self) -> tuple[str, ...]:
        """What mmdebstrap is asked for; apt adds what they depend on."""
        return (*SYSTEM, self.python, *(KIOSK if self.kiosk else ()))

    @property
    def options(self) -> list[str]:
        """mmdebstrap's, but for where it takes from and puts to."""
        left_out = [*_NO_DOCUMENTS, *_NO_HOOKS]
        left_out += [f"{lib}/modules/*/kernel/{one}/*" for one in _no_drivers() for lib in ("/lib", "/usr/lib")]
        return [
            *("--mode=root", "--variant=minbase", "--architectures=arm64", "--format=tar"),
            *(f"--include={','.join(self.packages)}", "--aptopt=Acquire::Languages none"),
            f'--essential-hook=mkdir -p "$1/{Path(HOOK).parent}"; echo "#!/bin/sh" >"$1/{HOOK}"; chmod 755 "$1/{HOOK}"',
            *(f"--dpkgopt=path-exclude={one}" for one in left_out),
            *(f"--dpkgopt=path-include={one}" for one in _DOCUMENTS),
        ]

    @property
    def name(self) -> str:
        """By which the tree is kept: other packages or options have another name."""
        told = "\n".join((self.suite, *self.options))
        return f"{self.suite}-{'kiosk' if self.kiosk else 'plain'}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def sources(suite: str) -> list[str]:
    """Lines of sources.list for a suite with its updates and security updates: what this machine's apt uses, whichever
    of Debian's suites that is. The firmware of the Pi is in non-free-firmware. Raises UserError."""
    format_ = "$(REPO_URI) $(RELEASE)"
    listed = run(["apt-get", "indextargets", "--format", format_, "Created-By: Packages"], MEND)
    found = {}
    for line in listed.splitlines():
        known = re.fullmatch(r"(\S+) (bookworm|trixie)(-updates|-security)?", line)
        if known:
            found.setdefault(known[3] or "", known[1])
    if "" not in found:
        raise UserError(f"apt knows no package source of Debian 12 or 13 here (apt-get indextargets); {MEND}.")
    parts = "main non-free-firmware"
    return [f"deb [signed-by={KEYS}] {uri} {suite}{behind} {parts}" for behind, uri in sorted(found.items())]


def tarball(recipe: Recipe, cache: Path, fresh: bool, built: int) -> Path:
    """The Debian of a recipe as a tar file in `cache`, made when it is not there yet (6 to 12 minutes) or `fresh`.

    built: no file is newer than this date, in seconds since 1970. Raises UserError.
    """
    folder = cache / recipe.name
    if fresh or not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with folder_beside(folder) as aside, emulated():
            # INITRD: the kernel's hooks leave the initramfs alone; it is made once, when everything is in place.
            more = {"SOURCE_DATE_EPOCH": str(built), "INITRD": "No"}
            run(["mmdebstrap", *recipe.options, recipe.suite, aside / "root.tar", *sources(recipe.suite)], MEND, more)
            replace_folder(aside, folder)
    return folder / "root.tar"
