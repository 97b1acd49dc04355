"""The whole audit: on a small folder with known faults, and on BUSI with what is known of it."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from audit_pictures import tissue

from device import RESEARCH_NOTICE
from device.main import main
from train.audit.hashes import pixel_hash
from train.audit.known import CONFLICT, read_flags
from train.data.busi import read_dataset, write_picture
from train.data.groups import read_groups
from train.data.lists import read_list

SIZE = (180, 240)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures: an exact copy with another label, a mirror image, calipers, an axilla label, a colour box, ..."""
    folder = tmp_path_factory.mktemp("faulty") / "scans"
    shown = {f"benign/b{n}.png": tissue(n, SIZE) for n in range(4)}
    shown["benign/b9.png"] = np.ascontiguousarray(shown["benign/b1.png"][:, ::-1])
    shown["malignant/m0.bmp"] = shown["benign/b0.png"]
    marked = tissue(20, SIZE) // 2
    for place in ((60, 60), (160, 70)):
        cv2.drawMarker(marked, place, 230, cv2.MARKER_CROSS, 15, 2)
    shown["malignant/m1.png"] = marked
    labelled = tissue(21, SIZE) // 2
    cv2.putText(labelled, "LT AXILLA", (30, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 230, 2)
    shown["malignant/m2.png"] = labelled
    boxed = cv2.cvtColor(tissue(22, SIZE), cv2.COLOR_GRAY2BGR)
    cv2.rectangle(boxed, (40, 40), (160, 120), (90, 180, 180), 1)
    shown["normal/n0.png"] = boxed
    shown["normal/n1.png"] = tissue(23, (400, 150))
    for name, pixels in shown.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), pixels)
    for end in ("", "_1"):
        write_picture(folder / "benign" / f"b2_mask{end}.png", np.zeros(SIZE, np.uint8))
    write_picture(folder / "benign" / "gone_mask.png", np.zeros(SIZE, np.uint8))
    return folder


@pytest.fixture(scope="module")
def out(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audits") / "deep" / "audit"
    assert main(["train", "audit", str(faulty), "--out", str(out), "--jobs", "1"]) == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_copies_are_grouped_and_conflicts_named(out: Path) -> None:
    pairs = {(row["a"], row["b"]): row for row in rows(out / "pairs.csv")}
    assert set(pairs) == {("b0.png", "m0.bmp"), ("b1.png", "b9.png")}
    exact, mirror = pairs["b0.png", "m0.bmp"], pairs["b1.png", "b9.png"]
    assert (exact["relation"], exact["hamming"], exact["similarity"], exact["same_label"]) == (
        "exact",
        "0",
        "1.000",
        "0",
    )
    assert (mirror["relation"], mirror["mirrored"], mirror["transform"]) == ("verified", "1", "mirrored")
    group = {row["image"]: row["group_id"] for row in rows(out / "pictures.csv")}
    by_hash = {row["image"]: row["phash_group_id"] for row in rows(out / "pictures.csv")}
    assert len(set(group.values())) == 8
    assert group["b0.png"] == group["m0.bmp"] == by_hash["m0.bmp"] == by_hash["b0.png"]
    assert group["b1.png"] == group["b9.png"]
    assert len(set(by_hash.values())) == 9
    assert {row["image"] for row in rows(out / "pictures.csv") if row["label_conflict"] == "1"} == {"b0.png", "m0.bmp"}
    assert read_list(out / "conflicts.txt", "--exclude") == ("b0.png", "m0.bmp")


def test_each_fault_is_flagged_and_nothing_else(out: Path) -> None:
    found = json.loads((out / "audit.json").read_text())
    assert found["flagged"] == {
        "several_masks": ["b2.png"],
        "unusual_size": ["n1.png"],
        "colour": ["n0.png"],
        "colour_box": ["n0.png"],
        "calipers": ["m1.png"],
        "text": ["m2.png"],
        "axilla": ["m2.png"],
    }
    assert found["flags"] == dict.fromkeys(found["flagged"], 1)
    assert found["data"]["masks_without_picture"] == ["gone_mask.png"]
    assert found["data"]["classes"] == {"benign": 5, "malignant": 3, "normal": 2}
    assert read_list(out / "axilla.txt", "--exclude") == ("m2.png",)
    (row,) = [row for row in rows(out / "pictures.csv") if row["image"] == "b2.png"]
    assert (row["width"], row["height"], row["masks"]) == ("240", "180", "2")
    read = read_flags(out / "pictures.csv", [row["image"] for row in rows(out / "pictures.csv")])
    assert {flag: [name for name, has in of.items() if has] for flag, of in read.items()} == found["flagged"] | {
        CONFLICT: ["b0.png", "m0.bmp"]
    }


def test_the_page_and_the_sheets_are_there(out: Path) -> None:
    found = json.loads((out / "audit.json").read_text())
    page = (out / "report.md").read_text()
    assert RESEARCH_NOTICE in page
    assert found["notice"] == RESEARCH_NOTICE
    assert "`b0.png` (benign), `m0.bmp` (malignant)" in page
    assert sorted(path.name for path in (out / "sheets").iterdir()) == sorted(found["sheets"])
    kinds = {name.rsplit("_", 1)[0] for name in found["sheets"]}
    assert kinds - {"doubtful"} == {"conflicts", "beyond_phash", "pairs", *found["flagged"]}
    assert ("doubtful" in kinds) == (found["doubtful"] > 0) == (len(rows(out / "doubtful.csv")) > 0)
    for name in found["sheets"]:
        assert f"sheets/{name}" in page
        height, width = cv2.imread(str(out / "sheets" / name)).shape[:2]
        assert 250 < height < 1800
        assert 900 <= width < 1800


def test_the_groups_file_is_one_for_the_split(out: Path, faulty: Path, tmp_path: Path) -> None:
    for label in ("benign", "malignant", "normal"):
        for picture in faulty.glob(f"{label}/??.png"):
            write_picture(tmp_path / label / picture.name, cv2.imread(str(picture)))
    write_picture(tmp_path / "malignant" / "m0.png", tissue(0, SIZE))
    assert main(["train", "audit", str(tmp_path), "--out", str(tmp_path / "a"), "--no-text", "--jobs", "1"]) == 0
    data = read_dataset(tmp_path)
    groups, _ = read_groups(tmp_path / "a" / "pictures.csv", data)
    assert groups["b1.png"] == groups["b9.png"]
    assert set(read_flags(tmp_path / "a" / "pictures.csv", groups)["axilla"].values()) == {None}, "no text was read"
    assert json.loads((tmp_path / "a" / "audit.json").read_text())["data"]["fingerprint"] == data.fingerprint


def test_an_earlier_audit_is_replaced_and_nothing_else(out: Path, faulty: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    quick = ["train", "audit", str(faulty), "--no-text", "--jobs", "1", "--out"]
    assert main([*quick, str(mine)]) == 2
    (mine / "audit.json").write_text("{}")
    assert main([*quick, str(mine)]) == 2
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert main([*quick, str(mine / "thesis.txt")]) == 2
    again = tmp_path / "again"
    assert main([*quick, str(again)]) == 0
    (again / "reviewed.csv").write_text("mine")
    assert main([*quick, str(again)]) == 2
    assert (again / "reviewed.csv").read_text() == "mine"
    (again / "reviewed.csv").unlink()
    (again / "pairs.csv").write_text("stale")
    assert main([*quick, str(again)]) == 0
    assert (again / "pairs.csv").read_text() != "stale"
    assert not (again / "axilla.txt").exists()
    found = json.loads((again / "audit.json").read_text())
    assert (found["flags"]["text"], found["flags"]["axilla"]) == (None, None)
    assert "| axilla | not looked for |" in (again / "report.md").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_a_review_joins_or_parts_pictures(faulty: Path, tmp_path: Path) -> None:
    hashes = {name: pixel_hash(tissue(n, SIZE))[:16] for n, name in enumerate(("b0.png", "b1.png", "b2.png", "b3.png"))}
    lines = [
        f"b2.png,b3.png,{hashes['b2.png']},{hashes['b3.png']},same,one lesion",
        f"b0.png,m0.bmp,{hashes['b0.png']},{hashes['b0.png']},different,a test",
        f"b2.png,b1.png,{hashes['b2.png']},{hashes['b2.png']},same,other pixels",
    ]
    review = tmp_path / "reviewed.csv"
    review.write_text("\n".join(("name_a,name_b,pixels_a,pixels_b,decision,why", *lines)))
    arguments = ["train", "audit", str(faulty), "--no-text", "--jobs", "1", "--reviewed", str(review)]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    found = {row["image"]: (row["group_id"], row["phash_group_id"]) for row in rows(tmp_path / "a" / "pictures.csv")}
    assert found["b2.png"][0] == found["b3.png"][0] != found["b1.png"][0]
    assert found["b0.png"][0] != found["m0.bmp"][0]
    assert found["b0.png"][1] == found["m0.bmp"][1]
    summary = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert summary["called_different"] == [["b0.png", "m0.bmp"]]
    assert summary["pairs"] == {"exact": 0, "phash": 0, "verified": 1, "reviewed": 1}
    assert (summary["phash"]["pairs"], summary["phash"]["conflicting_groups"]) == (1, 1)
    assert summary["conflicts"] == []


def test_what_is_wrong_is_told(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = ["--out", str(tmp_path / "out"), "--jobs", "1", "--no-text"]
    broken = tmp_path / "data" / "one" / "broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes((faulty / "benign" / "b0.png").read_bytes()[:60])
    tiny = tmp_path / "tiny" / "one" / "tiny.png"
    write_picture(tiny, np.zeros((20, 60), np.uint8))
    for arguments, part in (
        ([str(tmp_path / "none")], "no such data folder"),
        ([str(broken.parent.parent)], f"{broken}: this picture does not decode"),
        ([str(tiny.parent.parent)], f"{tiny}: 60 x 20 pixels"),
        ([str(faulty), "--hamming", "17"], "0..16"),
        ([str(faulty), "--similarity", "0"], "0.05..1"),
        ([str(faulty), "--jobs", "0"], "--jobs"),
        ([str(faulty), "--reviewed", str(tmp_path / "none.csv")], "none.csv"),
    ):
        assert main(["train", "audit", *out, *arguments]) == 2
        assert part in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_phantoms_are_no_copies_of_each_other(phantoms: Path, tmp_path: Path) -> None:
    assert main(["train", "audit", str(phantoms), "--out", str(tmp_path / "a"), "--jobs", "1", "--no-text"]) == 0
    found = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert found["data"]["pictures"] == 72
    assert found["pairs"]["verified"] == 0
    assert found["flags"]["calipers"] == 0


@pytest.mark.slow
def test_busi_is_what_is_known_of_it(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    assert main(["train", "audit", str(shared_data / "busi"), "--out", str(out)]) == 0
    found = json.loads((out / "audit.json").read_text())
    assert found["data"]["classes"] == {"benign": 437, "malignant": 210, "normal": 133}
    assert found["data"]["pictures"] == 780
    assert found["flags"]["several_masks"] == 17
    assert found["phash"] == {
        **found["phash"],
        "pairs": 186,
        "groups": 627,
        "conflicting_pairs": 10,
        "conflicting_groups": 8,
        "pictures_in_conflict": 18,
    }
    curation = shared_data / "busi_curation"
    pairs = rows(out / "pairs.csv")
    near = {(*sorted((row["a"], row["b"])), row["hamming"]) for row in pairs if row["relation"] in ("exact", "phash")}
    known = rows(curation / "phash_pairs_le4.csv")
    assert near == {(*sorted((row["img_a"], row["img_b"])), row["phash_hamming"]) for row in known}
    assert [(row["a"], row["b"]) for row in pairs if row["relation"] == "exact"] == [
        ("benign (433).png", "malignant (145).png")
    ]
    listed = {row["image"]: row for row in rows(out / "pictures.csv")}
    for row in rows(curation / "phash_groups.csv"):
        assert listed[row["image"]]["phash"] == row["phash"]
    # The verified measure confirms every pair by hash and finds more; reviewed pairs are what it cannot see.
    assert min(float(row["similarity"]) for row in pairs if row["relation"] == "phash") > 0.7
    assert found["mirrored"] == 0
    assert 55 <= found["pairs"]["verified"] <= 66
    assert found["pairs"]["verified"] + found["pairs"]["reviewed"] == 93
    assert found["all"]["groups"] == 551
    assert found["doubtful"] <= 5  # pairs that stand in one group by other pairs are not in doubt
    axilla = {row["image"] for row in rows(curation / "axilla_rhaiunet_27.csv")}
    assert set(found["flagged"]["axilla"]) == axilla | {"malignant (61).png", "malignant (180).png"}
    assert found["flags"]["colour"] == 16
    assert found["flags"]["colour_box"] == 11
    assert len(found["flagged"]["calipers"]) == 123
    data = read_dataset(shared_data / "busi")
    assert found["data"]["fingerprint"] == data.fingerprint
    read_groups(out / "pictures.csv", data)
