"""`busi-kd device page`: serve the technician's page, or set its PIN."""

import argparse
import asyncio
import ctypes
import getpass
import os
import signal
import sys

from device import RESEARCH_NOTICE, log
from device.config import options
from device.errors import UserError

_PR_SET_PDEATHSIG = 1
NICE = 10  # as in the unit: watchers must not slow the judging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device page`."""
    options.add_argument(parser)
    options.add_page_arguments(parser)
    parser.add_argument("--set-pin", action="store_true", help="ask for a PIN, set it, and end (a Pi without screen)")
    parser.add_argument("--with-parent", action="store_true", help="end together with the process that started it")


def main(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0; raises UserError for what a person can mend."""
    if args.with_parent:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.nice(NICE)
    sys.stdout.reconfigure(errors="backslashreplace")
    if args.set_pin:
        return _set_pin(args)
    from device.page import server  # aiohttp is imported here alone

    log.say(f"busi-kd page. {RESEARCH_NOTICE}")
    page = server.make_page(args)

    async def until_stopped() -> None:
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await server.serve(page)

    try:
        asyncio.run(until_stopped())
    except asyncio.CancelledError:
        log.say("page: stopped.")
    return 0


def _set_pin(args: argparse.Namespace) -> int:
    from device.page import pin
    from device.store import owned_like

    folder = options.effective(args).settings.page.folder
    new = getpass.getpass("New PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if sys.stdin.isatty() and getpass.getpass("Again: ") != new:
        raise UserError("The two PINs are not the same; nothing was changed.")
    pin.store(folder, new)
    for path in (folder, folder / pin.FILE):
        owned_like(path, folder.parent)
    print("The PIN is set; restart the page if it runs (systemctl restart busi-kd-page).")
    return 0
