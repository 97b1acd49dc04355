"""Options win over the file, the file over the defaults; and of every value it is known where it came from."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.config import read
from device.config.contradictions import contradictions
from device.config.field import WrongValue
from device.config.settings import KEYS, Settings, build
from device.errors import UserError

# argparse's name of an option of `device run` -> the key that it overrules
OPTIONS = {
    "bundle": "model.bundle",
    "models": "model.models",
    "trusted_keys": "model.trusted_keys",
    "allow_unsigned": "model.allow_unsigned",
    "threads": "model.threads",
    "source": "source.kind",
    "path": "source.path",
    "device": "source.device",
    "fps": "source.fps",
    "loop": "source.loop",
    "region": "region.mode",
    "regions": "region.regions",
    "unchanged": "judgement.unchanged",
    "no_governor": "governor.enabled",  # False when it is given
    "verdicts": "log.verdicts",
    "summary": "log.summary",
    "metrics": "log.metrics",
    "power_report": "log.power_report",
}
DEFAULT = "default"


@dataclass(frozen=True)
class Effective:
    """The settings of a run. origins: of every key, `default`, `FILE, line N` or `option --NAME`."""

    settings: Settings
    origins: dict[str, str]


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option `--config`."""
    what = f"the configuration file (default: {read.FILE}, if it is there; none: without); options win over it"
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help=what)


def leave_unset(parser: argparse.ArgumentParser) -> None:
    """Take the defaults from the options that overrule a key, so that `effective` can tell which were given."""
    parser.set_defaults(**dict.fromkeys(OPTIONS))


def effective(args: argparse.Namespace) -> Effective:
    """What the options in `args` and the file they name come to.

    An option `--source` of another kind than the file's puts the whole section aside: its path is another kind's.
    Raises UserError as device.config.read.read does, for an option outside its key's range, and when keys contradict
    each other.
    """
    return merged(read.read(args.config), args)


def merged(found: read.Found | None, args: argparse.Namespace | None = None) -> Effective:
    """The same for a file that is read already; None: there is none. args: none overrule it."""
    values: dict[str, Any] = {} if found is None else dict(found.values)
    origins = {} if found is None else {dotted: f"{found.path}, line {line}" for dotted, line in found.lines.items()}
    given = {} if args is None else {name: getattr(args, name, None) for name in OPTIONS}
    given = {OPTIONS[name]: (name, value) for name, value in given.items() if value is not None}
    if "source.kind" in given and given["source.kind"][1] != values.get("source.kind", KEYS["source.kind"].default):
        values = {dotted: value for dotted, value in values.items() if KEYS[dotted].section != "source"}
        origins = {dotted: said for dotted, said in origins.items() if dotted in values}
    for dotted, (name, value) in given.items():
        option = f"--{name.replace('_', '-')}"
        try:
            KEYS[dotted].spec.check(value)
        except WrongValue as error:
            raise UserError(f"{option} is {value:g}, which {error}.") from error
        values[dotted], origins[dotted] = value, f"option {option}"
    settings = build(values)
    for sentence in problems(settings, origins):
        raise UserError(sentence)
    return Effective(settings, {dotted: origins.get(dotted, DEFAULT) for dotted in KEYS})


def problems(settings: Settings, origins: dict[str, str]) -> list[str]:
    """Contradictions as sentences, with the place of the first of their keys that a file or an option has set."""
    told = []
    for keys, sentence in contradictions(settings):
        places = [origins[dotted] for dotted in keys if origins.get(dotted, DEFAULT) != DEFAULT]
        by_option = [place for place in places if place.startswith("option ")]
        if by_option:
            for name, dotted in OPTIONS.items():
                if dotted in keys:
                    sentence = sentence.replace(dotted, f"--{name.replace('_', '-')}")
            told.append(sentence)
        else:
            told.append(f"{places[0]}: {sentence}" if places else sentence)
    return told
