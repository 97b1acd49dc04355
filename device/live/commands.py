"""What a person may ask of a running daemon: a closed list, done by the judging thread, answered with what happened."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device import log
from device.errors import UserError
from device.live.message import Malformed
from device.store import NotSaved
from device.store.recorder import MAX_LABEL

if TYPE_CHECKING:
    from device.daemon import Daemon

Answer = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """what: one of WHAT. value: of `hold` whether, of `save` the study's label or None; None for the others."""

    what: str
    value: bool | str | None = None


def parse(said: dict[str, Any]) -> Command:
    """{"ask": "command", "do": ..., ...} -> the command. Raises Malformed for anything but the closed list."""
    what = said.get("do")
    if not isinstance(what, str) or what not in _DO:
        raise Malformed(f"the commands are {', '.join(_DO)}")
    own = {"hold": {"held"}, "save": {"label"}}.get(what, set())
    if set(said) - own - {"ask", "do"}:
        raise Malformed(f"{what} takes {', '.join(own) or 'nothing'} and no more")
    if what == "hold":
        if not isinstance(said.get("held"), bool):
            raise Malformed("hold takes held, true or false")
        return Command(what, said["held"])
    label = said.get("label") if what == "save" else None
    if label is not None and (not isinstance(label, str) or len(label) > MAX_LABEL or not label.isprintable()):
        raise Malformed(f"a study's label is one line of at most {MAX_LABEL} characters")
    return Command(what, label)


def do(command: Command, daemon: "Daemon") -> "Answer | Future[Answer]":
    """Do it, in the judging thread; what the card must do first is answered later, by a Future that never raises."""
    return _DO[command.what](daemon, command.value)


def _refused(code: str, error: str) -> Answer:
    return {"ok": False, "code": code, "error": error}


def _hold(daemon: "Daemon", held: bool) -> Answer:
    if not held:
        daemon.held = None
        return {"ok": True, "held": False}
    if daemon.seen is None:
        return _refused("nothing", "There is no picture yet; wait for the first one.")
    if daemon.held is None:
        daemon.held = daemon.seen
    return {"ok": True, "held": True}


_OFF = "The recorder is off, so nothing can be saved; switch recorder.enabled on in the settings."


def _mark(daemon: "Daemon", _: None) -> "Answer | Future[Answer]":
    if daemon.keep is None:
        return _refused("recorder_off", _OFF)
    running, future = daemon.keep.mark()
    return _later(future, lambda item: {"ok": True, "running": running, **_item(item)})


def _save(daemon: "Daemon", label: str | None) -> "Answer | Future[Answer]":
    if daemon.keep is None:
        return _refused("recorder_off", _OFF)
    seen = daemon.held or daemon.seen
    if seen is None:
        return _refused("nothing", "There is no picture yet; wait for the first one.")
    return _later(daemon.keep.save(*seen, label), lambda item: {"ok": True, **_item(item)})


def _discard(daemon: "Daemon", _: None) -> "Answer | Future[Answer]":
    if daemon.held is not None:  # what is saved of it stays: a person who looks at a held picture means that one
        daemon.held = None
        return {"ok": True, "dropped": "held", "held": False}
    if daemon.keep is None:
        return _refused("recorder_off", _OFF)
    return _later(daemon.keep.discard(), lambda item: {"ok": True, "dropped": "saved", **_item(item)})


def _end(daemon: "Daemon", _: None) -> "Answer | Future[Answer]":
    if daemon.keep is None:
        return _refused("recorder_off", _OFF)
    return _later(daemon.keep.end(), lambda _: {"ok": True})


def _restart(daemon: "Daemon", _: None) -> Answer:
    daemon.asked_to_restart = True
    return {"ok": True, "restarting": True}


def _item(item: Any) -> Answer:
    return {} if item is None else {"number": item.number, "study": item.study, "kind": item.kind}


def _later(future: Future, told: Callable[[Any], Answer]) -> "Future[Answer]":
    answer: Future[Answer] = Future()

    def done(future: Future) -> None:
        error = future.exception()
        if error is None:
            answer.set_result(told(future.result()))
            return
        if not isinstance(error, NotSaved | UserError):
            log.say(f"a command failed: {type(error).__name__}: {error}")
        answer.set_result(_refused("not_saved", str(error) or "It was not saved."))

    future.add_done_callback(done)
    return answer


_DO: dict[str, Callable[["Daemon", Any], "Answer | Future[Answer]"]] = {
    "hold": _hold,
    "mark": _mark,
    "save": _save,
    "discard": _discard,
    "end": _end,
    "restart": _restart,
}
WHAT = tuple(_DO)
