"""The console command `busi-kd`: hands over to the group's own cli.py, imported only when that group is used."""

import importlib
import os
import signal
import sys

from device import RESEARCH_NOTICE, __version__
from device.errors import UserError, nearest

# By name, because this floor must not import the floors above it, and torch must not be needed to run the daemon.
GROUPS = {
    "train": ("train.cli", "data, teacher, student by distillation, evaluation          (host)"),
    "convert": ("convert.cli", "student -> ONNX -> TFLite -> verified model bundle           (host)"),
    "device": ("device.cli", "daemon, benchmark and bundle tools                           (Pi and host)"),
    "all": ("convert.whole", "the whole path once, from a data folder to the daemon          (host)"),
    "demo": ("convert.demo", "the whole path once, on synthetic phantoms                   (host)"),
}


def usage() -> str:
    """The text of `busi-kd --help`."""
    lines = [f"  {name:8} {what}" for name, (_, what) in GROUPS.items()]
    return (
        f"busi-kd {__version__}. {RESEARCH_NOTICE}\n\nusage: busi-kd GROUP ...\n\n"
        + "\n".join(lines)
        + "\n\nbusi-kd GROUP --help says what each group does.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run `busi-kd ARGUMENTS` and return the exit status: 0 done, 2 a mendable error, 3 a gate refused.

    As in a shell, 130 is Ctrl-C, and 141 that the reader of the output has gone (`busi-kd ... | head`).
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # here, where a failure can be told; at Python's exit it would be a traceback
    except OSError as error:  # from standard output; _run tells the others
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it must not fail again
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        print(f"busi-kd: {_say_refused(error)}", file=sys.stderr)
        return UserError.exit_status


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(__version__)
        return 0
    try:
        return _load_group(arguments[0])(arguments[1:])
    except UserError as error:
        print(f"busi-kd: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        print(f"busi-kd: {_say_missing(arguments[0], error)}", file=sys.stderr)
        return UserError.exit_status
    except BrokenPipeError:
        raise
    except OSError as error:  # one that no command foresaw: a full disk, a failing card, a missing permission
        print(f"busi-kd: {_say_refused(error)}", file=sys.stderr)
        return UserError.exit_status
    except KeyboardInterrupt:
        print("busi-kd: interrupted.", file=sys.stderr)
        return 130


def _load_group(name: str):
    if name not in GROUPS:
        raise UserError(f"unknown group {name!r}{nearest(name, list(GROUPS))}; busi-kd --help lists them.")
    return importlib.import_module(GROUPS[name][0]).main


def _say_refused(error: OSError) -> str:
    """What the system refused, and on which file where it says so."""
    why = error.strerror or " ".join(str(error).split()) or type(error).__name__
    named = isinstance(error.filename, str | bytes) and error.filename
    where = f"{os.fsdecode(error.filename)}: " if named else ""
    return f"{where}the system refused to go on ({why}); correct that and run the command again."


def _say_missing(group: str, error: ModuleNotFoundError) -> str:
    """What to install. Torch and the like are imported only when a command needs them, hence so late."""
    package = (error.name or "").partition(".")[0]
    if error.name in ("train", "convert"):
        return f"'busi-kd {group}' is not part of this installation, which has device/ alone; run it on the host."
    if package in ("", "device", "train", "convert"):  # a fault of busi-kd itself: its traceback is wanted
        raise error
    wanted = "busi-kd" if group == "device" else "busi-kd[host]"
    return f"'busi-kd {group}' needs the package {package}, which is not installed here; run: pip install '{wanted}'"


if __name__ == "__main__":
    sys.exit(main())
