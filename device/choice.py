"""Which model the daemon runs: the one it is given, else the installed one, else the one that ships."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device import installed, shipped, trust
from device.bundle import Bundle
from device.errors import UserError
from device.runtime import Model, open_bundle

Origin = Literal["option", "installed", "shipped"]


@dataclass(frozen=True)
class Chosen:
    """A trusted bundle with its model open. notes: what must be said about the choice, mostly nothing."""

    bundle: Bundle
    model: Model
    origin: Origin
    notes: tuple[str, ...]


def choose(given: Path | None, models: Path, whom: trust.Trust, threads: int) -> Chosen:
    """Load and open the model to run; models: the folder of installed ones.

    An installed model that is refused is told, and the one that ships taken instead of none. Raises UserError when the
    given one is refused, or both others.
    """
    if given is not None:
        return _opened(given, "option", whom, threads)
    try:
        folder = installed.current(models)
        if folder is not None:
            return _opened(folder, "installed", whom, threads)
    except UserError as error:
        note = f"INSTALLED MODEL REFUSED: {error} The model that ships with busi-kd runs instead."
        try:
            return _opened(shipped.default_bundle(), "shipped", whom, threads, note)
        except UserError as worse:
            raise UserError(f"{error} The model that ships with busi-kd is refused, too: {worse}") from worse
    return _opened(shipped.default_bundle(), "shipped", whom, threads)


def _opened(folder: Path, origin: Origin, whom: trust.Trust, threads: int, *notes: str) -> Chosen:
    bundle, warning = trust.load(folder, whom)
    return Chosen(bundle, open_bundle(bundle, threads), origin, notes if warning is None else (*notes, warning))
