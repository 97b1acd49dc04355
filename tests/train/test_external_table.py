"""The cross-data-set table: its figures against hand counts and scikit-learn, its means, its page."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score
from small_external import LABELS, write_small_external
from train_commands import refused

from device import RESEARCH_NOTICE
from device.decide import softmax
from device.errors import UserError
from device.main import main
from device.preprocess import Preprocess
from train.data.busi import read_dataset
from train.evaluation.intervals import resampled
from train.evaluation.models import Candidate
from train.external import page
from train.external.adapters import ExternalPicture, ExternalSet, load_lumas, read_external
from train.external.overlap import Copy
from train.external.table import SURE, Part, Row, judge, labels_of, parts_of, t_interval, two_way

Predict = Callable[[np.ndarray], np.ndarray]


def bright(lumas: np.ndarray) -> np.ndarray:
    """A hand-made model: malignant where the picture is dark, normal where it is darkest."""
    mean = lumas.mean(axis=(1, 2))
    return np.stack([mean / 60, 2.4 - mean / 60, 1.2 - mean / 30], axis=1).astype(np.float32)


def model(path: str, title: str = "made", view: str = "whole", predict: Predict = bright, **changed) -> Candidate:
    made = Candidate(
        path=Path(path),
        title=title,
        kind="student",
        preprocess=Preprocess(32, 32),
        temperature=None,
        threshold=None,
        target_sensitivity=0.95,
        data_name="made",
        data_fingerprint="0" * 64,
        view=view,
        synthetic=False,
        split={},
        predict=predict,
    )
    return replace(made, **changed)


def part(labels: list[str | None], groups: list[str] | None = None) -> Part:
    names = [f"{n}.png" for n in range(len(labels))]
    pictures = [ExternalPicture(n, Path(n), label, (), False, g) for n, label, g in zip(names, labels, groups or names)]
    return Part("made", "whole", tuple(pictures), labels[0] is not None, True)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExternalSet, ...]:
    return read_external(write_small_external(tmp_path_factory.mktemp("external")))


def of(rows: tuple[Row, ...], label: str, part_name: str) -> Row:
    (row,) = [row for row in rows if (row.model, row.part.name) == (label, part_name)]
    return row


def test_figures_counted_by_hand() -> None:
    """Normal is the largest of the first and the third; the lesion logits alone decide the class."""
    logits = np.array([[2, 1, 3], [2, 1, 0], [0, 1, 9], [1, 0, 0], [0, 2, 1.0]])
    found = two_way(logits, part(["benign", "malignant", "malignant", "benign", "benign"]), np.ones((1, 5)), (1.0, 0.6))
    values = {name: float(value[0]) for name, value in found.items()}
    assert values == pytest.approx(
        {
            "said_benign": 2 / 5,
            "said_malignant": 1 / 5,
            "said_normal": 2 / 5,
            "accuracy": 3 / 5,
            "sensitivity": 1 / 2,
            "specificity": 2 / 3,
            "balanced_accuracy": (1 / 2 + 2 / 3) / 2,
            # Scores -1 and 1 of the malignant against -1, -1 and 2: (0.5 + 0.5 + 0) + (1 + 1 + 0) of 6 pairs.
            "auc": 3 / 6,
            # P(malignant) reaches 0.6 in the last only, which is benign.
            "operating_sensitivity": 0.0,
            "operating_specificity": 2 / 3,
        }
    )


def test_equal_lesion_logits_are_benign() -> None:
    found = two_way(np.zeros((2, 3)), part(["benign", "malignant"]), np.ones((1, 2)), None)
    assert (found["specificity"][0], found["sensitivity"][0]) == (1, 0)


@pytest.mark.parametrize("seed", range(3))
def test_figures_and_resamplings_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(60, 3)).round(1)  # rounded: ties
    truth = rng.integers(0, 2, 60)
    groups = [f"g{g}" for g in rng.integers(0, 25, 60)]
    made = part([("benign", "malignant")[t] for t in truth], groups)
    one = replace(read_nothing(), pictures=made.pictures)
    table = judge_logits(logits, one, repeats=20, seed=seed)
    indices = [np.arange(60), *resampled(np.array(groups), 20, seed)]
    row = table.rows[0]
    said, score = (logits[:, 1] > logits[:, 0]).astype(int), logits[:, 1] - logits[:, 0]
    called = (softmax(logits, 2.0)[:, 1] >= 0.3).astype(int)
    for n, i in enumerate(indices):
        expected = {
            "accuracy": accuracy_score(truth[i], said[i]),
            "balanced_accuracy": balanced_accuracy_score(truth[i], said[i]),
            "sensitivity": recall_score(truth[i], said[i]),
            "specificity": recall_score(truth[i], said[i], pos_label=0),
            "auc": roc_auc_score(truth[i], score[i]),
            "said_normal": float((logits[i].argmax(axis=1) == 2).mean()),
            "operating_sensitivity": recall_score(truth[i], called[i]),
            "operating_specificity": recall_score(truth[i], called[i], pos_label=0),
        }
        for name, value in expected.items():
            got = row.figures[name].value if n == 0 else row.drawn[name][n - 1]
            assert got == pytest.approx(value), name
    low, high = np.percentile(row.drawn["auc"], [2.5, 97.5])
    assert (row.figures["auc"].low, row.figures["auc"].high) == pytest.approx((low, high))


def read_nothing() -> ExternalSet:
    return ExternalSet("made", "whole", (), "made here.", "0" * 64)


def judge_logits(logits: np.ndarray, one: ExternalSet, repeats: int, seed: int):
    """Judge given logits: the pictures are read by name, so the table is given blank files."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.png"
        cv2.imwrite(str(blank), np.zeros((32, 32), np.uint8))
        pictures = tuple(replace(p, path=blank) for p in one.pictures)
        bundle = model("m", kind="bundle", temperature=2.0, threshold=0.3, predict=lambda lumas: logits)
        return judge([bundle], [replace(one, pictures=pictures)], repeats=repeats, seed=seed)


def test_parts(sets: tuple[ExternalSet, ...]) -> None:
    parts = {p.name: p for p in parts_of(sets, None)}
    assert list(parts) == ["BrEaST", "BUID", "BUS-CoT_43", "BUS-CoT_43" + SURE, "STU-Hospital"]
    assert [p.in_mean for p in parts.values()] == [True, True, False, True, False]
    assert [len(p.pictures) for p in parts.values()] == [4, 4, 4, 3, 4]
    assert [p.labelled for p in parts.values()] == [True, True, True, True, False]
    copies = [Copy("BUS-CoT_43", "1@0.png", None, "x", "benign", 20, 1.0), *copies_of("STU-Hospital")]
    left = {p.name: p for p in parts_of(sets, copies)}
    assert list(left) == ["BrEaST", "BUID", "BUS-CoT_43"]  # the doubtful picture is gone, so one part is enough
    assert left["BUS-CoT_43"].in_mean
    assert [p.name for p in left["BUS-CoT_43"].pictures] == ["0@0.png", "2@0.png", "3@0.png"]


def copies_of(name: str) -> list[Copy]:
    return [Copy(name, f"Test_Image_{n}.png", None, "x", "benign", 20, 1.0) for n in range(4)]


def test_each_model_is_judged_on_its_view_with_the_devices_preprocessing(sets: tuple[ExternalSet, ...]) -> None:
    table = judge([model("a", "a"), model("b", "b", "lesion-crop")], sets, repeats=10)
    assert [(row.model, row.part.name) for row in table.rows] == [
        ("a", "BUS-CoT_43"),
        ("a", "BUS-CoT_43" + SURE),
        ("a", "STU-Hospital"),
        ("b", "BrEaST"),
        ("b", "BUID"),
    ]
    assert all(row.matched for row in table.rows)
    logits = bright(load_lumas(sets[0].pictures, Preprocess(32, 32)))
    right = np.mean(
        [(score > 0) == (label == "malignant") for score, label in zip(logits[:, 1] - logits[:, 0], LABELS)]
    )
    assert of(table.rows, "b", "BrEaST").figures["accuracy"].value == pytest.approx(right)
    assert set(of(table.rows, "a", "STU-Hospital").figures) == {"said_benign", "said_malignant", "said_normal"}


def test_the_other_view_only_when_asked_and_never_in_a_mean(sets: tuple[ExternalSet, ...]) -> None:
    crops = [one for one in sets if one.view == "lesion-crop"]
    with pytest.raises(UserError, match="--mismatched"):
        judge([model("a")], crops, repeats=10)
    table = judge([model("a")], crops, mismatched=True, repeats=10)
    assert [row.matched for row in table.rows] == [False, False]
    assert table.means == ()
    both = judge([model("a", view="lesion-crop")], sets, mismatched=True, repeats=10)
    assert [row.matched for row in both.rows] == [True, True, False, False, False]
    assert both.means[0].sets == ("BrEaST", "BUID")


def shifted(offset: float) -> Predict:
    return lambda lumas: bright(lumas) + np.float32([offset, 0, 0])


def test_means_over_models_and_sets(sets: tuple[ExternalSet, ...]) -> None:
    """Three crop models of one title and one of whole pictures: sets weigh alike, models within a set too."""
    models = [model(f"crop/{n}", view="lesion-crop", predict=shifted(n - 1)) for n in range(3)] + [model("whole")]
    table = judge(models, sets, repeats=50)
    single = [row for row in table.rows if row.part.name == "BUID" and row.models == 1]
    mean = of(table.rows, "made, mean of 3", "BUID")
    assert mean.models == 3
    assert mean.figures["accuracy"].value == pytest.approx(np.mean([r.figures["accuracy"].value for r in single]))
    assert mean.drawn["accuracy"] == pytest.approx(np.mean([r.drawn["accuracy"] for r in single], axis=0))
    low, high = np.percentile(mean.drawn["accuracy"], [2.5, 97.5])
    assert (mean.figures["accuracy"].low, mean.figures["accuracy"].high) == pytest.approx((low, high))
    (over,) = table.means
    assert set(over.sets) == {"BrEaST", "BUID", "BUS-CoT_43"}
    parts = [
        of(table.rows, "made, mean of 3", "BrEaST"),
        mean,
        of(table.rows, "made (whole)", "BUS-CoT_43" + SURE),
    ]
    values = [row.figures["accuracy"].value for row in parts]
    assert over.figures["accuracy"].value == pytest.approx(np.mean(values))
    drawn = np.mean([row.drawn["accuracy"] for row in parts], axis=0)
    assert (over.figures["accuracy"].low, over.figures["accuracy"].high) == pytest.approx(
        tuple(np.percentile(drawn, [2.5, 97.5]))
    )
    assert over.spread == t_interval(values)


def test_models_are_compared_on_the_same_draws_and_sets_on_their_own(sets: tuple[ExternalSet, ...]) -> None:
    table = judge([model("a", "a", "lesion-crop"), model("b", "b", "lesion-crop")], sets[:2], repeats=30)
    first, second = (of(table.rows, name, "BrEaST").drawn["said_normal"] for name in "ab")
    assert np.array_equal(first, second)
    twin = replace(sets[0], name="twin")
    rows = judge([model("a", "a", "lesion-crop")], [sets[0], twin], repeats=30).rows
    assert not np.array_equal(rows[0].drawn["accuracy"], rows[1].drawn["accuracy"])


@pytest.mark.parametrize("values", [(0.6, 0.7, 0.8), (0.71, 0.74, 0.65, 0.9)])
def test_t_interval_agrees_with_scipy(values: tuple[float, ...]) -> None:
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = t_interval(values)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), expected.low, expected.high))
    assert t_interval(values[:2]) is None


def test_labels_tell_models_apart(tmp_path: Path) -> None:
    models = [model("runs/0/student"), model("runs/1/student"), model("runs/1/student", "other")]
    with pytest.raises(UserError, match="given twice"):
        labels_of([*models, model("runs/../runs/0/student")])
    models[2] = model("x/student", "other")
    assert labels_of(models) == ["made (0/student)", "made (1/student)", "other"]


def test_a_model_without_finite_numbers_is_refused(sets: tuple[ExternalSet, ...]) -> None:
    with pytest.raises(UserError, match="no finite numbers"):
        judge([model("a", predict=lambda lumas: np.full((len(lumas), 3), np.nan))], sets, repeats=10)
    with pytest.raises(UserError, match="--repeats"):
        judge([model("a")], sets, repeats=1)
    with pytest.raises(UserError, match="nothing is left"):
        judge([model("a")], [sets[3]], copies_of("STU-Hospital"), repeats=10)


def test_page(sets: tuple[ExternalSet, ...], phantoms: Path, tmp_path: Path) -> None:
    data = read_dataset(phantoms)
    copies = (Copy("BrEaST", "0_img.png", "benign", "malignant (1).png", "malignant", 33, 0.97),)
    models = [
        model("s/0", view="lesion-crop", synthetic=True),
        model("s/1", view="lesion-crop", predict=shifted(0.5)),
        model("b", "busi int8-full", kind="bundle", temperature=1.0, threshold=0.5),
    ]
    table = judge(models, sets, copies, mismatched=True, repeats=20)
    page.write(tmp_path / "out", table, sets, data)
    text = (tmp_path / "out" / "report.md").read_text()
    assert RESEARCH_NOTICE in text
    assert "73.97 % [65.04, 82.90]" in text
    assert "| BrEaST | 0_img.png | benign | malignant (1).png | **malignant** | 33 | 0.97 |" in text
    assert "| made (0) SYNTHETIC | BrEaST | lesion-crop | 3 (1 / 2) |" in text
    assert "| made (1) † | BUS-CoT_43 | whole |" in text
    assert "## At the bundle's operating point" in text
    assert "| busi int8-full | STU-Hospital | whole | 4 |" in text
    assert "made, mean of up to 2 | BrEaST, BUID |" in text
    assert "fewer than three sets" in text
    assert all(one.source in text for one in sets)
    found = json.loads((tmp_path / "out" / "external.json").read_text())
    assert found["notice"] == RESEARCH_NOTICE
    assert found["copies"][0]["of"] == "malignant (1).png"
    assert found["copies_looked_for_in"]["fingerprint"] == data.fingerprint
    assert found["means"][0]["spread"] is None
    stored = next(r for r in found["rows"] if (r["model"], r["set"]) == ("made (1)", "BUID"))
    assert stored["figures"]["auc"]["value"] == of(table.rows, "made (1)", "BUID").figures["auc"].value
    assert (stored["matched"], stored["in_mean"], stored["pictures"]) == (True, True, 4)
    picture = cv2.imread(str(tmp_path / "out" / "external.png"))
    assert picture.shape[1] > 1000
    assert (picture == 255).mean() < 0.99


def test_unknown_overlap_is_said_and_null(sets: tuple[ExternalSet, ...], tmp_path: Path) -> None:
    table = judge([model("a")], [sets[3]], repeats=10)
    out = tmp_path / "out"
    page.write(out, table, sets[3:], None)
    assert "Nobody looked for copies" in (out / "report.md").read_text()
    assert not (out / "external.png").exists()  # nothing to draw: the set has no classes
    found = json.loads((out / "external.json").read_text())
    assert found["copies"] is None
    assert found["copies_looked_for_in"] is None
    none = judge([model("a")], [sets[3]], (), repeats=10)
    assert page.to_json(none, sets[3:], None)["copies"] == []


@pytest.mark.slow
def test_command(
    student: Path, teacher: Path, phantoms: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained student and a run trained on crops, on small external sets; one picture is a training picture."""
    root = write_small_external(tmp_path / "external")
    stolen = root / "BUS-CoT_43" / "images" / "0@0.png"
    stolen.write_bytes((phantoms / "benign" / "benign (3).png").read_bytes())
    ask = ["train", "external", student, "--external", root, "--repeats", 20]
    capsys.readouterr()
    assert main([str(a) for a in [*ask, "--data", phantoms, "--out", tmp_path / "out"]]) == 0
    said = capsys.readouterr().out
    assert "| BUS-CoT_43 | 0@0.png | benign | benign (3).png | benign |" in said
    assert "| tiny student SYNTHETIC | BUS-CoT_43 | whole | 3 (1 / 2) |" in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.md", "external.json", "external.png"}
    crops, run = tmp_path / "crops", tmp_path / "run"
    assert main(["train", "crops", str(phantoms), "--out", str(crops), "--no-denoise"]) == 0
    training = ["train", "distill", crops, "--recipe", recipe, "--no-teacher", "--out", run]
    assert main([str(a) for a in training]) == 0
    capsys.readouterr()
    assert main([str(a) for a in ["train", "external", student, run, "--external", root, "--repeats", 20]]) == 0
    said = capsys.readouterr().out
    assert "| tiny student without teacher SYNTHETIC | BrEaST | lesion-crop | 4 (2 / 2) |" in said
    assert "| tiny student SYNTHETIC | BrEaST |" not in said
    assert "| tiny student without teacher | BrEaST, BUID |" in said
    refused(capsys, [*ask, "--data", root], "benign")
    refused(capsys, [*ask, "--data", crops], "whole pictures")
    refused(capsys, ["train", "external", tmp_path, "--external", root], str(tmp_path))


def test_only_an_earlier_table_is_replaced(sets: tuple[ExternalSet, ...], tmp_path: Path) -> None:
    table, out = judge([model("a")], [sets[3]], repeats=10), tmp_path / "out"
    page.write(out, table, sets[3:], None)
    page.write(out, table, sets[3:], None)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"'notes[.]txt', which no cross-data-set table wrote"):
        page.check_target(out)
    with pytest.raises(UserError, match="choose another --out"):
        page.write(out, table, sets[3:], None)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_leaky_training_is_told(sets: tuple[ExternalSet, ...]) -> None:
    split = {"leaks": True, "protocol": "paper", "crossing": None, "pictures": {"test": 9}}
    table = judge([replace(model("a"), split=split)], [sets[3]], repeats=10)
    assert "'paper' leaks by construction" in table.warnings[0]
    assert f"**{table.warnings[0]}**" in page.markdown(table, sets[3:], None)
    assert judge([model("a")], [sets[3]], repeats=10).warnings == ()
