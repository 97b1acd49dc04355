"""Which bundles a device believes: those that a trusted key signed, and others only where it is told to.

Trusted are the public keys that come with busi-kd (`device/keys`, the makers of the models that ship) and this
machine's own. `--trusted-keys DIR` replaces both, `--allow-unsigned` does without.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from device.bundle import Bundle, load_bundle
from device.signing import NotTrusted

SHIPPED_KEYS = Path(__file__).resolve().parent / "keys"
MACHINE_KEYS = Path("/etc/busi-kd/trusted-keys")


@dataclass(frozen=True)
class Trust:
    """folders: where trusted keys lie. allow_unsigned: take what no key signed, too, and say so."""

    folders: tuple[Path, ...]
    allow_unsigned: bool = False


def add_arguments(parser: argparse.ArgumentParser, unsigned: bool = True) -> None:
    """The options that say whom to trust; unsigned: nobody may be among the choices."""
    keys = "trust the keys (*.pub) in this folder instead of busi-kd's own and those in /etc/busi-kd/trusted-keys"
    parser.add_argument("--trusted-keys", type=Path, metavar="DIR", help=keys)
    if not unsigned:
        parser.set_defaults(allow_unsigned=False)
        return
    parser.add_argument("--allow-unsigned", action="store_true", help="take a bundle that no trusted key signed, too")


def from_options(args: argparse.Namespace) -> Trust:
    """What the options of `add_arguments` say."""
    folders = (SHIPPED_KEYS, MACHINE_KEYS) if args.trusted_keys is None else (args.trusted_keys,)
    return Trust(folders, args.allow_unsigned)


def load(folder: Path, trust: Trust) -> tuple[Bundle, str | None]:
    """A bundle that may give verdicts, and, where it is only allowed, the sentence that must be said about it.

    Raises NotTrusted when no trusted key signed it, and UserError when it does not load.
    """
    try:
        return load_bundle(folder, trust.folders), None
    except NotTrusted as error:
        if not trust.allow_unsigned:
            raise
        what, _, _ = str(error).partition(";")  # the rest says how to mend it
        return load_bundle(folder), f"UNSIGNED: {what}; it is used all the same, because of --allow-unsigned."
