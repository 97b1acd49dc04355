"""Options over file over defaults; what is shown reads back; the example that ships is complete."""

import argparse
import dataclasses
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device import governor, run
from device.config import options, read, write
from device.config.contradictions import contradictions
from device.config.options import Effective, effective, merged
from device.config.quantity import Kind
from device.config.read import parse
from device.config.settings import KEYS, SECTIONS, Key, Settings, build, flat
from device.errors import UserError
from device.main import main

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

ROOT = Path(__file__).parents[2]
FILE = Path("c.toml")


def given_options(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        "[model]\nthreads = 2\nallow_unsigned = true\n[source]\nfps = '10 fps'\n[log]\nverdicts = 'a.csv'\n"
    )
    now = effective(given_options("--config", file, "--threads", 3, "--verdicts", "b.csv"))
    assert (now.settings.model.threads, now.origins["model.threads"]) == (3, "option --threads")
    assert (now.settings.log.verdicts, now.origins["log.verdicts"]) == (Path("b.csv"), "option --verdicts")
    assert (now.settings.source.fps, now.origins["source.fps"]) == (10.0, f"{file}, line 5")
    assert now.settings.model.allow_unsigned
    assert now.settings.model.whom().allow_unsigned
    assert (now.settings.log.summary, now.origins["log.summary"]) == (None, "default")


def test_one_can_do_without_the_file_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "FILE", tmp_path / "config.toml")
    read.FILE.write_text("[model]\nthreads = 4\n")
    assert effective(given_options()).settings.model.threads == 4
    assert effective(given_options("--config", "none")).settings == Settings()


def test_every_option_that_overrules_a_key_can_be_told_from_its_default() -> None:
    """The values that the options had before there was a file are those of the settings."""
    args = given_options("--config", "none")
    assert all(getattr(args, name) is None for name in options.OPTIONS)
    assert merged(None, args).settings == Settings()
    spent = {*vars(args)} - {*options.OPTIONS}
    assert spent == {"config", "duration"}  # of one run alone


def test_another_kind_of_source_puts_the_section_of_the_file_aside() -> None:
    found = parse("[source]\nkind = 'folder'\npath = '/srv'\nloop = true\nfps = '5 fps'\n", FILE)
    now = merged(found, given_options("--source", "phantom"))
    assert now.settings.source == Settings().source
    assert now.origins["source.path"] == "default"
    same = merged(found, given_options("--source", "folder", "--fps", 0))
    assert (same.settings.source.path, same.settings.source.loop, same.settings.source.fps) == (Path("/srv"), True, 0.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[source]\nkind='folder'", "c.toml, line 2: source.kind folder needs source.path: give the folder to read."),
        ("[source]\nkind='video'", "c.toml, line 2: source.kind video needs source.path"),
        ("[source]\n\npath='/srv'", "c.toml, line 3: source.path /srv goes with source.kind folder, video or session"),
        (
            "[source]\nkind='v4l2'\npath='/srv'",
            "c.toml, line 3: source.path /srv goes with source.kind folder, video or session",
        ),
        ("[source]\nkind='v4l2'\nfps='0 fps'", "c.toml, line 3: source.fps 0 fps is for files"),
        ("[source]\ndevice='/dev/video0'", "c.toml, line 2: source.device goes with source.kind v4l2; with phantom"),
        ("[source]\nrange='full'", "c.toml, line 2: source.range goes with source.kind v4l2"),
        ("[region]\nmode='fixed'", "c.toml, line 2: region.mode fixed needs region.fixed"),
        ("[region]\nfixed='64x64+0+0@64x64'", "c.toml, line 2: region.fixed goes with region.mode fixed; with usual"),
        (
            "[governor]\nfloor='31 fps'",
            "c.toml, line 2: governor.floor (31 fps) must not be above governor.full (30 fps).",
        ),
        (
            "[governor]\nbattery_low='5 %'",
            "c.toml, line 2: governor.battery_very_low (10 %) must not be above governor.battery_low (5 %).",
        ),
        ("[judgement]\nscene_new_levels=0.5", "c.toml, line 2: judgement.scene_still_levels (0.5) must be below"),
        ("[log]\nverdicts='a'\nsummary='a'", "c.toml, line 3: log.summary and log.verdicts name the same file"),
        ("[log]\nmetrics='a'\nsummary='a'", "c.toml, line 2: log.metrics and log.summary name the same file"),
        (
            "[log]\nmetrics='m.txt'",
            "c.toml, line 2: log.metrics m.txt: node_exporter reads only files",
        ),
        ("[fleet]\nenabled=true", "c.toml, line 2: fleet.enabled needs somebody to tell: give fleet.broker or"),
        (
            "[log]\nmetrics='m.prom'\n[fleet]\nenabled=true\nbroker='::1'",
            "c.toml, line 2: log.metrics m.prom must be a whole path with fleet.enabled",
        ),
        ("[fleet]\nuser='unit'", "c.toml, line 2: fleet.user goes with fleet.password_file; give both or neither."),
        (
            "[fleet]\ncertificate_key='k'",
            "c.toml, line 2: fleet.certificate_key goes with fleet.certificate; give both",
        ),
        ("[fleet]\ntls=false\nca='c.pem'", "c.toml, line 3: fleet.ca goes with fleet.tls true; leave it out."),
        (
            "[fleet]\ntls=false\nbroker='b.example'\nuser='u'\npassword_file='p'",
            "c.toml, line 2: fleet.password_file needs fleet.tls true: else everybody",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_told_with_the_line_that_did_it(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        merged(parse(text, FILE))
    assert str(error.value).startswith(told)


def test_a_password_may_go_in_the_clear_within_the_machine() -> None:
    text = "[fleet]\ntls=false\nbroker='127.0.0.1'\nuser='u'\npassword_file='p'"
    assert merged(parse(text, FILE)).settings.fleet.password_file == Path("p")


def test_an_option_heals_and_makes_contradictions() -> None:
    found = parse("[source]\nkind = 'folder'\n", FILE)
    assert merged(found, given_options("--path", "/srv")).settings.source.path == Path("/srv")
    with pytest.raises(UserError, match=r"^--source video needs --path: give the video to read\.$"):
        merged(found, given_options("--source", "video"))
    with pytest.raises(UserError, match=r"^--metrics m\.txt: node_exporter reads only"):
        merged(found, given_options("--path", "/srv", "--metrics", "m.txt"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--unchanged", "2.1"], "--unchanged is 2.1, which lies outside 0 s to 2 s."),
        (["--unchanged", "nan"], "--unchanged is nan, which lies outside 0 s to 2 s."),
        (["--threads", "65"], "--threads is 65, which lies outside 1 to 64."),
        (["--fps", "-1"], "--fps is -1, which lies outside 1 fps to 240 fps, or 0 fps:"),
    ],
)
def test_an_option_keeps_the_range_of_its_key(words: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        merged(None, given_options(*words))
    assert str(error.value).startswith(told)


# --- the governor's section


def test_the_governor_of_the_settings_is_the_governor_itself() -> None:
    """Each of its numbers is a key of the same default; what is read arrives there."""
    assert Settings().governor.rules() == governor.GovernorSettings()
    numbers = [part.name for part in dataclasses.fields(governor.GovernorSettings)]
    assert [one.field for one in KEYS.values() if one.section == "governor"] == ["enabled", *numbers]
    text = "[governor]\nfull = '25 fps'\nmargin = '7.5 C'\nbattery_low = '30 %'\nsettle = '0.5 min'\n"
    wanted = governor.GovernorSettings(full_fps=25.0, margin_c=7.5, battery_low_percent=30.0, settle_s=30.0)
    assert merged(parse(text, FILE)).settings.governor.rules() == wanted


@pytest.mark.parametrize("part", dataclasses.fields(governor.GovernorSettings), ids=lambda part: part.name)
def test_a_key_of_the_governor_takes_what_the_governor_takes(part: dataclasses.Field) -> None:
    (spec,) = (one.spec for one in KEYS.values() if (one.section, one.field) == ("governor", part.name))
    lowest = governor.GovernorSettings(floor_fps=1.0, full_fps=1.0, battery_very_low_percent=0.0)
    highest = governor.GovernorSettings(full_fps=1000.0, battery_low_percent=100.0)
    for wide, end, beyond in ((lowest, spec.low, -math.inf), (highest, spec.high, math.inf)):
        assert getattr(dataclasses.replace(wide, **{part.name: end}), part.name) == end
        with pytest.raises(ValueError, match=part.name):
            dataclasses.replace(wide, **{part.name: math.nextafter(end, beyond)})


def test_the_governor_is_left_out_by_key_and_by_option() -> None:
    off = parse("[governor]\nenabled = false\n", FILE)
    assert merged(off).settings.governor.rules() is None
    now = merged(parse("[governor]\nenabled = true\n", FILE), given_options("--no-governor"))
    assert (now.settings.governor.rules(), now.origins["governor.enabled"]) == (None, "option --no-governor")
    assert merged(off, given_options()).settings.governor.rules() is None


def test_options_of_power_overrule_the_file() -> None:
    found = parse("[judgement]\nunchanged = '0 s'\n[log]\nmetrics = '/run/a.prom'\npower_report = false\n", FILE)
    settings = merged(found, given_options("--unchanged", 1.5, "--metrics", "b.prom", "--power-report")).settings
    assert settings.judgement.unchanged_s == 1.5
    assert (settings.log.metrics, settings.log.power_report) == (Path("b.prom"), True)
    settings = merged(found, given_options()).settings
    assert (settings.judgement.unchanged_s, settings.log.metrics) == (0.0, Path("/run/a.prom"))


# --- shown and read again


def values_of(one: Key) -> st.SearchStrategy:
    spec = one.spec
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.kind == "flag":
        return st.booleans()
    if spec.kind == "listen":
        return st.just("lan") | st.ip_addresses().map(str)
    if spec.kind == "path":
        text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
        found = text.filter(lambda t: t.strip() and not t.startswith("~")).map(Path).filter(lambda p: str(p).strip())
    elif spec.kind == "text":
        # A text that is the word for nothing is read as nothing.
        found = st.from_regex(re.compile(spec.pattern, re.ASCII), fullmatch=True).filter(lambda t: t != spec.unset)
    elif spec.kind == "frame size":
        found = st.tuples(st.integers(1, 99999), st.integers(1, 99999))
    elif spec.kind == "region":
        found = st.tuples(st.integers(1, 4000), st.integers(1, 4000)).map(
            lambda s: "{0}x{1}+0+7@{0}x{2}".format(*s, s[1] + 7)
        )
    elif spec.kind == "count" or (isinstance(spec.kind, Kind) and spec.kind.whole):
        found = st.integers(int(spec.low), int(spec.high))
    else:
        found = st.floats(spec.low, spec.high)
        found = found | st.just(0.0) if spec.zero else found
    return st.none() | found if spec.unset is not None else found


@BUSY
@given(st.fixed_dictionaries({dotted: values_of(one) for dotted, one in KEYS.items()}))
def test_what_is_shown_reads_back_as_the_same_settings(values: dict) -> None:
    settings = build(values)
    assert flat(settings) == values
    text = write.shown(Effective(settings, {dotted: "a # place\nof two lines" for dotted in KEYS}))
    found = parse(text, FILE)
    assert found.problems == ()
    assert build(found.values) == settings


def test_a_file_that_is_called_like_the_word_for_nothing() -> None:
    found = parse("[log]\nverdicts = './none'\n[model]\nbundle = './installed'\n", FILE)
    text = write.shown(merged(found))
    assert build(parse(text, FILE).values) == merged(found).settings
    assert merged(found).settings.log.verdicts == Path("none")


# --- the example


def test_the_example_that_ships_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "config", "example"]) == 0
    assert (ROOT / "systemd/config.toml").read_text() == capsys.readouterr().out


def test_the_example_uncommented_has_every_key_at_its_default() -> None:
    lines = (ROOT / "systemd/config.toml").read_text().splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    bare = "\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith("# "))
    data = tomllib.loads(bare)
    assert {f"{section}.{name}" for section, table in data.items() for name in table} == set(KEYS)
    assert list(data) == list(SECTIONS)
    found = parse(bare, FILE)
    assert found.problems == ()
    assert build(found.values) == Settings()
    for one in KEYS.values():
        assert f"# {one.spec.about}" in lines
        assert f"#   {one.spec.takes()}" in lines


def test_the_defaults_keep_their_own_rules() -> None:
    assert list(contradictions(Settings())) == []
    for one in KEYS.values():
        assert one.spec.read(tomllib.loads(f"v = {one.spec.write(one.default)}")["v"]) == one.default


# --- the command


def busi_kd(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device.main", "device", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[source]\nfps = '10 fps'\n")
    done = busi_kd("config", "show", "--config", file, "--threads", 2)
    assert done.returncode == 0, done.stderr
    lines = {line.split("#")[0].strip(): line.partition("#")[2].strip() for line in done.stdout.splitlines()}
    assert lines["threads = 2"] == "option --threads"
    assert lines['fps = "10 fps"'] == f"{file}, line 2"
    assert lines['half_life = "500 ms"'] == "default"


def test_the_daemon_runs_by_the_file(bundle_dir: Path, trusted_keys: Path, tmp_path: Path) -> None:
    file, rows, pictures = tmp_path / "c.toml", tmp_path / "rows.csv", tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "dark.png"), np.full((48, 64), 40, np.uint8))
    file.write_text(
        f"[model]\nbundle = '{bundle_dir / 'float32'}'\ntrusted_keys = '{trusted_keys}'\nthreads = 2\n"
        f"[source]\nkind = 'folder'\npath = '{pictures}'\nfps = '0 fps'\n"
        f"[judgement]\nhalf_life = '125 ms'\n[log]\nverdicts = '{rows}'\n"
    )
    done = busi_kd("run", "--config", file)
    assert done.returncode == 0, done.stderr
    assert "variant=float32" in done.stdout
    assert "threads=2" in done.stdout
    comment, _, row = rows.read_text().splitlines()
    assert "half_life_s=0.125" in comment
    assert row.startswith("0,dark.png,")


def test_check_of_a_right_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[source]\nfps = '10 fps'\n")
    assert main(["device", "config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: right; 1 setting of its own, all others have their defaults.\n"
    file.write_text("[source]\nkind = 'folder'\n")
    assert main(["device", "config", "check", str(file)]) == 3
    assert "line 2: source.kind folder needs source.path" in capsys.readouterr().out
