"""The settings as TOML: the commented example, and what a run would use with the origin of every value."""

from device import RESEARCH_NOTICE
from device.config.options import Effective
from device.config.settings import KEYS, SECTIONS, flat

_HEAD = f"""\
# Configuration of the busi-kd daemon. {RESEARCH_NOTICE}
#
# Every key stands here with its default, as a comment. To change one, remove the # in front of it and in front of the
# line of its section. Quantities are written with their unit, in quotes. A mistake is an error that names its line:
#   busi-kd device config check      is the file right?
#   busi-kd device config show       what would run, and where each value comes from
#   systemctl restart busi-kd        after a change
# Options of `busi-kd device run` win over this file. For the service /home and /root are not visible, and it can write
# to /var/lib/busi-kd, where relative paths begin, and to /run/busi-kd alone.
"""


def example() -> str:
    """A file with every key, what it takes and its default, all in comments."""
    lines = [_HEAD.rstrip("\n")]
    for section, about in SECTIONS.items():
        lines += ["", f"# {about}", f"#[{section}]"]
        for one in (key for key in KEYS.values() if key.section == section):
            lines += [f"# {one.spec.about}", f"#   {one.spec.takes()}", f"#{one.name} = {one.spec.write(one.default)}"]
    return "\n".join(lines) + "\n"


def shown(now: Effective) -> str:
    """Every key with its value, as TOML that reads back as the same settings; behind it, where it came from."""
    values, lines = flat(now.settings), []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        rows = [
            (f"{one.name} = {one.spec.write(values[dotted])}", now.origins[dotted])
            for dotted, one in KEYS.items()
            if one.section == section
        ]
        lines += [f"{said:<44}# {' '.join(origin.split())}" for said, origin in rows]
        lines.append("")
    return "\n".join(lines)
