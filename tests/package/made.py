"""Small wheels and a small checkout, from which a whole package is made in a moment."""

import zipfile
from pathlib import Path

from target import ROOT, Target


def elf(machine: int) -> bytes:
    """The first bytes of a 64-bit program for a processor (elf.h: e_ident, e_type, e_machine)."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(44)


def wheel(folder: Path, name: str, tags: str, files: dict[str, bytes]) -> Path:
    """A wheel `name` 1.0 with these files, and with the metadata that each wheel has."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-1.0-{tags}.whl", f"{name}-1.0.dist-info"
    held = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n\nLong\n".encode(),
        f"{info}/licenses/LICENSE.txt": b"may be used",
    }
    with zipfile.ZipFile(path, "w") as written:
        for inside, data in held.items():
            written.writestr(inside, data)
        written.writestr(f"{info}/RECORD", "".join(f"{one},,\n" for one in [*held, f"{info}/RECORD"]))
    return path


def checkout(folder: Path) -> Path:
    """A checkout with one module, one shipped file, a stray compiled file, and the real units."""
    (folder / "device/__pycache__").mkdir(parents=True)
    (folder / "device/__init__.py").write_text('__version__ = "1.2.3"\n')
    (folder / "device/main.py").write_text('print("here")\n')
    (folder / "device/__pycache__/main.cpython-311.pyc").write_bytes(b"stale")
    (folder / "device/models/one").mkdir(parents=True)
    (folder / "device/models/one/bundle.json").write_text("{}")
    (folder / "systemd").symlink_to(ROOT / "systemd")
    return folder


def some_wheels(folder: Path, target: Target) -> list[Path]:
    """A pure wheel, and one with compiled code for the target."""
    tags = f"{target.suite.abi}-{target.suite.abi}-manylinux_2_17_{target.arch.machine}"
    compiled = {
        "fast/__init__.py": b"",
        "fast/_fast.so": elf(target.arch.elf),
        "fast/tests/test_fast.py": b"",
        "fast/fast.pyi": b"",
        "fast-1.0.data/purelib/extra/__init__.py": b"x = 1\n",
        "fast-1.0.data/scripts/fast": b"#!python\n",
    }
    return [
        wheel(folder, "fast", tags, compiled),
        wheel(folder, "plain", "py3-none-any", {"plain.py": b"y = 2\n", "plain_data/include/x.h": b""}),
    ]
