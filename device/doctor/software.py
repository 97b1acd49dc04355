"""Python, the packages and the configuration file."""

import platform
import struct
import sys
from pathlib import Path

from device.config import options, read
from device.config.options import Effective
from device.doctor import Finding
from device.doctor.child import ask
from device.errors import UserError

OLDEST = (3, 11)
PACKAGES = ("numpy", "cv2", "ai_edge_litert.interpreter", "cryptography", "linuxpy.video.device")
IMPORT_S = 60.0  # a cold card and a slow processor
ENVIRONMENT = "etc/busi-kd/daemon.env"


def python(version: tuple[int, ...] = sys.version_info[:3], bits: int = 8 * struct.calcsize("P")) -> Finding:
    """Is this Python new enough, and of 64 bits? There are no 32-bit packages of the interpreter."""
    said = f"Python {'.'.join(map(str, version))}, {bits}-bit, on {platform.machine()}."
    if version < OLDEST:
        return Finding("python", "problem", said, "Install Python 3.11 or newer (Debian 12, Raspberry Pi OS bookworm).")
    if bits != 64:
        return Finding("python", "problem", said, "Take the 64-bit Raspberry Pi OS.")
    return Finding("python", "ok", said)


def packages(modules: tuple[str, ...] = PACKAGES) -> Finding:
    """Can each be imported? Each in a process of its own: a wheel for another processor ends it."""
    broken, versions = [], []
    for module in modules:
        top = module.partition(".")[0]
        code = (
            f"import importlib, importlib.metadata as m; importlib.import_module({module!r});"
            f"print(m.version((m.packages_distributions().get({top!r}) or [{top!r}])[0]))"
        )
        answer = ask(["-c", code], IMPORT_S)
        if answer.ended is not None:
            broken.append(f"{module} ({answer.ended})")
        versions.append(f"{top} {answer.out.strip()}")
    if broken:
        do = "Install busi-kd again: its package, or pip install --force-reinstall busi-kd."
        return Finding("packages", "problem", f"cannot be imported: {', '.join(broken)}.", do)
    return Finding("packages", "ok", f"{', '.join(versions)}.")


def configuration(path: Path | None) -> tuple[Finding, Effective]:
    """Is the configuration file right? With the settings to check the rest by: its own, else the defaults."""
    defaults = options.merged(None)
    do = f"Correct the file; busi-kd device config check {path or read.FILE} lists all that is wrong."
    try:
        found = read.read(path)
        page = None if path == read.NO_FILE else options.of_page(found)
        now = options.merged(found, page=page)
    except UserError as error:
        return Finding("configuration", "problem", str(error), do), defaults
    over = "" if page is None else f" The page has set {len(page.values)} ({page.path}), which win."
    if found is None:
        said = f"no file ({read.FILE}), so every setting has its default.{over}"
    else:
        said = f"{found.path} is right; settings of its own: {len(found.values)}.{over}"
    return Finding("configuration", "ok", said), now


def environment(root: Path = Path("/")) -> Finding | None:
    """Options of an older installation that win over the configuration file; None when there are none."""
    file = root / ENVIRONMENT
    try:
        lines = [line.strip() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        return None
    given = [line.partition("=")[2].strip("\"' ") for line in lines if line.startswith("BUSI_KD_ARGS=")]
    if not given or not given[-1]:
        return None
    do = f"Move them into {read.FILE} and delete the file; config show with these options says what they mean."
    return Finding("options", "note", f"{file}: {given[-1]} wins over the configuration file.", do)
