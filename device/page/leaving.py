"""A place for what is on its way out of the machine: beside the studies, for /tmp may be memory, and they are large."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from device import files
from device.errors import UserError
from device.page.refuse import Refusal
from device.store import LEAVING, make_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room(studies: Path) -> Iterator[Path]:
    """An empty folder for the files of one export, on the file system of `studies`; gone at the end.

    Raises Refusal when the card is full, and OSError as it comes.
    """
    try:
        with ExitStack() as stack:
            shelf = studies / LEAVING
            make_folder(shelf)
            with files.held(shelf, "export", wait=True):  # so that nobody clears the new one before it is held
                _clear(shelf)
                own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shelf)))
                stack.enter_context(files.held(own, "export"))
            yield own
    except OSError as error:
        if not _is_full(error):
            raise
        free = shutil.disk_usage(studies).free / 1e6  # once its own files have gone
        why = f"The card is full: {studies} has {free:.1f} MB left, and this export needs more"
        raise Refusal(507, "card_full", f"{why}; delete studies that were exported, then try again.") from error


def clear(studies: Path) -> None:
    """Delete what exports that were killed have left there; none that runs. Raises OSError."""
    shelf = studies / LEAVING
    if shelf.is_dir():
        with files.held(shelf, "export", wait=True):
            _clear(shelf)


def _is_full(error: BaseException | None) -> bool:
    """Whether it is the card, also behind an error that a library has put before it (pydicom does)."""
    while error is not None and getattr(error, "errno", None) not in _FULL:
        error = error.__cause__ or error.__context__
    return error is not None


def _clear(shelf: Path) -> None:
    for left in shelf.iterdir():
        with suppress(UserError, OSError), files.held(left, "export"):  # one that is held runs
            shutil.rmtree(left, ignore_errors=True)
