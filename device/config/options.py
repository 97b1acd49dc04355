"""Options win over the file, the file over the defaults; and of every value it is known where it came from."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.config import overlay, read
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
    "page": "page.enabled",
    "page_listen": "page.listen",
    "page_port": "page.port",
    "page_folder": "page.folder",
    "page_socket": "page.socket",
}
DEFAULT = "default"


@dataclass(frozen=True)
class Effective:
    """The settings of a run. origins: of every key, `default`, `FILE, line N` or `option --NAME`; the file is the
    configuration file, or the one that the page writes."""

    settings: Settings
    origins: dict[str, str]


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option `--config`."""
    what = f"the configuration file (default: {read.FILE}, if it is there; none: without); options win over it"
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help=what)


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that overrule the section `page`."""
    add = parser.add_argument
    add("--page-listen", metavar="ADDRESS", help="who reaches the page: an IP address of this machine, or lan")
    add("--page-port", type=int, metavar="N", help="TCP port of the page (default: 8080)")
    add("--page-folder", type=Path, metavar="DIR", help="where the page keeps its PIN and settings")
    add("--page-socket", type=Path, metavar="FILE", help="the daemon's Unix socket")


def leave_unset(parser: argparse.ArgumentParser) -> None:
    """Take the defaults from the options that overrule a key, so that `effective` can tell which were given."""
    parser.set_defaults(**dict.fromkeys(OPTIONS))


def effective(args: argparse.Namespace) -> Effective:
    """What the options in `args`, what the page has set and the file they name come to; the former win.

    A `source.kind` other than that of what it wins over puts the whole section there aside: its path is another kind's.
    Raises UserError as device.config.read.read does, for an option outside its key's range, and when keys contradict
    each other.
    """
    found = read.read(args.config)
    _trial(args, found)
    if args.config == read.NO_FILE and getattr(args, "page_folder", None) is None:
        return merged(found, args)
    return merged(found, args, of_page(found, args))


def of_page(found: read.Found | None, args: argparse.Namespace | None = None) -> read.Found | None:
    """What the page has set, in the folder that the option or the file names. Raises as overlay.load does."""
    folder = getattr(args, "page_folder", None)
    if folder is None:
        folder = ({} if found is None else found.values).get("page.folder", KEYS["page.folder"].default)
    return overlay.load(folder)


def _trial(args: argparse.Namespace, found: read.Found | None) -> None:
    """`--page` by a user who may not write where a service does: the page's files go to the user's own."""
    if not getattr(args, "page", None) or os.geteuid() == 0:
        return
    own = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "busi-kd-page"
    for name, path in (("page_folder", own), ("page_socket", own / "live.sock")):
        if getattr(args, name, None) is None and OPTIONS[name] not in ({} if found is None else found.values):
            setattr(args, name, path)


def merged(
    found: read.Found | None, args: argparse.Namespace | None = None, page: read.Found | None = None
) -> Effective:
    """The same for files that are read already; None: there is none. args: none overrule them. page: of the page."""
    values, origins = _over({}, {}, found)
    values, origins = _over(values, origins, page)
    given = {} if args is None else {name: getattr(args, name, None) for name in OPTIONS}
    given = {OPTIONS[name]: (name, value) for name, value in given.items() if value is not None}
    if "source.kind" in given:
        values, origins = _of_kind(values, origins, given["source.kind"][1])
    for dotted, (name, value) in given.items():
        option = f"--{name.replace('_', '-')}"
        try:
            KEYS[dotted].spec.check(value)
            if KEYS[dotted].spec.kind == "listen":
                value = KEYS[dotted].spec.read(value)
        except WrongValue as error:
            shown = value if isinstance(value, str) else f"{value:g}"
            raise UserError(f"{option} is {shown}, which {error}.") from error
        values[dotted], origins[dotted] = value, f"option {option}"
    settings = build(values)
    for sentence in problems(settings, origins):
        raise UserError(sentence)
    return Effective(settings, {dotted: origins.get(dotted, DEFAULT) for dotted in KEYS})


def _over(values: dict[str, Any], origins: dict[str, str], found: read.Found | None) -> tuple[dict, dict]:
    if found is None:
        return values, origins
    if "source.kind" in found.values:
        values, origins = _of_kind(values, origins, found.values["source.kind"])
    places = {dotted: f"{found.path}, line {line}" for dotted, line in found.lines.items()}
    return values | found.values, origins | places


def _of_kind(values: dict[str, Any], origins: dict[str, str], kind: str) -> tuple[dict, dict]:
    """Without the section `source`, if it is of another kind."""
    if kind == values.get("source.kind", KEYS["source.kind"].default):
        return values, origins
    values = {dotted: value for dotted, value in values.items() if KEYS[dotted].section != "source"}
    return values, {dotted: said for dotted, said in origins.items() if dotted in values}


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
