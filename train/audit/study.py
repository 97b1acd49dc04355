"""How good the search for copies is: altered copies of real pictures, among pictures that are no copies.

    python -m train.audit.study DATA --out docs/img/audit_similarity.png

Every altered copy joins the data set and goes through the whole search, nets and verification. Recall: copies that
were paired with their original. False pairs: accepted pairs whose pictures stem from different groups.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from device.preprocess import read_picture, to_luma
from train.audit import pairs, run
from train.audit.features import describe
from train.audit.hashes import phash_bits
from train.audit.look import Look
from train.audit.reviewed import BUSI, read_reviews
from train.audit.settings import Settings

SEED = 0


def crop(luma: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A part of `share` of the area, anywhere, of the picture's own aspect."""
    height, width = (round(side * share**0.5) for side in luma.shape)
    top, left = rng.integers(0, luma.shape[0] - height + 1), rng.integers(0, luma.shape[1] - width + 1)
    return luma[top : top + height, left : left + width]


def gamma(luma: np.ndarray, power: float) -> np.ndarray:
    """The grey scale bent."""
    return cv2.LUT(luma, (255 * (np.arange(256) / 255) ** power).round().astype(np.uint8))


def resize(luma: np.ndarray, x: float, y: float) -> np.ndarray:
    """Scaled by x across and y down."""
    return cv2.resize(luma, None, fx=x, fy=y, interpolation=cv2.INTER_AREA)


def jpeg(luma: np.ndarray, quality: int) -> np.ndarray:
    """Compressed and read again."""
    return cv2.imdecode(cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def turned(luma: np.ndarray, degrees: float) -> np.ndarray:
    """Rotated about its middle."""
    height, width = luma.shape
    return cv2.warpAffine(luma, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


def annotated(luma: np.ndarray) -> np.ndarray:
    """With calipers and a label burned in."""
    marked = luma.copy()
    height, width = marked.shape
    for x, y in ((0.35, 0.4), (0.65, 0.45), (0.5, 0.25), (0.5, 0.6)):
        cv2.drawMarker(marked, (round(x * width), round(y * height)), 230, cv2.MARKER_CROSS, 15, 2)
    cv2.putText(marked, "RT UOQ 10", (20, height - 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 230, 2)
    return marked


ALTERED = {
    "crop to 70 % of the area": lambda luma, rng: crop(luma, 0.7, rng),
    "crop to 50 %": lambda luma, rng: crop(luma, 0.5, rng),
    "crop to 35 %": lambda luma, rng: crop(luma, 0.35, rng),
    "mirrored": lambda luma, rng: luma[:, ::-1],
    "gamma 0.5": lambda luma, rng: gamma(luma, 0.5),
    "gamma 2": lambda luma, rng: gamma(luma, 2.0),
    "contrast x 0.5, brightness + 40": lambda luma, rng: cv2.convertScaleAbs(luma, alpha=0.5, beta=40),
    "scaled to 60 %": lambda luma, rng: resize(luma, 0.6, 0.6),
    "squashed by 1.25": lambda luma, rng: resize(luma, 0.8, 1.0),
    "JPEG quality 20": lambda luma, rng: jpeg(luma, 20),
    "turned by 5 degrees": lambda luma, rng: turned(luma, 5),
    "calipers and text added": lambda luma, rng: annotated(luma),
    "mirrored, cropped to 60 %, gamma 0.7": lambda luma, rng: gamma(crop(luma[:, ::-1], 0.6, rng), 0.7),
}


def study(folder: Path, sources: int, jobs: int | None) -> dict:
    """Recall per alteration, and scores.

    "recall": {name: (found, by pHash alone, of)}; "false": accepted pairs of different groups; arrays of similarities:
    "unrelated" of pairs of different groups, "own" of the data set's own pairs of one group, "copies" of altered copies
    with their originals.
    """
    settings = Settings(text=False)
    done = run.audit(folder, settings, read_reviews(BUSI), jobs)
    jobs = done.jobs
    rng = np.random.default_rng(SEED)
    looks, origin = list(done.looks), list(range(len(done.looks)))
    kinds: list[str | None] = [None] * len(looks)
    for index in sorted(rng.choice(len(looks), min(sources, len(looks)), replace=False).tolist()):
        luma = to_luma(read_picture(done.folder.pictures[index].path))
        for name, alter in ALTERED.items():
            shown = np.ascontiguousarray(alter(luma, rng))
            looks.append(_look(shown, done.looks[index]))
            origin.append(index)
            kinds.append(name)
    bits, mirrored = (np.stack([getattr(one, key) for one in looks]) for key in ("phash", "mirror_phash"))
    features = [one.features for one in looks]
    wanted = pairs.candidates(features, bits, mirrored)
    best: dict[tuple[int, int], float] = {}
    for one, found in pairs.verify(features, wanted, jobs, lambda _: None):
        best[one.a, one.b] = max(best.get((one.a, one.b), 0.0), found.similarity)
    groups = done.relations.groups
    related = {key: groups[origin[key[0]]] == groups[origin[key[1]]] for key in best}
    recall = {name: [0, 0, 0] for name in ALTERED}
    for number in range(len(done.looks), len(looks)):
        key = (origin[number], number)
        count = recall[kinds[number]]
        count[0] += best.get(key, 0.0) >= settings.similarity
        count[1] += int((bits[key[0]] != bits[key[1]]).sum()) <= settings.hamming
        count[2] += 1
    unrelated = np.array([score for key, score in best.items() if not related[key]])
    own = np.array([score for key, score in best.items() if related[key] and max(key) < len(done.looks)])
    copies = [best.get((origin[n], n), 0.0) for n in range(len(done.looks), len(looks))]
    return {
        "recall": {name: tuple(map(int, count)) for name, count in recall.items()},
        "false": int((unrelated >= settings.similarity).sum()),
        "unrelated": unrelated,
        "own": own,
        "copies": np.array(copies),
        "pictures": len(looks),
        "limit": settings.similarity,
    }


def _look(luma: np.ndarray, like: Look) -> Look:
    upright, mirrored = phash_bits(luma)
    return replace(
        like,
        height=luma.shape[0],
        width=luma.shape[1],
        phash=upright,
        mirror_phash=mirrored,
        features=describe(luma),
    )


def draw(path: Path, found: dict) -> None:
    """Histogram of the scores of copies and of unrelated pairs, and the limit between them, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    bins = np.linspace(0, 1, 51)
    shown = (
        ("unrelated", "#c0504d", "unrelated pairs that a net chose"),
        ("copies", "#2f6db5", "altered copies"),
        ("own", "#d08a10", "the data set's own pairs of one group"),
    )
    for kind, colour, label in shown:
        style = {"histtype": "step", "linewidth": 1.8} if kind == "own" else {"alpha": 0.75}
        axes.hist(found[kind], bins, color=colour, label=f"{label} ({len(found[kind])})", **style)
    axes.axvline(found["limit"], color="black", linestyle="--", linewidth=1.2)
    axes.text(
        found["limit"] + 0.008, 0.97, f"limit {found['limit']:.2f}", transform=axes.get_xaxis_transform(), va="top"
    )
    axes.set(yscale="log", xlabel="similarity after alignment", ylabel="pairs", xlim=(0, 1.0), ylim=(0.7, None))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.56, 1))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sources", type=int, default=40, help="pictures that are altered in every way (default 40)")
    parser.add_argument("--out", type=Path, default=Path("audit_similarity.png"), help="the histogram")
    parser.add_argument("--jobs", type=int)
    args = parser.parse_args()
    found = study(args.data, args.sources, args.jobs)
    draw(args.out, found)
    print("| altered copy | found | found by pHash alone | of |\n|---|---|---|---|")
    for name, (verified, by_hash, count) in found["recall"].items():
        print(f"| {name} | {verified} | {by_hash} | {count} |")
    print(f"\n{found['pictures']} pictures; {len(found['unrelated'])} unrelated pairs aligned, {found['false']} false;")
    tail = Counter(np.floor(found["unrelated"] * 20).astype(int).tolist())
    print("unrelated by similarity: " + ", ".join(f"{k / 20:.2f}+ {tail[k]}" for k in sorted(tail)))
    print(
        f"largest {found['unrelated'].max():.3f}; copies: smallest 5: {np.sort(found['copies'])[:5].round(2).tolist()}"
    )


if __name__ == "__main__":
    main()
