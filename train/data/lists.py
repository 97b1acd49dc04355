"""Lists of picture names, for --exclude and --only."""

from pathlib import Path

from device.errors import UserError


def read_list(path: Path, option: str) -> tuple[str, ...]:
    """The names in a text file, one a line, in their order; empty lines and lines that begin with # do not count.

    Raises UserError: no such file, no UTF-8 text, no name in it, or a name twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(f"{path}: not readable as a list of names ({reason}); check {option}.") from error
    names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise UserError(f"{path}: no picture name in it; write one a line, or leave {option} away.")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path}: {name!r} stands there twice; remove one.")
        seen.add(name)
    return tuple(names)
