"""From the staged tree to the .deb: control files, then dpkg-deb.

Not debhelper: its helpers strip, move and rewrite what they find, and the wheels' compiled code must stay as it was
hashed; it would bring 40 packages to every build machine, and this way a package for Arm is built anywhere. What
debhelper would write into the maintainer scripts stands in debian/*, to be read.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import staging
from target import HERE, Target

from device import RESEARCH_NOTICE
from device.errors import UserError

SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
COMPRESSIONS = ("xz", "none")  # none: three times as large, and quick


def control(target: Target, version: str, kibibytes: int) -> str:
    """The file `control` (Debian Policy, section 5.3)."""
    # The Python of the suite by its own name: a later Debian keeps it installed, and then busi-kd runs on.
    depends = f"python{target.suite.python}, libc6 (>= 2.34), libgcc-s1, libstdc++6, zlib1g, systemd (>= 252), udev"
    return f"""\
Package: {staging.NAME}
Version: {version}
Architecture: {target.arch.name}
Maintainer: {staging.MAINTAINER}
Installed-Size: {kibibytes}
Depends: {depends}
Suggests: cage, chromium, python3-picamera2, v4l-utils
Section: science
Priority: optional
Description: breast-ultrasound reader for a Raspberry Pi (research use only)
 Reads the picture of an ultrasound machine from an HDMI grabber or a camera and
 says, frame by frame, what a small neural network sees: benign, malignant,
 normal, or that it cannot say, with the reason.
 .
 {RESEARCH_NOTICE}
 .
 Built for Debian {target.suite.number} ({target.suite.name}), with Python packages of its own.
"""


def write_control(root: Path, source: Path, target: Target, version: str, built: int) -> None:
    """Write DEBIAN/ into the staged tree: control, conffiles, md5sums and the maintainer scripts."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    there = sorted(root.rglob("*"))
    kibibytes = sum(-(-path.stat().st_size // 1024) if path in set(files) else 1 for path in there)
    folder = root / "DEBIAN"
    folder.mkdir()
    (folder / "control").write_text(control(target, version, kibibytes))
    (folder / "conffiles").write_text(f"/{staging.CONFIG}\n")
    sums = ((hashlib.md5(path.read_bytes()).hexdigest(), path.relative_to(root).as_posix()) for path in files)
    (folder / "md5sums").write_text("".join(f"{md5}  {name}\n" for md5, name in sums if name != staging.CONFIG))
    for name in SCRIPTS:
        (folder / name).write_text(script(name, source))
    for path in [*folder.iterdir(), folder]:
        path.chmod(0o755 if path.name in SCRIPTS or path.is_dir() else 0o644)
        os.utime(path, (built, built))
    os.utime(root, (built, built))


def script(name: str, source: Path) -> str:
    """A maintainer script with the names of the units that the package holds."""
    held = [unit.name for unit in staging.units(source)]
    text = (HERE / "debian" / name).read_text()
    for word, names in (
        ("@UNITS@", held),
        ("@STARTED@", [name for name in staging.STARTED if name in held]),
        ("@INSTALLABLE@", staging.installable(source)),
    ):
        text = text.replace(word, " ".join(names))
    return text


def pack(root: Path, into: Path, built: int, compression: str = "xz") -> Path:
    """Run dpkg-deb on the staged tree; the package, named by its control file. Raises UserError when it fails."""
    fields = dict(line.split(": ", 1) for line in (root / "DEBIAN/control").read_text().splitlines() if ": " in line)
    into.mkdir(parents=True, exist_ok=True)
    package = into / f"{fields['Package']}_{fields['Version']}_{fields['Architecture']}.deb"
    aside = package.with_suffix(".new")
    level = ["-z6"] if compression == "xz" else []
    command = ["dpkg-deb", f"-Z{compression}", *level, "--root-owner-group", "--build", root, aside]
    # xz packs in blocks, whose size must not hang on how many processors there are.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(built), "LC_ALL": "C.UTF-8", "DPKG_DEB_THREADS_MAX": "2"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError("dpkg-deb is missing; run: apt install dpkg (or build on a Debian machine)") from error
    if done.returncode:
        aside.unlink(missing_ok=True)
        raise UserError(f"dpkg-deb failed: {' '.join(done.stderr.split())[-400:]}")
    os.replace(aside, package)
    return package


def build(
    target: Target, source: Path, found: list[Path], into: Path, work: Path, built: int, compression: str = "xz"
) -> Path:
    """One package from a checkout and its wheels; `work` is a folder for the tree, which is removed afterwards."""
    version = f"{staging.version_of(source)}~deb{target.suite.number}"
    root = work / f"{target.suite.name}-{target.arch.name}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        staging.stage(root, source, target, found, version, built)
        write_control(root, source, target, version, built)
        return pack(root, into, built, compression)
    finally:
        shutil.rmtree(root, ignore_errors=True)
