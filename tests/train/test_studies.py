"""The protocol study: its arithmetic on made-up logits, and one whole run on phantoms."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from tiny_recipe import write_tiny_recipe
from train_commands import refused, weights_hash

from device import RESEARCH_NOTICE
from device.bundle import Estimate
from device.main import main
from train.data.busi import CLASSES
from train.studies.protocols import Trial, summarise
from train.studies.protocols_page import draw

SPLIT = {"protocol": "x"}


def trial(protocol: str, seed: int, said: list[int], targets: list[int], known: list[bool]) -> Trial:
    """A trial whose student says `said`, each picture a group of its own."""
    logits = np.eye(3, dtype=np.float32)[said] * 4
    groups = np.array([f"{n}" for n in range(len(said))])
    return Trial(protocol, seed, SPLIT, logits, np.array(targets), groups, np.array(known), "a machine")


def made_up(seed: int, right: float, protocol: str, known: float, n: int = 90) -> Trial:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    said = np.where(rng.random(n) < right, targets, (targets + 1) % 3)
    return trial(protocol, seed, said.tolist(), targets.tolist(), (rng.random(n) < known).tolist())


def test_means_and_seeds_by_hand() -> None:
    truth = [0, 0, 1, 1, 2, 2]
    done = [
        trial("grouped", 0, [0, 0, 1, 0, 2, 2], truth, [False] * 6),  # 5 of 6
        trial("paper", 0, [0, 0, 1, 1, 2, 2], truth, [True] * 4 + [False] * 2),  # 6 of 6
        trial("grouped", 1, [0, 1, 1, 0, 2, 0], truth, [False] * 6),  # 3 of 6
        trial("paper", 1, [0, 0, 1, 1, 2, 0], truth, [True] * 4 + [False] * 2),  # 5 of 6
    ]
    grouped, paper = summarise(done, repeats=200)
    assert (grouped.protocol, paper.protocol) == ("grouped", "paper")
    assert grouped.seeds["accuracy"] == pytest.approx((5 / 6, 3 / 6))
    assert grouped.mean["accuracy"].value == pytest.approx(4 / 6)
    assert paper.mean["accuracy"].value == pytest.approx(11 / 12)
    assert paper.excess["accuracy"].value == pytest.approx(3 / 12)
    assert grouped.excess is None
    assert (grouped.known, grouped.unknown) == (None, pytest.approx(8 / 12))
    assert (paper.known, paper.unknown) == (1.0, pytest.approx(3 / 4))
    assert (paper.test_entries, paper.known_entries) == ((6, 6), (4, 4))


def test_the_metrics_are_scikit_learns() -> None:
    done = [made_up(seed, 0.8, "grouped", 0) for seed in range(3)]
    (row,) = summarise(done, repeats=50)
    for t, one in enumerate(done):
        assert row.seeds["balanced_accuracy"][t] == pytest.approx(
            balanced_accuracy_score(one.targets, one.logits.argmax(1))
        )
        lesion = one.targets < 2
        score = one.logits[lesion, 1] - one.logits[lesion, 0]
        assert row.seeds["auc_benign_malignant"][t] == pytest.approx(roc_auc_score(one.targets[lesion], score))


def test_intervals_hold_the_truth_and_shrink_with_more_seeds() -> None:
    few = summarise([made_up(0, 0.8, "grouped", 0)], repeats=400)[0].mean["accuracy"]
    many = summarise([made_up(s, 0.8, "grouped", 0) for s in range(9)], repeats=400)[0].mean["accuracy"]
    assert few.low < few.value < few.high
    assert many.low < 0.8 < many.high
    # Nine test parts drawn independently: a third of the width.
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(1 / 3, rel=0.25)


def test_the_excess_of_equal_protocols_holds_zero() -> None:
    rows = summarise(
        [made_up(s, 0.8, "grouped", 0) for s in range(3)] + [made_up(s + 9, 0.8, "random", 0.5) for s in range(3)], 400
    )
    excess = rows[1].excess["accuracy"]
    assert excess.low < 0 < excess.high
    assert summarise([made_up(0, 0.8, "random", 0.5)], 50)[0].excess is None, "nothing to compare with"


def test_whole_groups_are_drawn() -> None:
    # One group of many copies and a few others: the interval must be as wide as the few groups make it.
    one = made_up(3, 0.7, "paper", 1.0)
    lumped = Trial(**{**one.__dict__, "groups": np.array(["a"] * 80 + [f"{n}" for n in range(10)])})
    wide, narrow = (summarise([t], 300)[0].mean["accuracy"] for t in (lumped, one))
    assert wide.high - wide.low > 1.1 * (narrow.high - narrow.low)


def test_seeds_that_judge_the_same_pictures_alike_are_one() -> None:
    # The groups are drawn once for all trials: three equal trials are no more certain than one.
    one = summarise([made_up(0, 0.8, "grouped", 0)], 300)[0].mean["accuracy"]
    three = summarise([made_up(0, 0.8, "grouped", 0)] * 3, 300)[0].mean["accuracy"]
    assert (three.low, three.high) == pytest.approx((one.low, one.high))
    rows = summarise([made_up(0, 0.8, "grouped", 0), made_up(0, 0.8, "random", 0)], 300)
    assert rows[1].excess["accuracy"] == Estimate(0.0, 0.0, 0.0), "paired"


def test_the_figure_shows_every_protocol(tmp_path: Path) -> None:
    rows = summarise([made_up(s, 0.8, p, 0.5) for p in ("grouped", "random") for s in range(2)], 50)
    draw(tmp_path / "p.png", rows, synthetic=True)
    picture = cv2.imread(str(tmp_path / "p.png")).astype(int)
    red = (picture[..., 2] - picture[..., 0] > 80).sum()
    blue = (picture[..., 0] - picture[..., 2] > 80).sum()
    assert red > 50
    assert blue > 50


@pytest.mark.slow
def test_the_study_on_phantoms(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny.toml", ("epochs = 3", "epochs = 1"))
    groups = tmp_path / "groups.csv"
    rows = [f"{label} ({n}).png,{label}{n // 2}" for label in CLASSES for n in range(1, 25)]
    groups.write_text("image,group_id\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out"
    call = ["train", "protocols", phantoms, "--recipe", recipe, "--groups", groups, "--seeds", "0,1", "--out", out]
    call = [str(word) for word in [*call, "--repeats", "50"]]
    assert main(call) == 0
    said = capsys.readouterr().out
    page = (out / "protocols.md").read_text()
    assert page in said
    assert RESEARCH_NOTICE in page
    assert "SYNTHETIC" in page
    facts = json.loads((out / "protocols.json").read_text())
    assert [row["protocol"] for row in facts["rows"]] == ["grouped", "random", "paper"]
    assert facts["rows"][0]["known_entries"] == [0, 0]
    assert min(facts["rows"][1]["known_entries"] + facts["rows"][2]["known_entries"]) > 0
    assert {(s["protocol"], s["seed"]) for s in facts["splits"]} == {
        (p, s) for p in ("grouped", "random", "paper") for s in (0, 1)
    }
    assert page.count("\n| grouped |") == 1 + 2
    # A second call trains nothing again; another seed adds its own.
    before = {p.name: weights_hash(p) for p in out.iterdir() if p.is_dir()}
    assert len(before) == 6
    assert len(set(before.values())) == 6
    assert main(call) == 0
    assert {p.name: weights_hash(p) for p in out.iterdir() if p.is_dir()} == before
    assert "finished already" in capsys.readouterr().out
    refused(capsys, [*call, "--exclude", tmp_path / "none.txt"], "check --exclude")


@pytest.mark.parametrize(
    "wrong",
    [["--protocols", "grouped,pape"], ["--seeds", "a"], ["--seeds=-1"], ["--repeats=-5"], ["--repeats", "1"], []],
)
def test_a_wrong_command_line(wrong: list[str], tmp_path: Path) -> None:
    call = ["train", "protocols", "data", "--out", str(tmp_path / "out"), *wrong]
    with pytest.raises(SystemExit) as stopped:
        main([*call, *(["--groups", "g.csv"] if wrong else [])])
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()
