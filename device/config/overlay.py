"""The settings that the page has written: a TOML file of its own, whose values win over the configuration file's.

Only the keys of SETTABLE may stand there. What would widen the trust of the machine (whose models, which files, who
reaches the page) is for whoever has a shell.
"""

from pathlib import Path
from typing import Any

from device import files
from device.config import read
from device.config.settings import KEYS, SECTIONS
from device.errors import UserError

NAME = "settings.toml"
_SECTIONS = ("source", "judgement", "quality", "governor")
_MORE = (
    "region.mode",
    "region.fixed",
    "recorder.enabled",
    "recorder.max_size",
    "recorder.max_age",
    "recorder.reserve",
    "recorder.when_full",
    "page.language",
    "page.session_idle",
)
SETTABLE = tuple(dotted for dotted, one in KEYS.items() if one.section in _SECTIONS or dotted in _MORE)
_HEAD = "# Written by busi-kd's page, whose values win over the configuration file's. Delete it to be rid of them.\n"


def load(folder: Path) -> read.Found | None:
    """What the page has set; None where it has set nothing. Raises UserError as device.config.read.read does, and for
    a key that the page may not set."""
    path = folder / NAME
    found = read.read(path) if path.is_file() else None
    for dotted, line in () if found is None else found.lines.items():
        if dotted not in SETTABLE:
            raise UserError(f"{path}, line {line}: {dotted} cannot be set there; remove it.")
    return found


def text(values: dict[str, Any]) -> str:
    """The file of these values by dotted key."""
    lines = [_HEAD]
    for section in SECTIONS:
        own = [KEYS[dotted] for dotted in values if KEYS[dotted].section == section]
        if own:
            lines += [f"[{section}]", *(f"{one.name} = {one.spec.write(values[one.dotted])}" for one in own), ""]
    return "\n".join(lines)


def store(folder: Path, values: dict[str, Any]) -> None:
    """Write the file, whole or not at all; without values it goes. Raises UserError when that fails."""
    path = folder / NAME
    try:
        if values:
            files.write_text(path, text(values))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); correct page.folder.") from error
