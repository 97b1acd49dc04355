"""`busi-kd device fleet`: read what the daemon writes, tell a broker and Prometheus; by the section [fleet]."""

import argparse
import signal
import threading
from pathlib import Path

from device import RESEARCH_NOTICE, __version__, log
from device.config import options, read
from device.config.settings import Settings
from device.errors import UserError
from device.fleet import need_extra
from device.fleet.identity import unit_id
from device.notify import Notifier

METRICS = Path("/run/busi-kd/busi-kd.prom")  # where log.metrics names no other
TURN_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device fleet`."""
    options.add_argument(parser)
    action = parser.add_mutually_exclusive_group()
    enabled = "end at once: status 0 where fleet.enabled is true or the file is wrong, else 1 (for systemd)"
    action.add_argument("--is-enabled", action="store_true", help=enabled)
    action.add_argument("--unit", action="store_true", help="print the id by which this unit is known, and end")


def main(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT. Returns 0, from --is-enabled 1 too; raises UserError for what a person can mend."""
    try:
        settings = options.merged(read.read(args.config)).settings
    except UserError:
        if args.is_enabled:
            return 0  # so that the start itself says what is wrong
        raise
    if args.is_enabled:
        return 0 if settings.fleet.enabled else 1
    if args.unit:
        print(unit_id(settings.fleet.state))
        return 0
    if not settings.fleet.enabled:
        raise UserError("fleet.enabled is false, so nothing is told to anybody; set it in the section [fleet].")
    need_extra()
    return _run(settings)


def _run(settings: Settings) -> int:
    from device.fleet.listener import Listener
    from device.fleet.publisher import Publisher
    from device.fleet.watch import Reading, Watch

    fleet, path = settings.fleet, settings.log.metrics or METRICS
    unit = unit_id(fleet.state)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.say(f"busi-kd {__version__} fleet. {RESEARCH_NOTICE}")
    log.say(log.pairs({"unit": unit, "site": fleet.site, "reads": path, "broker": fleet.broker}))
    watch, notifier = Watch(path), Notifier()
    latest: list[Reading | None] = [None]
    publisher = None if fleet.broker is None else Publisher(fleet, unit, log.say)
    listener = None
    if fleet.metrics_listen is not None:
        listener = Listener(fleet.metrics_listen, lambda: latest[0], fleet.site, unit)
        log.say(f"answers Prometheus at port {listener.port}, path /metrics")
    told = ""
    try:
        while not stop.is_set():
            reading = latest[0] = watch.look()
            if reading.state + reading.why != told:
                told = reading.state + reading.why
                log.say(f"daemon {reading.state}" + (f": {reading.why}" if reading.why else ""))
            notifier.ready()  # before a broker is waited for: reading is what must go
            if publisher is None:
                stop.wait(TURN_S)
            else:
                publisher.take(reading)
                publisher.work(TURN_S)
            notifier.progress()
            notifier.status(_status(reading.state, publisher))
        notifier.stopping()
        if publisher is not None:
            publisher.leave()
    finally:
        if listener is not None:
            listener.close()
        notifier.close()
    return 0


def _status(state: str, publisher: object) -> str:
    broker = "" if publisher is None else f"Broker {'connected' if publisher.connected else 'not reached'}. "
    return f"Daemon {state}. {broker}{RESEARCH_NOTICE}"
