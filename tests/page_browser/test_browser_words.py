"""The page's words: three languages with the same keys and placeholders, and words for all that the device can say.

These need no browser. What the device can say is asked of its own code, so that a new state without words fails here.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import device.capture
import device.doctor
from device import RESEARCH_NOTICE, governor, over_time, quality
from device.capture import CaptureError, pump
from device.config.settings import KEYS
from device.decide import ABSTAIN
from device.phantom import CLASSES
from device.region.stored import State
from device.telemetry.firmware import parse_throttled
from tests.page_browser.running import ROOT
from tests.page_browser.visiting import LANGUAGES, STATIC, TEXTS

SCRIPTS = sorted((STATIC / "js").glob("*.js"))
INNER = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser")


def _kinds(of: type) -> Iterator[type]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _signal_states() -> set[str]:
    """Every state of the source that the code knows, and what the page's server says without a daemon."""
    for module in pkgutil.iter_modules(device.capture.__path__, "device.capture."):
        importlib.import_module(module.name)
    importlib.import_module("device.region.screen")
    kinds = {CaptureError, *_kinds(CaptureError)}
    own = {kind.state for kind in kinds if kind.__module__.startswith("device.")}
    return own | {pump.WAITING, pump.OK, pump.ENDED, pump.STALLED} | {"no daemon"}


def _literals(folder: str, call: str, position: int) -> set[str]:
    """The texts that stand as an argument of a call in the files of a folder."""
    found = set()
    for path in sorted((ROOT / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == call:
                if len(node.args) > position and isinstance(node.args[position], ast.Constant):
                    found.add(node.args[position].value)
    return found


QUALITY = {quality.OK, quality.BLANK, quality.DARK, quality.COLOURED, quality.BLURRED, quality.UNFAMILIAR}
REASONS = {over_time.NO_NUMBER, over_time.LOW_CONFIDENCE, *QUALITY} - {quality.OK}
FLAGS = {flag for flag in parse_throttled("throttled=0xf") or ()}
SAID = {
    "verdict": {*CLASSES, ABSTAIN},
    "signal": _signal_states(),
    "signal-hint": _signal_states() - {pump.OK},
    "reason": REASONS,
    "reason-hint": REASONS,
    "quality": QUALITY,
    "machine-flag": FLAGS,
    "limit": {governor.TEMPERATURE, governor.BATTERY},
    "source-kind": set(KEYS["source.kind"].spec.choices),
    "storage.full": set(KEYS["recorder.when_full"].spec.choices),
    "region-state": {*State.__args__, "fixed"},
    "doctor": set(device.doctor.STATES),
    "doctor-check": _literals("device/doctor", "Finding", 0),
    "error": _literals("device/page", "Refusal", 1) | _literals("device/live", "_refused", 0),
    "studies": {"frame", "sweep", "open", "ended", "interrupted"},
    "model": {"shipped", "current", "previous", "running"},
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("group", SAID)
def test_all_that_the_device_can_say_has_words(group: str, language: str) -> None:
    assert SAID[group], "nothing was found in the code: the test looks in the wrong place"
    wanted = {f"{group}.{word}" for word in SAID[group]}
    assert wanted - set(TEXTS[language]) == set()


def test_what_the_quality_module_knows_is_all_here() -> None:
    """Its states are constants of the module: none may be missing above."""
    tree = ast.parse((ROOT / "device/quality.py").read_bytes())
    named = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    states = {name.id for target in named if isinstance(target, ast.Tuple) for name in target.elts}
    assert {getattr(quality, name) for name in states} == QUALITY


def test_the_three_files_have_the_same_keys() -> None:
    for language in LANGUAGES:
        assert list(TEXTS[language]) == list(TEXTS["en"]), language


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_the_same_and_no_text_is_empty(language: str) -> None:
    for key, text in TEXTS[language].items():
        assert text.strip(), key
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", TEXTS["en"][key])), key


def test_other_languages_are_translated() -> None:
    same = {key for key, text in TEXTS["en"].items() if text == TEXTS["ar"][key]}
    assert same == set()
    assert all(re.search(r"[\u0600-\u06ff]", text) for text in TEXTS["ar"].values())


def test_the_notice_is_the_devices_own() -> None:
    assert TEXTS["en"]["notice"] == RESEARCH_NOTICE
    assert RESEARCH_NOTICE in (STATIC / "index.html").read_text(encoding="utf-8")


def test_every_text_that_a_script_names_is_there_and_none_is_left_over() -> None:
    used, groups = set(), set()
    for path in SCRIPTS:
        script = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"\bt\(\s*\"([^\"]+)\"", script))
        used |= set(re.findall(r"[?:] \"([a-z]+[.-][a-z.-]+)\"", script)) & set(TEXTS["en"])
        used |= set(re.findall(r"return \"([a-z]+\.[a-z.-]+)\"", script))
        groups |= set(re.findall(r"\bknown\(\"([^\"]+)\"", script)) | set(re.findall(r"\bt\(`([a-z-]+)\.\$\{", script))
    assert used - set(TEXTS["en"]) == set()
    dynamic = tuple(f"{group}." for group in groups)
    left = {key for key in TEXTS["en"] if key not in used and not key.startswith(dynamic)}
    assert left == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path) -> None:
    assert INNER.search(path.read_text(encoding="utf-8")) is None


def test_nothing_is_written_into_the_page_itself_and_nothing_comes_from_outside() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page) is None
    for path in (STATIC / "index.html", *SCRIPTS, *(STATIC / "css").glob("*.css")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.search(r"https?://|//[a-z0-9-]+\.[a-z]{2,}|@import|url\(", text) is None, path.name


@pytest.mark.parametrize("path", sorted((STATIC / "css").glob("*.css")), ids=lambda path: path.name)
def test_styles_know_no_left_and_right(path) -> None:
    """Logical properties alone: so Arabic needs no rule of its own. Plots and the journal stay left to right."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    physical = re.findall(
        r"^\s*((?:margin|padding|border|inset)-(?:left|right)|left|right|float)\s*:", text, re.MULTILINE
    )
    assert physical == []
