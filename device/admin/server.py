"""The helper itself: it runs as root, so it does a closed list of things, one at a time, for one user.

Who asks is told by the kernel (SO_PEERCRED of unix(7)); what is asked holds no name of a file: a model comes as an open
file, is copied to a folder that only root writes, and passes every check of `busi-kd device models install`.
"""

import os
import socket
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device import installed, log, trust
from device.admin.message import Asked, parse, receive, send
from device.admin.unpack import MOST_ZIP, unpack
from device.config import options, read
from device.doctor import cli as doctor
from device.errors import UserError
from device.update import manifest, slots, stick
from device.update.manifest import MOST_UPDATE
from device.update.slots import Place

UNIT, PAGE = "busi-kd.service", "busi-kd-page.service"
CLIENT_S = 5.0  # to say what it wants
COMMAND_S = 30.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def _run(command: list[str]) -> None:
    """Raises UserError when it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]} does not work here ({type(error).__name__}).") from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise UserError(f"{' '.join(command)} failed ({said or done.returncode}).")


def _set_clock(unix: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, unix)


@dataclass(frozen=True)
class Helper:
    """config: the configuration file, None for the usual one. run, set_clock: how the system is asked. place: where
    updates go. root: stands before proc/, sys/ and memory sticks."""

    config: Path | None = None
    run: Callable[[list[str]], None] = field(default=_run)
    set_clock: Callable[[float], None] = field(default=_set_clock)
    place: Place = field(default_factory=Place)
    root: Path = Path("/")

    def do(self, asked: Asked, descriptor: int | None) -> dict[str, Any]:
        """What came of it. Raises UserError and OSError."""
        if asked.verb == "clock":
            self.set_clock(asked.unix)
            log.say(f"the clock was set to {asked.unix:.0f}.")
        elif asked.verb in ("reboot", "poweroff"):
            self.run(["systemctl", "--no-block", asked.verb])
        elif asked.verb == "restart":
            self.run(["systemctl", "reset-failed", UNIT])
            self.run(["systemctl", "--no-block", "restart", UNIT])
        elif asked.verb == "renew":
            self.run(["systemctl", "--no-block", "restart", UNIT])
            self.run(["systemctl", "--no-block", "try-restart", PAGE])
        elif asked.verb.startswith("update"):
            return self._update(asked.verb, descriptor)
        elif asked.verb == "doctor":
            return {"checks": [asdict(one) for one in doctor.examine(self.config)]}
        else:
            return self._model(asked.verb, descriptor)
        return {}

    def _model(self, verb: str, descriptor: int | None) -> dict[str, Any]:
        # Without what the page has set: whose models are taken is not the page's to say.
        model = options.merged(read.read(self.config)).settings.model
        if verb == "rollback":
            bundle, warning = installed.rollback(model.models, model.whom())
        else:
            bundle, warning = self._install(model.models, model.whom(), descriptor)
        about = {"name": bundle.meta.name, "id": bundle.id, "variant": bundle.meta.variant, "warning": warning}
        return about | {"signed_by": bundle.signed_by}

    def _update(self, verb: str, descriptor: int | None) -> dict[str, Any]:
        # A new version of busi-kd itself. Never without a signature, whatever is allowed for models.
        keys = options.merged(read.read(self.config)).settings.model.whom().folders
        if verb == "update-rollback":
            return {"version": slots.version_of(slots.rollback(self.place), self.place)}
        if verb == "update-stick":
            running = slots.version_of(slots.in_force(self.place), self.place)
            file, _ = stick.find(keys, manifest.this_machine(self.place.packaged, running), root=self.root)
            with open(file, "rb") as stream:
                done = slots.install(stream, self.place, keys)
        else:
            check_file(descriptor, MOST_UPDATE, "An update", "file")
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                done = slots.install(stream, self.place, keys)
        log.say(f"update {done.manifest.version} ({done.id}), signed by {done.signed_by}, was installed.")
        return {"version": done.manifest.version, "id": done.id, "signed_by": done.signed_by}

    def _install(self, models: Path, whom: trust.Trust, descriptor: int | None):
        check_file(descriptor, MOST_ZIP, "A model", "ZIP file")
        with tempfile.TemporaryDirectory(prefix="busi-kd-model-") as folder:
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                stream.seek(0)
                return installed.install(unpack(stream, Path(folder)), models, whom)


def check_file(descriptor: int | None, most: int, what: str, kind: str) -> None:
    """Raise UserError unless a plain file of 1 to `most` bytes was handed over."""
    if descriptor is None:
        raise UserError(f"{what} comes as an open file.")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= most:
        raise UserError(f"{what} is a {kind} of at most {most} bytes.")


def peer(client: socket.socket) -> int:
    """The user id of the other side."""
    data = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(data)[1]


def serve_one(client: socket.socket, allowed: frozenset[int], helper: Helper) -> None:
    """One question and its answer; whatever a client does, the helper goes on."""
    descriptor = None
    with client:
        client.settimeout(CLIENT_S)
        try:
            # The question is taken in first, whoever asks: what lay unread when the socket closes would take the answer
            # away with it.
            data, descriptor = receive(client)
            if not data:
                return
            user = peer(client)
            if user not in allowed:
                log.say(f"user {user} was refused.")
                send(client, {"ok": False, "code": "user", "error": "The helper does not work for this user."})
                return
            send(client, {"ok": True, **helper.do(parse(data), descriptor)})
        except UserError as error:
            _tell(client, str(error))
        except OSError as error:
            log.say(f"failed: {error}")
            _tell(client, f"The system refused it ({error.strerror or type(error).__name__}).")
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _tell(client: socket.socket, sentence: str) -> None:
    try:
        send(client, {"ok": False, "code": "refused", "error": sentence})
    except OSError:  # it has gone
        log.say(f"nobody heard: {sentence}")


def serve(listening: socket.socket, allowed: frozenset[int], helper: Helper, idle_s: float | None = None) -> None:
    """Serve one after another until nobody has come for `idle_s` seconds; None: for ever."""
    listening.settimeout(idle_s)
    while True:
        try:
            client, _ = listening.accept()
        except TimeoutError:
            return
        serve_one(client, allowed, helper)
