"""Broken input by the ten thousand: whatever comes, a sentence or a verdict, never a crash and never a hang.

    python -m tests.soak.fuzz --frames 100000 --others 10000

Hypothesis draws the input. An input that takes longer than HANG_S, or that raises anything but the error that the code
promises, ends the run and is printed. pytest runs a short one (test_fuzz.py).
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device import files, record
from device.bundle import META_FILE, load_bundle
from device.capture import Frame, Undecodable
from device.capture.pixels import JPEGS, RAW, Layout, picture
from device.capture.session import TIMES, read_times
from device.config import read as config
from device.config.write import example
from device.errors import UserError
from device.judge import BadFrame, Judge
from device.over_time import OverTime
from device.phantom_clip import PhantomClip
from device.runtime import open_bundle
from device.scene import Change
from device.shipped import default_bundle

HANG_S = 10.0
VERDICTS = {"benign", "malignant", "normal", "abstain"}

Target = Callable[[object], str]


def frames() -> tuple[st.SearchStrategy, Target]:
    """Arrays of any shape and type, also none, and times that jump: through quality, model and decision."""
    bundle = load_bundle(default_bundle())
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime())
    shape = st.lists(st.integers(0, 90), min_size=0, max_size=4).map(tuple)
    usual = st.tuples(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(), (1,), (3,)]))
    kinds = st.sampled_from(["u1", "u1", "u1", "i1", "u2", "f4", "f8", "?"])
    clock = [0.0]

    def check(drawn: object) -> str:
        (shape, kind, seed, fill), after = drawn
        if fill == "noise":
            pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(kind)
        else:
            pixels = np.full(shape, seed % 256).astype(kind)
        clock[0] += after
        try:
            seen = judge.judge(Frame(pixels, 0, clock[0], "fuzz"), clock[0], clock[0])
        except BadFrame:
            return "bad frame"
        assert {seen.verdict.label, seen.belief.verdict.label} <= VERDICTS
        assert seen.quality.state != "ok" or np.isfinite(seen.logits).all()
        return seen.quality.state

    drawn = st.tuples(
        st.one_of(shape, usual.map(lambda t: (t[0], t[1], *t[2]))),
        kinds,
        st.integers(0, 2**32 - 1),
        st.sampled_from(["noise", "flat"]),
    )
    return st.tuples(drawn, st.one_of(st.floats(0, 5), st.floats(-1e6, 1e6))), check


def jpegs() -> tuple[st.SearchStrategy, Target]:
    """A real JPEG with bytes changed, cut and doubled, as read from a file."""
    code = bytes(cv2.imencode(".jpg", PhantomClip(0).frame(0).image[:96, :128])[1])
    from device.preprocess import read_picture

    def check(drawn: object) -> str:
        path = scratch() / "fuzzed.jpg"
        path.write_bytes(_mutated(code, drawn))
        try:
            return str(read_picture(path).ndim)
        except UserError:
            return "refused"

    return _mutations(len(code)), check


def buffers() -> tuple[st.SearchStrategy, Target]:
    """What a grabber's driver fills a buffer with, in each format, mutated, too short and too long."""
    code = bytes(cv2.imencode(".jpg", PhantomClip(0).frame(0).image[:96, :128])[1])
    noise = np.random.default_rng(0).integers(0, 256, 96 * 128 * 3, np.uint8).tobytes()

    def check(drawn: object) -> str:
        pixel_format, height, width, padding, how = drawn
        data = _mutated(code if pixel_format in JPEGS else noise, how)
        layout = Layout(pixel_format, height, width, 3 * width + padding if pixel_format in RAW else 0, padding > 8)
        try:
            found = picture(data, layout, (24, 24))
        except Undecodable:
            return "undecodable"
        assert found.luma.dtype == np.uint8
        assert found.luma.ndim == 2
        assert 0 <= found.coloured <= 1
        return "decoded"

    side = st.integers(1, 128)
    return st.tuples(st.sampled_from((*RAW, *JPEGS, "MJPG")), side, side, st.integers(0, 16), _mutations(3000)), check


def configs() -> tuple[st.SearchStrategy, Target]:
    """The example of the configuration file, uncommented and mutated."""
    text = "".join(line.removeprefix("#") for line in example().splitlines(keepends=True) if line[:2] != "# ").encode()
    assert config.parse(text.decode(), "c.toml").values

    def check(drawn: object) -> str:
        path = scratch() / "c.toml"
        path.write_bytes(_mutated(text, drawn))
        try:
            return f"{min(len(config.read(path).values), 3)} keys or more"
        except UserError:
            return "refused"

    return _mutations(len(text)), check


def bundles() -> tuple[st.SearchStrategy, Target]:
    """bundle.json with bytes changed, or with values of any kind in any place."""
    good = default_bundle()
    text = (good / META_FILE).read_bytes()
    folder = scratch() / "bundle"
    shutil.copytree(good, folder)
    leaf = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({})
    )
    replaced = st.tuples(st.lists(st.integers(0, 40), max_size=6), leaf)

    def check(drawn: object) -> str:
        how, what = drawn
        path = folder / META_FILE
        path.write_bytes(_mutated(text, what) if how == "bytes" else _replaced(text, *what))
        try:
            load_bundle(folder)
        except UserError:
            return "refused"
        return "loaded"

    byte_wise = st.tuples(st.just("bytes"), _mutations(len(text)))
    return st.one_of(byte_wise, st.tuples(st.just("value"), replaced)), check


def records() -> tuple[st.SearchStrategy, Target]:
    """A real record of verdicts, mutated: read, and each row that is found judged again."""
    bundle = load_bundle(default_bundle())
    judge = Judge(open_bundle(bundle), bundle.meta, OverTime())
    original = scratch() / "record.csv"
    rows = record.open_record(original, bundle, None, OverTime())
    for number in range(6):
        image = PhantomClip(0).frame(number).image
        rows.add(record.row(judge.judge(Frame(image, number, number / 30, "x"), 0, 0), bundle.meta.classes))
    rows.close()
    text, path = original.read_bytes(), scratch() / "fuzzed.csv"

    def check(drawn: object) -> str:
        path.write_bytes(_mutated(text, drawn))
        try:
            found = list(record.read_record(path, bundle.meta.classes))
        except UserError:
            return "refused"
        assert all(isinstance(one.change, Change) for one in found if isinstance(one, record.Row))
        return "read"

    return _mutations(len(text)), check


def sessions() -> tuple[st.SearchStrategy, Target]:
    """The times of a recorded session, mutated."""
    text = ("captured_s,file\n" + "".join(f"{n / 30!r},{n:06d}.png\n" for n in range(9))).encode()

    def check(drawn: object) -> str:
        (scratch() / TIMES).write_bytes(_mutated(text, drawn))
        try:
            return str(len(read_times(scratch())) == 9)
        except UserError:
            return "refused"

    return _mutations(len(text)), check


TARGETS = {
    "frames": frames,
    "jpegs": jpegs,
    "buffers": buffers,
    "bundles": bundles,
    "configs": configs,
    "records": records,
    "sessions": sessions,
}
_scratch: list[Path] = []


def scratch() -> Path:
    """This run's folder."""
    return _scratch[-1]


def _mutations(size: int) -> st.SearchStrategy:
    """Where to cut, what to write where, and what to insert."""
    place = st.integers(0, size)
    edits = st.lists(
        st.tuples(place, st.sampled_from(["write", "insert", "delete"]), st.binary(max_size=6)), max_size=8
    )
    return st.tuples(edits, st.one_of(st.none(), place))


def _mutated(text: bytes, how: tuple) -> bytes:
    edits, cut = how
    for place, what, data in edits:
        kept = len(data) if what != "insert" else 0
        text = text[:place] + (b"" if what == "delete" else data) + text[place + kept :]
    return text[:cut]


def _replaced(text: bytes, way: list[int], value: object) -> bytes:
    """The JSON in `text` with `value` at the place that `way` leads to."""
    data = json.loads(text)
    node = data
    for step in way[:-1]:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys or not isinstance(node[keys[step % len(keys)]], dict | list):
            break
        node = node[keys[step % len(keys)]]
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if keys:
        node[keys[(way[-1] if way else 0) % len(keys)]] = value
    return json.dumps(data).encode()


def fuzz(name: str, count: int) -> dict:
    """`count` inputs of one kind. Raises what a target raises, with Hypothesis's smallest input that does."""
    seen: Counter[str] = Counter()
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        _scratch.append(Path(folder))
        try:
            strategy, check = TARGETS[name]()

            @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(drawn=strategy)
            def run(drawn: object) -> None:
                nonlocal longest
                began = time.monotonic()
                seen[check(drawn)] += 1
                took = time.monotonic() - began
                longest = max(longest, took)
                assert took < HANG_S, f"took {took:.1f} s"

            run()
        finally:
            _scratch.pop()
    return {"inputs": sum(seen.values()), "longest_s": longest, "outcomes": dict(seen)}


def main() -> int:
    """Returns 0; anything that goes wrong is raised."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), help="these kinds alone")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    report = {}
    for name in args.only or TARGETS:
        report[name] = fuzz(name, args.frames if name in ("frames", "jpegs", "buffers") else args.others)
        print(name, report[name], flush=True)
    if args.out:
        files.write_json(args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
