"""The slots of busi-kd's own updates: each a whole version in a folder of its own, and a link to the one in force.

`current` leads to the newest, `previous` to the one before; where a link is missing, what was packaged stands in its
place. Which of them is started is said by the launcher alone (systemd/package/launch), which needs none of this code.
Beside a slot lie SLOT.starts, SLOT.healthy and SLOT.condemned, which the launcher writes. docs/updates.md.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from device import files
from device.errors import UserError
from device.update import archive, manifest
from device.update.archive import Update

CURRENT, PREVIOUS = "current", "previous"
STATES = ("starts", "healthy", "condemned")
SELF_TEST_S, COMPILE_S = 180.0, 600.0
RESERVE = 30_000_000  # bytes that stay free
COMPILED = 1.2  # with compiled Python a slot takes so much more: 321 MB for 304 MB of files
_SLOT = re.compile(r"slot-[0-9A-Za-z.+]+-[0-9a-f]{12}(-[0-9]+)?")
_OURS = re.compile(rf"\.?{_SLOT.pattern}(\..*)?|\.(current|previous)\.new")


@dataclass(frozen=True)
class Place:
    """app: where the slots lie. home: what was packaged, with the launcher and its `version`."""

    app: Path = Path("/var/lib/busi-kd/app")
    home: Path = Path("/usr/lib/busi-kd")

    @property
    def packaged(self) -> str:
        """The packaged version. Raises UserError where busi-kd was installed in another way."""
        try:
            return (self.home / "version").read_text().split()[0]
        except (OSError, IndexError) as error:
            raise UserError(
                f"{self.home}: busi-kd was not installed by its package or image here, so updates are not for it; "
                "install the package."
            ) from error


def link(place: Place, name: str) -> str | None:
    """The slot that a link names, whatever that is worth; None where there is no such link."""
    try:
        return os.readlink(place.app / name)
    except OSError:
        return None


def unfit(place: Place, slot: str) -> str | None:
    """Why the launcher would not start a slot, in a few words; None: it would."""
    folder = place.app / slot
    if _SLOT.fullmatch(slot) is None or not folder.is_dir() or folder.is_symlink():
        return "it is not there"
    if os.path.lexists(f"{folder}.condemned"):
        try:
            return " ".join(Path(f"{folder}.condemned").read_text(errors="replace").split())[:200] or "it failed"
        except OSError:
            return "it failed"
    if not (folder / "whole").is_file() or not os.access(folder / "bin/python", os.X_OK):
        return "it is not whole"
    try:
        same = (folder / "base").read_bytes() == (place.home / "version").read_bytes()
    except OSError:
        same = False
    return None if same else "the package below it was exchanged since"


def in_force(place: Place) -> str | None:
    """The slot that the launcher starts; None: what was packaged. Raises UserError where there is no launcher."""
    place.packaged  # noqa: B018 - says so
    done = subprocess.run([place.home / "launch", "--which"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{place.home}/launch does not answer ({done.returncode}); install the package again.")
    said = Path(done.stdout.strip())
    return said.name if said.parent == place.app else None


def version_of(slot: str | None, place: Place) -> str:
    """The version that a slot's name says; None: the packaged one."""
    return place.packaged if slot is None else slot.split("-")[1]


def status(place: Place) -> dict[str, Any]:
    """running, current, previous: of each its slot, version and state (packaged, trial, healthy, or unfit with why)."""
    return {
        "packaged": place.packaged,
        "running": _about(place, in_force(place)),
        CURRENT: _about(place, link(place, CURRENT)),
        PREVIOUS: _about(place, link(place, PREVIOUS)),
    }


def _about(place: Place, slot: str | None) -> dict[str, Any]:
    if slot is None:
        return {"slot": None, "version": place.packaged, "state": "packaged", "why": None}
    why = unfit(place, slot)
    state = "unfit" if why else "healthy" if (place.app / f"{slot}.healthy").exists() else "trial"
    version = slot.split("-")[1] if _SLOT.fullmatch(slot) else None
    return {"slot": slot, "version": version, "state": state, "why": why}


def install(stream: BinaryIO, place: Place, keys: tuple[Path, ...], machine=None, older: bool = False) -> Update:
    """Make what is in an update file the version that is started next, on trial; returns what was installed.

    machine: a manifest.Machine, None for this one. Raises NotTrusted, Refused (older, base too old), UserError (another
    machine, damaged, self-test failed, no room) and OSError; what ran before goes on running.
    """
    update = archive.read(stream, keys)
    running = in_force(place)
    machine = machine or manifest.this_machine(place.packaged, version_of(running, place))
    manifest.fits(update.manifest, machine, older)
    archive.check_payload(stream, update)
    with _alone(place.app):
        clear(place)
        _room(place.app, update)
        final = _free_name(place, update)
        with files.folder_beside(final) as aside:
            archive.unpack(stream, update, aside)
            _finish(aside, update, place)
            _compile(aside, final)
            self_test(aside)
            (aside / "whole").write_text(f"{update.id}\n")
            os.sync()  # thousands of files: one flush of all is much faster than one of each
            os.rename(aside, final)
        files.sync_folder(place.app)
        _switch(place, final.name, in_force(place))
        clear(place)
    return update


def rollback(place: Place) -> str | None:
    """Exchange current and previous; returns the slot that is started next, None for what was packaged.

    Raises UserError when there is nothing to go back to, or it cannot be started.
    """
    if not place.app.is_dir():
        raise UserError(f"{place.app}: no update was ever installed here, so there is none to go back from.")
    with _alone(place.app):
        now, before = link(place, CURRENT), link(place, PREVIOUS)
        if now is None and before is None:
            raise UserError(f"{place.app}: nothing but {place.packaged}, as it was packaged, is known here.")
        why = None if now is None else unfit(place, now)
        if why is not None:
            raise UserError(f"{now} is not in force already ({why}); install an update instead.")
        why = None if before is None else unfit(place, before)
        if why is not None:
            raise UserError(f"{before} cannot be started ({why}); install an update instead.")
        if before is not None and not (place.app / f"{before}.healthy").exists():
            (place.app / f"{before}.starts").unlink(missing_ok=True)  # its trial begins anew
        if before is None:
            os.replace(place.app / CURRENT, place.app / PREVIOUS)
        elif now is None:
            os.replace(place.app / PREVIOUS, place.app / CURRENT)
        elif not files.swap(place.app / CURRENT, place.app / PREVIOUS):
            _link(place, CURRENT, before)
            _link(place, PREVIOUS, now)
        files.sync_folder(place.app)
    return before


def self_test(folder: Path) -> None:
    """Have the version in `folder` test itself, in a process of its own. Raises UserError when it fails."""
    command = [folder / "bin/python", "-m", "device.main", "device", "selftest"]
    done = _run(command, SELF_TEST_S)
    if done is None:
        raise UserError(f"The update's self-test took longer than {SELF_TEST_S:.0f} s; nothing was changed.")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise UserError(f"The update's self-test failed (status {done.returncode}: {said}); nothing was changed.")


def clear(place: Place) -> None:
    """Remove the slots that no link names and what a kill has left; whoever calls it has the folder to itself."""
    kept = {link(place, CURRENT), link(place, PREVIOUS)}
    for path in place.app.iterdir():
        slot = path.name if _SLOT.fullmatch(path.name) else path.name.rpartition(".")[0]
        if path.name in (CURRENT, PREVIOUS) or slot in kept or not _OURS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _run(command: list, seconds: float) -> subprocess.CompletedProcess | None:
    """None when it took too long. Nothing of this process's surroundings goes along."""
    own = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
    try:
        return subprocess.run(
            [str(word) for word in command],
            **{"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "errors": "replace"},
            **{"env": own, "cwd": "/", "timeout": seconds, "check": False},
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise UserError(f"The update cannot be started here ({error.strerror}: {command[0]}).") from error


def _finish(folder: Path, update: Update, place: Place) -> None:
    """What is not in the file: the link to the system's Python, what the slot is, and for which package."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(f"/usr/bin/python{update.manifest.python}")
    (folder / archive.MANIFEST).write_bytes(update.written)
    (folder / archive.SIGNATURE).write_bytes(update.signature)
    shutil.copyfile(place.home / "version", folder / "base")
    for path in folder.rglob("*"):  # whatever the umask
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _compile(folder: Path, final: Path) -> None:
    """Compiled Python, as the package's postinst makes it; what does not compile was not meant to."""
    how = ["-qq", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", final]
    if _run([folder / "bin/python", "-m", "compileall", *how, folder / "lib"], COMPILE_S) is None:
        raise UserError(f"The update could not be compiled within {COMPILE_S:.0f} s; nothing was changed.")


def _room(app: Path, update: Update) -> None:
    wanted, free = int(update.manifest.unpacked_bytes * COMPILED) + RESERVE, shutil.disk_usage(app).free
    if free < wanted:
        raise UserError(
            f"{app}: {free / 1e6:.0f} MB free are too few, the update needs {wanted / 1e6:.0f} MB; delete some studies."
        )


def _free_name(place: Place, update: Update) -> Path:
    """A name that no slot has yet: none that may run is ever written to."""
    name = f"slot-{update.manifest.version}-{update.id}"
    final, number = place.app / name, 1
    while any(os.path.lexists(f"{final}{end}") for end in ("", *(f".{state}" for state in STATES))):
        number += 1
        final = place.app / f"{name}-{number}"
    return final


def _switch(place: Place, new: str, running: str | None) -> None:
    """Make `new` the current one. What it goes back to is the last that was healthy, or what was packaged."""
    before = next((one for one in (running, link(place, PREVIOUS)) if one is not None and _proven(place, one)), None)
    if running is None:
        before = None
    if before is None:
        (place.app / PREVIOUS).unlink(missing_ok=True)
    else:
        _link(place, PREVIOUS, before)
    _link(place, CURRENT, new)


def _proven(place: Place, slot: str) -> bool:
    return unfit(place, slot) is None and (place.app / f"{slot}.healthy").exists()


def _link(place: Place, name: str, slot: str) -> None:
    aside = place.app / f".{name}.new"
    aside.unlink(missing_ok=True)
    aside.symlink_to(slot)
    os.replace(aside, place.app / name)
    files.sync_folder(place.app)


@contextmanager
def _alone(app: Path) -> Iterator[None]:
    """Hold the folder for oneself; it is made if missing. Raises UserError when another process has it, or owns it."""
    if not app.is_dir():
        app.mkdir(parents=True)
        app.chmod(0o755)
    if app.is_symlink() or app.stat().st_uid != os.geteuid() or app.stat().st_mode & 0o022:
        raise UserError(f"{app}: is not this user's alone, so nothing in it can be trusted; remove it as root.")
    with files.held(app, "update"):
        yield
