"""`busi-kd device run`: settings, model, source and daemon put together, and what is left at the end."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2

from device import files, installed, log, metrics, record, sources, trust
from device.choice import choose
from device.config import options
from device.config.settings import KEYS, Settings, flat
from device.daemon import Daemon
from device.errors import UserError
from device.judge import UNCHANGED_S
from device.keep import open_keeper
from device.live.server import Live
from device.machine import Machine
from device.notify import AGAIN, Notifier

PAGE_END_S = 1.0
STOPS = (signal.SIGTERM, signal.SIGINT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device run`. Those that overrule a key of the configuration file have no default here."""
    add = parser.add_argument
    options.add_argument(parser)
    add("--bundle", type=Path, metavar="DIR", help="a model bundle (default: the installed one, else the shipped one)")
    installed.add_folder_argument(parser)
    trust.add_arguments(parser)
    sources.add_arguments(parser)
    add("--threads", type=int, metavar="N", help="CPU threads (default: 1)")
    add("--duration", type=float, metavar="S", help="end after so many seconds")
    add("--verdicts", type=Path, metavar="FILE.csv", help="add one row per judged frame")
    add("--summary", type=Path, metavar="FILE.json", help="write the run's totals at its end")
    every = f"keep Prometheus text in this file, written every {metrics.EVERY_S:g} seconds"
    add("--metrics", type=Path, metavar="FILE.prom", help=every)
    add("--power-report", action="store_true", help="say at the end what a judged frame costs: CPU, duty cycle, energy")
    unchanged = "seconds for which an unchanged picture is not inferred again; 0: it always is"
    add("--unchanged", type=float, metavar="S", help=f"{unchanged} (default: {UNCHANGED_S:g})")
    add("--no-governor", action="store_false", help="judge every frame, however hot or low in charge")
    add("--page", action="store_true", help="serve the technician's page beside it, for a trial")
    options.add_page_arguments(parser)
    options.leave_unset(parser)


def main(args: argparse.Namespace) -> int:
    """Run until the source ends, SIGTERM or SIGINT. Returns 0; raises UserError for what a person can mend."""
    told = told_on_the_way()
    if told is not None:
        log.say(f"stopped: {told}.")
        return 0
    if args.duration is not None and not args.duration > 0:
        raise UserError(f"--duration is {args.duration:g}: give a number of seconds above 0.")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a mark that comes too early must not be the end
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    now = options.effective(args)
    settings = now.settings
    source = sources.make(settings.source, settings.region)
    chosen = choose(settings.model.bundle, settings.model.models, settings.model.whom(), settings.model.threads)
    bundle = chosen.bundle
    cv2.setNumThreads(settings.model.threads)
    for path in (settings.log.verdicts, settings.log.summary, settings.log.metrics):
        if path is None:
            continue
        if not path.absolute().parent.is_dir():  # now, not after hours of running
            raise UserError(f"{path}: its folder does not exist; make it or give another file.")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the name of a file.")
    synthetic = True if bundle.meta.synthetic else source.synthetic
    exported = None if settings.log.metrics is None else metrics.MetricsFile(settings.log.metrics, log.say)
    how, verdicts = settings.judgement.over_time(), settings.log.verdicts
    rows = None if verdicts is None else record.open_record(verdicts, bundle, synthetic, how)
    keep = open_keeper(settings, bundle, synthetic, how)
    live = open_live(now)
    notifier = Notifier()
    daemon = Daemon(
        *(bundle, chosen.model, source, notifier, rows),
        origin=chosen.origin,
        notes=chosen.notes,
        how=how,
        assess_s=settings.quality.assess_every_s,
        keep=keep,
        machine=Machine(settings.governor.rules()),
        exported=exported,
        unchanged_s=settings.judgement.unchanged_s,
        live=live,
    )
    page = start_page(args, settings) if args.page else None

    def stop(number: int, _: object) -> None:
        daemon.asked_to_stop = signal.Signals(number).name

    def mark(*_: object) -> None:
        daemon.asked_to_mark = True

    for number in STOPS:
        signal.signal(number, stop)
    signal.signal(signal.SIGUSR1, mark)
    try:
        ended = daemon.run(args.duration)
        if settings.log.power_report:
            daemon.machine.tell_costs()
        if settings.log.summary is not None:
            write_summary(settings.log.summary, daemon.summary(ended))
    finally:
        if rows is not None:
            rows.close()
        if exported is not None:
            exported.close()
        if live is not None:
            live.close()
        if page is not None:
            page.terminate()
        if keep is not None:
            keep.close()
        if page is not None:
            end(page)
        notifier.close()
    if daemon.asked_to_restart:
        hold_stops()
        if not daemon.asked_to_stop:
            begin_anew()
    return 0


def open_live(now: options.Effective) -> Live | None:
    """The socket that the page asks; None without a page, or when it cannot be had, which is said: a daemon that does
    not judge because nobody can watch would be worse."""
    if not now.settings.page.enabled:
        return None
    values = {name: (KEYS[name].spec.write(value), now.origins[name]) for name, value in flat(now.settings).items()}
    try:
        return Live(now.settings.page.socket, values)
    except UserError as error:
        log.say(f"page: OFF, the daemon answers nobody: {error}")
        return None


def start_page(args: argparse.Namespace, settings: Settings) -> subprocess.Popen:
    """`busi-kd device page` as a child, with this run's configuration; it says its address and ends with this one."""
    page = settings.page
    command = [sys.executable, "-m", "device.main", "device", "page", "--with-parent"]
    command += [] if args.config is None else ["--config", str(args.config)]
    command += ["--page-listen", page.listen, "--page-port", str(page.port)]
    command += ["--page-folder", str(page.folder), "--page-socket", str(page.socket)]
    search = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": search})


def end(page: subprocess.Popen) -> None:
    """Wait for it, not for long."""
    try:
        page.wait(PAGE_END_S)
    except subprocess.TimeoutExpired:
        page.kill()
        page.wait()


def hold_stops() -> None:
    """Let a SIGTERM or SIGINT from here on wait for the program that begins anew: the handlers of this one would only
    note it, and their notes go with it. A mask stays over execve, and so does what waits behind it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    for number in STOPS:  # a library's thread is not masked; one that takes it must not note it either, but end all
        signal.signal(number, signal.SIG_DFL)


def told_on_the_way() -> str | None:
    """The name of the signal that came while the process began anew, None mostly; from here on none waits.

    The first thing of a run: what it starts inherits the mask, and until the handlers stand a signal ends it at once.
    """
    told = signal.sigtimedwait(STOPS, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return None if told is None else signal.Signals(told.si_signo).name


def begin_anew() -> None:
    """The same command in the same process, which reads its settings anew; systemd sees one process go on."""
    log.say("starting again in place.")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.execve(sys.executable, sys.orig_argv, {**os.environ, AGAIN: "1"})


def write_summary(path: Path, data: dict) -> None:
    """Write the totals as JSON, whole or not at all. Raises UserError when that fails."""
    try:
        files.write_json(path, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another file.") from error
