"""An environment of its own for packages that do not go together with ours; and ai-edge-quantizer, the peer, in one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from device.errors import UserError
from device.files import folder_beside

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SCRIPT = Path(__file__).with_name("quantiser.py")


def prepared(folder: Path, requirements: Path = REQUIREMENTS, what: str = "ai-edge-quantizer") -> Path:
    """The Python of the environment in `folder`, which is made when it is not there yet (the peer's: 310 MB).

    requirements: exact versions of all packages, none of which fetches another. what: they are, for a message. Raises
    UserError when pip cannot install the packages; nothing is left at `folder` then.
    """
    if not folder.exists():
        with folder_beside(folder) as aside:
            _run("python -m venv", [sys.executable, "-m", "venv", str(aside)])
            pip = [str(aside / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run(f"pip, which installs {what}", [*pip, "--no-deps", "-r", str(requirements)])
            os.replace(aside, folder)
    python = folder / "bin" / "python"
    if not python.is_file():
        raise UserError(f"{folder}: is no environment of Python; name a folder that is not there yet.")
    return python


def quantise(
    python: Path, float32: Path, lumas: Path, out: Path, ranges: str, centre: int = 0, silent_channels: bool = False
) -> None:
    """Run quantiser.py, which says what its arguments are. Raises UserError with what it said when it fails."""
    command = [str(python), str(SCRIPT), str(float32), str(lumas), str(out), ranges, "--centre", str(centre)]
    _run("ai-edge-quantizer", command + ["--silent-channels"] * silent_channels)


def _run(what: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        said = done.stdout.strip().splitlines()
        raise UserError(f"{what} failed: {said[-1] if said else 'it said nothing'}.")
