"""`busi-kd device models fetch URL`: install the newest bundle of an update server, if it is meant for this unit.

The order is always: index by its signature, number of the index, then the archive by its hash, the bundle in it by its
own signature, and only then is it installed as any other (device/installed.py).
"""

import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device import files, installed, trust
from device.bundle import META_FILE, MODEL_FILE, Bundle, load_bundle
from device.errors import Refused, UserError
from device.fleet import download, index
from device.fleet.index import Entry, Index
from device.shipped import default_bundle
from device.signing import SIGNATURE_FILE, NotTrusted

FOLDER = ".fetch"  # below the folder of installed models: what was begun, and the indices seen
SEEN = "seen.json"


@dataclass(frozen=True)
class Outcome:
    """bundle: what was installed; None: nothing, and `why`, a sentence."""

    bundle: Bundle | None
    why: str = ""


def fetch(
    server: download.Server,
    models: Path,
    keys: tuple[Path, ...],
    unit: Callable[[], str],
    *,
    older: bool = False,
    at_once: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Install the server's newest bundle into `models`, unless it is there or this unit's turn has not come.

    keys: folders of trusted keys. unit: gives the unit's id, asked only for a roll-out in part. older: take a bundle
    that is older than the one installed. at_once: before this unit's turn, and after it was rolled back here.
    Raises NotTrusted, Refused (an old index, an older bundle, software that is too old) and UserError (server, card);
    what was installed before stays.
    """
    with _alone(models / FOLDER) as folder:
        found, written = _index(server, keys, wait)
        index.Seen(folder / SEEN).take(server.address, written, found)
        entry = found.bundle
        outcome = _wanted(found, models, unit, older, at_once)
        if outcome is not None:
            return outcome
        part = folder / f"{entry.sha256}.part"
        for left in folder.glob("*.part"):
            if left != part:
                left.unlink()
        for left in folder.glob(".bundle.*"):  # of a kill
            shutil.rmtree(left, ignore_errors=True)
        have = part.stat().st_size if part.exists() else 0
        download.room(folder, entry.bytes - min(have, entry.bytes))
        download.whole(server, entry.path, part, entry.bytes, entry.sha256, wait)
        whom = trust.Trust(keys)
        with files.folder_beside(folder / "bundle") as aside:
            _unpack(part, aside)
            bundle, _ = trust.load(aside, whom)
            if (bundle.id, bundle.meta.created) != (entry.id, entry.created):
                raise UserError(
                    f"{server.address}{entry.path}: holds another bundle than the index says; publish anew."
                )
            installed.install(aside, models, whom)
        part.unlink()
        bundle, _ = trust.load(installed.current(models), whom)
        return Outcome(bundle)


def _index(server: download.Server, keys: tuple[Path, ...], wait: Callable[[float], None]) -> tuple[Index, bytes]:
    """The index and its bytes. Two files cannot be replaced in one step, so a pair that does not fit is asked twice."""
    for again in (True, False):
        written = server.small(index.INDEX_FILE, index.MAX_INDEX_BYTES)
        signature = server.small(index.SIGNATURE_FILE, 1024)
        try:
            return index.read(written, signature, server.address + index.INDEX_FILE, keys), written
        except NotTrusted:
            if not again:
                raise
        wait(1.0)
    raise AssertionError("not reached")


def _wanted(found: Index, models: Path, unit: Callable[[], str], older: bool, at_once: bool) -> Outcome | None:
    """None: to be installed. Raises Refused."""
    entry = found.bundle
    if not index.new_enough(entry):
        raise Refused(f"bundle {entry.id} needs busi-kd {entry.minimum_version} or newer; update the software first.")
    now = _known(models, installed.CURRENT)
    if now is None and not (models / installed.CURRENT).is_symlink():
        now = _loaded(default_bundle())
    if now is not None and now.id == entry.id:
        return Outcome(None, f"bundle {entry.id} is the newest, and the one that is installed.")
    if now is not None and not older and _older(entry, now):
        raise Refused(
            f"bundle {entry.id} of {entry.created} is older than {now.id} of {now.meta.created}, which is installed; "
            "allow it with --older."
        )
    before = _known(models, installed.PREVIOUS)
    if before is not None and before.id == entry.id and not at_once and not older:
        return Outcome(None, f"bundle {entry.id} was rolled back here, so it is not installed again; --now does.")
    if not at_once and found.percent < 100 and not index.in_rollout(unit(), entry, found.percent):
        return Outcome(
            None, f"bundle {entry.id} is for {found.percent} % of the units so far, and not yet for this one."
        )
    return None


def _older(entry: Entry, now: Bundle) -> bool:
    try:
        return index.moment(entry.created) < index.moment(now.meta.created)
    except ValueError:  # a bundle that says no time: nothing proves that this one is newer
        return True


def _known(models: Path, name: str) -> Bundle | None:
    try:
        folder = installed.current(models, name)
    except UserError:  # leads nowhere
        return None
    return None if folder is None else _loaded(folder)


def _loaded(folder: Path) -> Bundle | None:
    try:
        return load_bundle(folder)
    except UserError:  # broken: anything whole is better
        return None


def _unpack(archive: Path, folder: Path) -> None:
    """The bundle's files out of the archive: plain files of these names, each once. Raises UserError."""
    wanted = {META_FILE, SIGNATURE_FILE, MODEL_FILE}
    try:
        with tarfile.open(archive, "r:") as tar:  # not compressed: what is in it is no larger than itself
            for member in tar:
                if member.name not in wanted or not member.isreg() or member.issparse():
                    raise UserError(f"{archive}: holds {member.name[:60]!r}, which is no part of a bundle.")
                wanted.remove(member.name)
                with tar.extractfile(member) as source, open(folder / member.name, "wb") as target:
                    while data := source.read(1 << 16):
                        target.write(data)
                (folder / member.name).chmod(0o644)
    except tarfile.TarError as error:
        raise UserError(f"{archive}: is no archive of a bundle ({error}); publish it again.") from error
    if wanted:
        raise UserError(f"{archive}: lacks {' and '.join(sorted(wanted))}; publish it again.")


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder, made if missing, to oneself. Raises UserError when another process has it."""
    if not folder.parent.is_dir():
        folder.parent.mkdir(parents=True)
        folder.parent.chmod(0o755)  # whatever the umask: the daemon's user must be able to read the models
    folder.mkdir(mode=0o700, exist_ok=True)
    with files.held(folder, "download"):
        yield folder
