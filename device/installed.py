"""The models installed on a machine: a folder of bundles, and in it `current`, a link to the one that runs.

`previous` is a link to the one before. Where a link is missing, the model that ships stands in its place. A new bundle
is checked, tried and written whole beside the others before `current` is switched by one rename: whatever fails, and
wherever power goes, `current` leads to a whole model that was checked.
"""

import argparse
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from device import files, selftest, trust
from device.bundle import META_FILE, Bundle, load_bundle
from device.errors import UserError
from device.phantom import make_phantom
from device.preprocess import prepare
from device.runtime import open_bundle
from device.shipped import default_bundle
from device.signing import SIGNATURE_FILE

FOLDER = Path("/var/lib/busi-kd/models")
CURRENT, PREVIOUS = "current", "previous"
_OURS = re.compile(r"\.?bundle-[0-9a-f]{12}(-[0-9]+)?(\..*)?")  # what may be cleared away, asides of a kill included


def add_folder_argument(parser: argparse.ArgumentParser, *names: str) -> None:
    """The option `--models`, or by these names, for the folder of installed models."""
    what = f"the folder of installed models (default: {FOLDER})"
    parser.add_argument(*(names or ("--models",)), dest="models", type=Path, default=FOLDER, metavar="DIR", help=what)


def current(models: Path, name: str = CURRENT) -> Path | None:
    """The bundle folder to which the link `name` leads, or None where there is no such link.

    The folder itself and not the link: a switch a moment later must not mix two models. Raises UserError when it
    cannot be read, is no link, or leads nowhere.
    """
    target = _target(models, name)
    if target is None:
        return None
    folder = (models / target).resolve()
    if not folder.is_dir():
        raise UserError(f"{models / name}: leads to {target}, which is not there; install a model again.")
    return folder


def check(folder: Path, whom: trust.Trust) -> tuple[Bundle, str | None]:
    """Load a bundle, open its model and let it answer phantoms; returns what `trust.load` does.

    Raises UserError when one of these fails, or when the answers are not those that were recorded when it was made.
    """
    bundle, warning = trust.load(folder, whom)
    model, phantom = open_bundle(bundle), make_phantom("benign", 0).image
    if not np.isfinite(model.logits(prepare(phantom, bundle.meta.preprocess))).all():
        raise UserError(f"{folder}: its model answers a test picture with no finite number; convert the model again.")
    selftest.check(bundle, model)
    return bundle, warning


def install(folder: Path, models: Path, whom: trust.Trust) -> tuple[Bundle, str | None]:
    """Make a copy of the bundle in `folder` the current model; returns it as it was checked, and what must be said.

    The model that ran becomes the previous one, unless it is the same or does not load. Raises UserError when the
    bundle is refused or another installation is under way, and OSError when it cannot be written.
    """
    bundle, warning = check(folder, whom)
    with _alone(models):
        new, ran = _copy(bundle, models, whom), _target(models, CURRENT)
        if ran is None:
            (models / PREVIOUS).unlink(missing_ok=True)
        elif _id(models / ran) not in (None, bundle.id):
            _link(models, PREVIOUS, ran)
        _link(models, CURRENT, new.name)
        _clear(models)
    return bundle, warning


def rollback(models: Path, whom: trust.Trust) -> tuple[Bundle, str | None]:
    """Exchange the current and the previous model, once what is to run has passed all checks; returns that one.

    Done twice it changes nothing. Raises UserError when there is nothing to go back to or it is refused, and OSError
    when the links cannot be written.
    """
    if not models.is_dir():
        raise UserError(f"{models}: no such folder, so no model was ever installed there.")
    with _alone(models):
        ran, before = _target(models, CURRENT), _target(models, PREVIOUS)
        if ran == before:
            raise UserError(f"{models}: no model before this one is known; install the one that is to run.")
        bundle, warning = check(default_bundle() if before is None else models / before, whom)
        if before is None:
            os.replace(models / CURRENT, models / PREVIOUS)
        elif ran is None:
            os.replace(models / PREVIOUS, models / CURRENT)
        elif not files.swap(models / CURRENT, models / PREVIOUS):
            _link(models, CURRENT, before)
            _link(models, PREVIOUS, ran)
        files.sync_folder(models)
    return bundle, warning


def _target(models: Path, name: str) -> str | None:
    try:
        return os.readlink(models / name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # EINVAL: something else of that name
        raise UserError(
            f"{models / name}: is no link that can be read ({error.strerror}); look as root, and move it away if it is "
            "not busi-kd's."
        ) from error


def _copy(bundle: Bundle, models: Path, whom: trust.Trust) -> Path:
    """A copy under a name that no model has yet: none that runs is ever written to."""
    final, number = models / f"bundle-{bundle.id}", 1
    while os.path.lexists(final):
        number += 1
        final = models / f"bundle-{bundle.id}-{number}"
    signature = [SIGNATURE_FILE] if (bundle.folder / SIGNATURE_FILE).is_file() else []
    with files.folder_beside(final) as aside:
        for name in (META_FILE, *signature, *bundle.meta.files):
            shutil.copyfile(bundle.folder / name, aside / name)
            (aside / name).chmod(0o644)
        copied, _ = trust.load(aside, whom)
        if copied.id != bundle.id:
            raise UserError(f"{bundle.folder}: was changed while it was copied; install it again.")
        files.replace_folder(aside, final)
    return final


def _id(folder: Path) -> str | None:
    try:
        return load_bundle(folder).id
    except UserError:
        return None


def _link(models: Path, name: str, target: str) -> None:
    aside = models / f".{name}.new"
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, models / name)
    files.sync_folder(models)


def _clear(models: Path) -> None:
    """Remove the bundles that no link names, and what a kill has left."""
    kept = {_target(models, CURRENT), _target(models, PREVIOUS)}
    for folder in models.iterdir():
        if folder.name not in kept and _OURS.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(models: Path) -> Iterator[None]:
    """Hold the folder for oneself; it is made if missing. Raises UserError when another process has it."""
    if not models.is_dir():
        models.mkdir(parents=True)
        models.chmod(0o755)  # whatever the umask: the daemon's user must be able to read it
    with files.held(models, "installation"):
        yield
