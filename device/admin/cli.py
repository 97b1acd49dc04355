"""`busi-kd device admin`: the root helper of the page, started by systemd when it is asked."""

import argparse
import os
import pwd
import socket
from pathlib import Path

from device.config import options
from device.errors import UserError

FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
IDLE_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device admin`."""
    options.add_argument(parser)
    what = "work for this user, by name or number (default: busi-kd), for root, and for who started it"
    parser.add_argument("--user", default="busi-kd", metavar="NAME", help=what)
    parser.add_argument("--socket", type=Path, metavar="FILE", help="make this socket (default: systemd's)")


def main(args: argparse.Namespace) -> int:
    """Serve; returns 0 once nobody has asked for a while. Raises UserError without a socket."""
    from device.admin.server import Helper, serve

    helper, idle = Helper(args.config), None
    if args.socket is None:
        listening, idle = _of_systemd(), IDLE_S
    else:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            args.socket.unlink(missing_ok=True)
            listening.bind(str(args.socket))
            listening.listen(4)
        except OSError as error:
            raise UserError(f"{args.socket}: cannot be made ({error.strerror}); give another file.") from error
    with listening:
        serve(listening, frozenset({0, os.geteuid(), *_user(args.user)}), helper, idle)
    return 0


def _of_systemd() -> socket.socket:
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise UserError("The helper is started by systemd (busi-kd-admin.socket); give --socket for a trial.")
    return socket.socket(fileno=FIRST_DESCRIPTOR)


def _user(name: str) -> tuple[int, ...]:
    """Its number; none where there is no such user: then nobody is listened to."""
    if name.isdecimal():
        return (int(name),)
    try:
        return (pwd.getpwnam(name).pw_uid,)
    except KeyError:
        return ()
