"""A frame's whole way: 720p MJPEG to a verdict, on the device's way, on that of a plain script, and on the paper's.

    python -m convert.race.frames STUDENT --bundle BUNDLE --out FOLDER

STUDENT is the run folder of a trained student, BUNDLE its int8-full bundle. The frames are those of a phantom clip,
drawn on a scanner's screen of 1280 x 720 and encoded as a grabber does it, JPEG in 4:2:2. All ways see the same frames
in the same run, in interleaved rounds. Writes frames.json, frames.md and frames.png. Whether the same verdicts come out
is stated: the ways scale otherwise, and int8 is not float32.
"""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see train/cli.py

import numpy as np

from convert.race import models, ours, report, subject
from convert.race.rounds import Entry, Row, race
from convert.race.speed import speedup
from convert.script import ended
from device import files
from device.bench_stream import QUALITY, encode, screen
from device.bundle import load_bundle
from device.errors import UserError
from device.phantom_clip import PhantomClip
from device.region.region import Region
from device.shipped import default_bundle

FRAME = (720, 1280)
FRAMES = 48
# Six frames in a row, for which the daemon looks at the quality once, every sixth second of a clip in which lesions
# come and go. (One frame a second, each another scene, had the quality looked at in every frame.)
TOGETHER, EVERY = 6, 180
BASE, PLAIN, OURS, AHEAD = "paper/1", "plain/1", "ours/1", "ours-ahead/2"
OF_ROUND, IN_WORDS = np.mean, "means"  # one frame of six takes half as long again: a median would not see it
LEAST_AGREEMENT = 0.5  # of the likeliest classes: below that, a way judges something else


def main(arguments: list[str]) -> int:
    """Draw the frames, race, write the report and print its table."""
    args = _parsed(arguments)
    raced, bundle = subject.trained(args.student), args.bundle or default_bundle()
    meta = load_bundle(bundle).meta
    if meta.preprocess != raced.preprocess:
        raise UserError(f"{bundle}: prepares frames otherwise than {args.student}; give the bundle of that student.")
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    region = write_frames(out / "frames", args.frames)
    folder = subject.folder_for(out / "files", raced, bundle)
    made = models.make(folder, {"normalised.tflite", "three.pt"}, None)
    entries = _entries(raced, bundle, region, made)
    files.write_json(out / "ways.json", {entry.key.partition("/")[0]: entry.load for entry in entries})
    rows, load = race(entries, out / "frames", args.rounds, args.frames)
    refuse_others(rows)
    found = report.figures(rows, BASE, OF_ROUND)
    for one, row in zip(found, rows, strict=True):
        one |= {"engine": WAYS[row.entry.key], "precision": ""} | agreement(row, rows)
    settings = {"rounds": args.rounds, "runs": args.frames, "network": raced.name, "quality": QUALITY}
    settings |= {"frame_kb": sum(f.stat().st_size for f in (out / "frames").glob("*.jpg")) / args.frames / 1e3}
    command = f"python -m convert.race.frames {shlex.join(arguments)}"
    whole = report.content("frames", command, settings, load, found) | {"bars": bars(rows)}
    files.write_json(out / "frames.json", whole)
    files.write_text(out / "frames.md", table(whole))
    report.plot(out / "frames.png", whole, IN_WORDS)
    print(table(whole))
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m convert.race.frames", description=__doc__.partition("\n")[0])
    parser.add_argument("student", type=Path, help="run folder of a trained student")
    parser.add_argument("--bundle", type=Path, help="its int8-full bundle (default: the one that ships)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"in the clip, all in each round ({FRAMES})")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args(arguments)
    if min(args.rounds, args.frames) < 1:
        parser.error("--rounds and --frames must be 1 or more")
    return args


def write_frames(folder: Path, count: int) -> Region:
    """`count` frames of the clip as NNNN.jpg in `folder`, made anew; where the picture lies on them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clip = PhantomClip()
    for number in range(count):
        shown, region = screen(clip.frame(number // TOGETHER * EVERY + number % TOGETHER).image, FRAME, 0)
        (folder / f"{number:04}.jpg").write_bytes(encode(shown, "MJPG"))
    return region


WAYS = {
    "paper/1": "Pillow, torchvision, PyTorch eager float32 (the paper's way)",
    "plain/1": "OpenCV and the interpreter, float32: convert/race/plain.py",
    "plain/2": "the same, 2 threads",
    "ours/1": "busi-kd, int8: decoded at half size",
    "ours/2": "the same, 2 threads",
    AHEAD: "the same, the next frames decoded meanwhile by the second thread, as by the daemon's two processes",
    "ours-each/1": "the same, 1 thread, quality of every frame instead of five a second",
    "ours-screen/1": "busi-kd, int8: decoded whole, as while the region is looked for",
}


def _entries(raced: subject.Subject, bundle: Path, region: Region, made: dict[str, models.Made]) -> list[Entry]:
    place = [region.x, region.y, region.width, region.height]
    network, preprocess = raced.network, raced.preprocess
    norm = {"mean": network.mean, "std": network.std}
    size = [preprocess.height, preprocess.width]
    ways: dict[str, tuple[models.Made, dict[str, Any]]] = {
        "paper": (made["three.pt"], {"script": "paper.py", "size": size, **norm}),
        "plain": (made["normalised.tflite"], {"script": "plain.py", **norm}),
    }
    own = {"script": "ours.py", "frame": FRAME}
    more = {"ours": {}, "ours-each": {"each": True}, "ours-ahead": {"ahead": True}, "ours-screen": {"whole": True}}
    ways |= {name: (models.Made(bundle), own | options) for name, options in more.items()}
    entries = []
    for key in WAYS:
        name, threads = key.split("/")
        file, options = ways[name]
        load = {"kind": "way", "file": str(file.path and file.path.absolute()), "options": {**options, "region": place}}
        python = None if file.why else Path(sys.executable)
        entries.append(Entry(key, int(threads), python, load, lambda answers: None, file.why))
    return entries


def agreement(row: Row, rows: list[Row]) -> dict[str, float | None]:
    """Shares 0..1 of the frames with the same likeliest class, and with the same verdict, as the paper's way."""
    base = next(one for one in rows if one.entry.key == BASE)
    if row.answers is None or base.answers is None:
        return {"same_class": None, "same_verdict": None}
    answers, of = row.answers, base.answers
    if row.entry.key == AHEAD:  # it tells of earlier frames
        answers, of = answers[ours.AHEAD :], of[: -ours.AHEAD]
    pairs = list(zip(answers, of, strict=True))
    return {
        f"same_{what}": sum(one[what] == other[what] for one, other in pairs) / len(pairs)
        for what in ("class", "verdict")
    }


def refuse_others(rows: list[Row]) -> None:
    """Take out those whose answers have too little to do with the paper's way: they judge something else."""
    for row in rows:
        same = agreement(row, rows)["same_class"]
        if row.why is None and (same is None or same < LEAST_AGREEMENT):
            said = (
                "the paper's way did not run" if same is None else f"only {100 * same:.0f} % have its likeliest class"
            )
            row.why, row.wall = f"its answers cannot be those of the paper's way: {said}", None


BARS = ((OURS, BASE, 8.0), (AHEAD, BASE, 8.0), (OURS, PLAIN, 3.0), (AHEAD, "plain/2", 3.0))


def bars(rows: list[Row]) -> list[dict[str, Any]]:
    """For each of BARS: row, against, wanted; speedup (value, low, high) and cpu, the same of the CPU time; met: both
    intervals lie at or above what is wanted; of AHEAD, that takes a second core's time on purpose, the first alone. On
    a busy machine the CPU time tells more, for it has no waiting in it.
    Null where one of the two is out."""
    of, found = {row.entry.key: row for row in rows}, []
    for key, against, wanted in BARS:
        one: dict[str, Any] = {"row": key, "against": against, "wanted": wanted} | dict.fromkeys(
            ("speedup", "cpu", "met")
        )
        if of[key].wall is not None and of[against].wall is not None:
            wall = speedup(of[against].wall, of[key].wall, of_round=OF_ROUND)
            cpu = speedup(of[against].cpu, of[key].cpu, of_round=OF_ROUND)
            one |= {
                name: {"value": r.value, "low": r.low, "high": r.high} for name, r in (("speedup", wall), ("cpu", cpu))
            }
            counts = (wall,) if key == AHEAD else (wall, cpu)
            one["met"] = min(r.value if r.low is None else r.low for r in counts) >= wanted
        found.append(one)
    return found


def table(whole: dict[str, Any]) -> str:
    """Markdown: one line a way, and the bars."""
    settings = whole["settings"]
    about = (
        f"{settings['network']}; 1280x720 JPEG, 4:2:2, of quality {settings['quality']}, "
        f"{settings['frame_kb']:.0f} kB a frame."
    )
    lines = [*report.head(whole), about, ""]
    lines += ["| row | way | threads | ms | p95 | CPU ms | per second | times as fast | same class | same verdict |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in whole["rows"]:
        begins = f"| `{row['key']}` | {row['engine']} | {row['threads']}"
        if row["ms"] is None:
            lines.append(f"{begins} | | | | | {row['why']} | | |")
            continue
        same = " | ".join(f"{100 * row[name]:.0f} %" for name in ("same_class", "same_verdict"))
        lines.append(f"{begins} | {report.times(row)} | {same} |")
    lines.append("")
    for bar in whole["bars"]:
        shown = [
            "unknown" if one is None else f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
            for one in (bar["speedup"], bar["cpu"])
        ]
        lines.append(
            f"- `{bar['row']}` as fast as `{bar['against']}`, times: {shown[0]}, by CPU time {shown[1]}; wanted "
            f"{bar['wanted']:.0f}: {'unknown' if bar['met'] is None else 'met' if bar['met'] else 'not met'}"
        )
    note = "Same class, same verdict: as the first row; only busi-kd abstains."
    lines += ["", f"{report.ratio_note(IN_WORDS)} {note}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    ended(main)
