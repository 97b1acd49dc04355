"""What an audit leaves behind: CSV per picture and per pair, lists, JSON for programs, one page for people."""

import csv
import io
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from device import RESEARCH_NOTICE, __version__, files
from train.audit.flags import FLAGS
from train.audit.folder import Folder
from train.audit.groups import conflicts
from train.audit.hashes import hexadecimal
from train.audit.look import Look
from train.audit.relate import RELATIONS, Pair, Relations
from train.audit.settings import SCHEMA_VERSION, Settings

PAIR_COLUMNS = (
    *("a", "b", "label_a", "label_b", "same_label", "relation", "hamming"),
    *("similarity", "overlap", "mirrored", "transform", "why"),
)


@dataclass(frozen=True)
class Audit:
    """All that one audit found. flags: per picture, as flags.flag_all gives them. seconds: wall time of the search,
    without drawing and writing."""

    folder: Folder
    settings: Settings
    looks: list[Look]
    relations: Relations
    flags: list[dict[str, bool | None]]
    seconds: float
    jobs: int

    @property
    def labels(self) -> list[str]:
        """Class of each picture."""
        return [picture.label for picture in self.folder.pictures]

    def conflicts(self, by_hash: bool = False) -> dict[int, list[int]]:
        """Groups with contradicting labels (of the groups by pHash alone, with `by_hash`)."""
        return conflicts(self.relations.phash_groups if by_hash else self.relations.groups, self.labels)

    def flagged(self, flag: str) -> list[str] | None:
        """Names of the pictures with a flag; None when it was not looked for."""
        if any(row[flag] is None for row in self.flags):
            return None
        return [picture.name for picture, row in zip(self.folder.pictures, self.flags) if row[flag]]


def write(out: Path, audit: Audit, sheets: list[str]) -> dict:
    """Write pictures.csv, pairs.csv, doubtful.csv, axilla.txt, conflicts.txt and report.md into `out`.

    Returns the content of audit.json.
    """
    files.write_text(out / "pictures.csv", _pictures_csv(audit))
    files.write_text(out / "pairs.csv", _pairs_csv(audit, audit.relations.pairs))
    files.write_text(out / "doubtful.csv", _pairs_csv(audit, audit.relations.doubtful))
    names = [picture.name for picture in audit.folder.pictures]
    conflicting = [names[i] for inside in audit.conflicts().values() for i in inside]
    files.write_text(out / "conflicts.txt", _list("pictures of groups with contradicting labels", conflicting))
    axilla = audit.flagged("axilla")
    if axilla is not None:
        files.write_text(out / "axilla.txt", _list("pictures with an axilla label burned in", axilla))
    summary = summarise(audit, sheets)
    files.write_text(out / "report.md", markdown(summary))
    return summary


def summarise(audit: Audit, sheets: list[str]) -> dict:
    """The content of audit.json."""
    folder, found = audit.folder, audit.relations
    names, labels = [picture.name for picture in folder.pictures], audit.labels
    flagged = {flag: audit.flagged(flag) for flag in FLAGS}
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_NOTICE,
        "data": {
            "name": folder.name,
            "fingerprint": folder.fingerprint,
            "pictures": len(names),
            "classes": folder.counts(),
            "masks_without_picture": [path.name for path in folder.orphans],
        },
        "settings": asdict(audit.settings),
        "pairs": {relation: sum(pair.relation == relation for pair in found.pairs) for relation in RELATIONS},
        "phash": _grouping(audit, [p for p in found.pairs + found.refused if p.relation in RELATIONS[:2]], True),
        "all": _grouping(audit, found.pairs, False),
        "mirrored": sum(p.mirrored is True for p in found.pairs),
        "doubtful": len(found.doubtful),
        "called_different": [[names[p.a], names[p.b]] for p in found.refused],
        "aligned": found.aligned,
        "conflicts": [
            {"group_id": group, "pictures": [{"image": names[i], "label": labels[i]} for i in inside]}
            for group, inside in audit.conflicts().items()
        ],
        "flags": {flag: None if listed is None else len(listed) for flag, listed in flagged.items()},
        "flagged": flagged,
        "sheets": sheets,
        "seconds": round(audit.seconds, 1),
        "processes": audit.jobs,
        "versions": versions(audit.settings.text),
    }


def _grouping(audit: Audit, pairs: list[Pair] | tuple[Pair, ...], by_hash: bool) -> dict:
    numbers = audit.relations.phash_groups if by_hash else audit.relations.groups
    sizes = Counter(numbers.tolist())
    conflicting = audit.conflicts(by_hash)
    labels = audit.labels
    return {
        "pairs": len(pairs),
        "groups": len(sizes),
        "pictures_with_a_copy": sum(size for size in sizes.values() if size > 1),
        "largest_group": max(sizes.values()),
        "conflicting_pairs": sum(labels[p.a] != labels[p.b] for p in pairs),
        "conflicting_groups": len(conflicting),
        "pictures_in_conflict": sum(map(len, conflicting.values())),
    }


def versions(text: bool) -> dict[str, str]:
    """Versions of what decided."""
    from importlib.metadata import version

    packages = ["ImageHash", "numpy", "opencv-python-headless", "pillow", "scipy"]
    return {"busi-kd": __version__, **{name: version(name) for name in packages + ["rapidocr-onnxruntime"] * text}}


def _pictures_csv(audit: Audit) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ("image", "label", "group_id", "phash_group_id", "label_conflict", "width", "height", "masks", *FLAGS)
    writer.writerow((*head, "caliper_marks", "coloured", "text_read", "phash", "pixels"))
    conflicting = set(audit.conflicts())
    found = audit.relations
    for number, (picture, one, row) in enumerate(zip(audit.folder.pictures, audit.looks, audit.flags)):
        group = int(found.groups[number])
        writer.writerow(
            (
                *(picture.name, picture.label, group, int(found.phash_groups[number]), int(group in conflicting)),
                *(one.width, one.height, len(picture.masks)),
                *("" if row[flag] is None else int(row[flag]) for flag in FLAGS),
                *(one.calipers, f"{one.coloured:.4f}", " | ".join(one.text or ())),
                *(hexadecimal(one.phash), one.pixels[:16]),
            )
        )
    return stream.getvalue()


def _pairs_csv(audit: Audit, pairs: tuple[Pair, ...]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(PAIR_COLUMNS)
    for pair in pairs:
        a, b = audit.folder.pictures[pair.a], audit.folder.pictures[pair.b]
        found = pair.alignment
        measured = ("", "") if found is None else (f"{found.similarity:.3f}", f"{found.overlap:.2f}")
        writer.writerow(
            (
                *(a.name, b.name, a.label, b.label, int(a.label == b.label), pair.relation or "doubtful"),
                *(
                    pair.hamming,
                    *measured,
                    "" if pair.mirrored is None else int(pair.mirrored),
                    pair.transform(),
                    pair.why,
                ),
            )
        )
    return stream.getvalue()


def _list(what: str, names: list[str]) -> str:
    return "\n".join((f"# busi-kd train audit: {what}", *names)) + "\n"


def markdown(summary: dict) -> str:
    """The page for people. summary: what `summarise` gave."""
    data, settings = summary["data"], summary["settings"]
    by_hash, whole, pairs = summary["phash"], summary["all"], summary["pairs"]
    classes = ", ".join(f"{count} {label}" for label, count in data["classes"].items())
    rows = (
        ("pairs", "pairs"),
        ("groups", "groups"),
        ("pictures with a copy", "pictures_with_a_copy"),
        ("largest group", "largest_group"),
        ("pairs with contradicting labels", "conflicting_pairs"),
        ("groups with contradicting labels", "conflicting_groups"),
        ("pictures in them", "pictures_in_conflict"),
    )
    lines = [
        f"# Data audit: {data['name']}",
        "",
        f"**{summary['notice']}** {data['pictures']} pictures ({classes}); fingerprint `{data['fingerprint'][:12]}`.",
        f"Done in {summary['seconds']:.0f} s with {summary['processes']} processes.",
        "",
        "## Copies",
        "",
        f"| | pHash 8x8, Hamming distance up to {settings['hamming']} | with verified and reviewed pairs |",
        "|---|---|---|",
        *(f"| {title} | {by_hash[key]} | {whole[key]} |" for title, key in rows),
        "",
        f"By relation: {pairs['exact']} exact (the same pixels), {pairs['phash']} more by pHash, {pairs['verified']} "
        f"more by the verified measure (similarity from {settings['similarity']} on), {pairs['reviewed']} more because "
        f"a person saw the same lesion. Mirrored pairs: {summary['mirrored']}. Doubtful pairs: {summary['doubtful']}; "
        "`doubtful.csv` and its sheets list them, they are not in the groups.",
        "",
        "The measure: two pictures are laid on each other by an affine map; similarity is the median over tiles of the "
        "correlation of their fine structure, local brightness and contrast taken away, less three standard errors.",
        "",
        "Give `pictures.csv` to `--groups` of the training commands, `axilla.txt` or `conflicts.txt` to `--exclude`.",
        "",
        "## Contradicting labels",
        "",
    ]
    for group in summary["conflicts"]:
        listed = ", ".join(f"`{one['image']}` ({one['label']})" for one in group["pictures"])
        lines.append(f"- group {group['group_id']}: {listed}")
    lines += ["None."] if not summary["conflicts"] else []
    lines += ["", "## Flags", "", "| flag | pictures |", "|---|---|"]
    lines += [
        f"| {flag.replace('_', ' ')} | {'not looked for' if count is None else count} |"
        for flag, count in summary["flags"].items()
    ]
    if data["masks_without_picture"]:
        lines += ["", f"Masks without a picture: {', '.join(data['masks_without_picture'])}."]
    lines += ["", "## Sheets to look at", "", *(f"- [{name}](sheets/{name})" for name in summary["sheets"])]
    return "\n".join(lines) + "\n"
