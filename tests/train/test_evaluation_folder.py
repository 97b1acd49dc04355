"""The folder of an evaluation: what it holds, what is drawn, what the page says, what it never replaces."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluations import OWN, a_candidate, a_split, answers, noisy, pictured
from matplotlib.colors import to_rgb
from sklearn.metrics import accuracy_score, roc_auc_score

from device import RESEARCH_NOTICE
from device.errors import UserError
from train.data.busi import CLASSES, DataSet, read_dataset
from train.evaluation import page
from train.evaluation.curves import GRID
from train.evaluation.evaluate import Evaluation, judge
from train.evaluation.figures import confusion_figure, errors_figure, reliability_figure, roc_figure
from train.evaluation.folder import check_replaceable, report, write

FILES = {"confusion.png", "roc.png", "reliability.png", "errors.png", "predictions.csv"}


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


@pytest.fixture(scope="module")
def evaluation(data: DataSet) -> Evaluation:
    return noisy(data, a_split(data))


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# SYNTHETIC. {RESEARCH_NOTICE}"
    return list(csv.DictReader(lines[1:]))


def test_one_models_folder(evaluation: Evaluation, data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "new" / "evaluation"
    write(out, [evaluation], data)
    assert _files(out) == {"evaluation.json", "report.md", *FILES}
    for name in FILES - {"predictions.csv"}:
        drawn = cv2.imread(str(out / name))
        assert min(drawn.shape[:2]) > 300
        assert drawn.std() > 10, "not blank"
    written = json.loads((out / "evaluation.json").read_text())
    assert set(written.pop("files")) == {"report.md", *FILES}
    assert written == json.loads(json.dumps(report([evaluation], data)))
    assert (written["notice"], written["data"], written["synthetic"]) == (RESEARCH_NOTICE, "phantoms", True)
    model = written["models"]["runs/tiny"]
    assert (model["name"], model["part"], model["pictures"]) == ("tiny student", "test", len(evaluation.pictures))
    assert model["metrics"]["accuracy"]["value"] == evaluation.metrics["accuracy"].value
    assert model["confusion"]["pictures"] == evaluation.confusion().tolist()
    assert len(model["roc"]["malignant_rest"]["band"]["low"]) == len(GRID)
    assert model["errors"] == [evaluation.pictures[i].name for i in evaluation.errors()]
    said = (out / "report.md").read_text()
    for name in FILES - {"predictions.csv"}:
        assert f"]({name})" in said


def test_everything_can_be_computed_again_from_the_csv(evaluation: Evaluation, data: DataSet, tmp_path: Path) -> None:
    write(tmp_path / "out", [evaluation], data)
    rows = _rows(tmp_path / "out" / "predictions.csv")
    assert [row["image"] for row in rows] == [picture.name for picture in evaluation.pictures]
    assert [row["group_id"] for row in rows] == evaluation.groups.tolist()
    truth = [row["truth"] for row in rows]
    p = np.array([[float(row[f"p_{label}"]) for label in CLASSES] for row in rows])
    assert np.array_equal(p, evaluation.probabilities)
    assert [row["likeliest"] for row in rows] == [CLASSES[k] for k in p.argmax(axis=1)]
    assert accuracy_score(truth, [row["likeliest"] for row in rows]) == evaluation.metrics["accuracy"].value
    auc = roc_auc_score([label == "malignant" for label in truth], p[:, 1])
    assert auc == pytest.approx(evaluation.metrics["auc_malignant_rest"].value)
    assert [row["verdict"] == "malignant" for row in rows] == (p[:, 1] >= 0.5).tolist()


def test_several_models_have_a_folder_each(evaluation: Evaluation, data: DataSet, tmp_path: Path) -> None:
    again = noisy(data, a_split(data), seed=1, path=Path("runs/again"))
    third = noisy(data, a_split(data), seed=2, path=Path("runs/third"), title="Phantoms-demo int8/full")
    write(tmp_path / "out", [evaluation, again, third], data)
    places = ("tiny-student", "tiny-student-2", "phantoms-demo-int8-full")
    assert _files(tmp_path / "out") == {
        "evaluation.json",
        "report.md",
        *(f"{place}/{name}" for place in places for name in FILES),
    }
    rows = _rows(tmp_path / "out" / "tiny-student-2" / "predictions.csv")
    assert float(rows[0]["p_benign"]) == again.probabilities[0, 0]
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(written["models"]) == ["runs/tiny", "runs/again", "runs/third"]
    assert "minus_first" not in written["models"]["runs/tiny"]
    difference = written["models"]["runs/again"]["minus_first"]["accuracy"]["value"]
    assert difference == again.metrics["accuracy"].value - evaluation.metrics["accuracy"].value
    said = (tmp_path / "out" / "report.md").read_text()
    assert f"| tiny student (runs/again) | {100 * difference:+.1f} [" in said
    line = page.difference_lines([evaluation, again])[0]
    assert line.startswith(
        f"tiny student (runs/again) minus tiny student (runs/tiny): accuracy {100 * difference:+.1f} ["
    )
    back = page.difference_lines([again, evaluation])[0]
    assert f"accuracy {-100 * difference:+.1f} [" in back
    other = replace(again, pictures=again.pictures[::-1])
    assert "not compared" in page.difference_lines([evaluation, other])[0]
    assert "| tiny student (runs/again) | other pictures |" in page.page([evaluation, other], ["a/", "b/"])
    assert "](tiny-student-2/roc.png)" in said


def test_the_page_says_what_must_be_known(evaluation: Evaluation, data: DataSet) -> None:
    said = page.page([evaluation], [""])
    assert RESEARCH_NOTICE in said
    assert said.startswith("# Evaluation on SYNTHETIC phantoms, test part\n")
    split = evaluation.split
    for wanted in (
        "`grouped`",
        split["fingerprint"][:12],
        "one per picture",
        "Set by hand",
        "15 pictures in 15 groups",
    ):
        assert wanted in said, wanted
    assert "leak" not in said
    m = evaluation.metrics
    for name in ("accuracy", "macro_f1", "precision_benign", "f1_normal", "sensitivity", "specificity_benign"):
        assert page.percent(m[name]) in said, name
    assert m["specificity"] != m["specificity_benign"]
    assert f"| specificity, all other pictures | {page.percent(m['specificity'])} |" in said
    assert f"| specificity, benign pictures | {page.percent(m['specificity_benign'])} |" in said
    for name in ("ece", "brier", "nll"):
        assert page.number(m[name]) in said, name
    for at in (90, 95):
        assert page.percent(m[f"specificity_at_sensitivity_{at}_malignant_rest"]) in said


def test_every_table_of_the_page_is_whole(evaluation: Evaluation, data: DataSet) -> None:
    other = noisy(data, a_split(data), seed=1, path=Path("runs/again"))
    lines = page.page([evaluation, other], ["a/", "b/"]).splitlines()
    widths = {n: line.count("|") for n, line in enumerate(lines) if line.startswith("|")}
    for n, width in widths.items():
        assert widths.get(n - 1, width) == width, lines[n]
        if n - 1 not in widths:
            assert set(lines[n + 1]) == set("|- "), "a head and its rule"


def test_a_leaky_split_is_named_so(data: DataSet, tmp_path: Path) -> None:
    split = a_split(data, "paper")
    pictures = (*split.test, split.test[0])  # as if it had been drawn once more
    split = replace(split, test=pictures, train=(*split.train, *split.test[:3]), groups_source="sha256:of an audit")
    found = noisy(data, split)
    groups, entries = split.crossing()
    assert 0 < groups <= entries
    sentence = f"{entries} of {len(pictures)} test pictures have a copy in training"
    said = page.page([found], [""])
    bold = [line for line in said.splitlines() if line.startswith("**") and line.endswith("**")]
    assert any(sentence in line for line in bold)
    assert f"{len(pictures)} pictures ({len(set(pictures))} different ones)" in said
    assert "THIS SPLIT LEAKS" in roc_figure(found).get_suptitle()
    assert any(sentence in line for line in report([found], data)["models"]["runs/tiny"]["warnings"])


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"part": "train"}, "trained on these very pictures"),
        ({"part": "val"}, "chosen on these very pictures"),
        ({"synthetic": False}, "Near-copies were not looked for"),
        ({}, "SYNTHETIC"),
    ],
)
def test_what_would_mislead_is_said(evaluation: Evaluation, changes: dict, wanted: str) -> None:
    synthetic = changes.get("synthetic", True)
    model = replace(evaluation.model, synthetic=synthetic)
    found = replace(evaluation, model=model, synthetic=synthetic, part=changes.get("part", "test"))
    assert sum(wanted in sentence for sentence in page.warnings(found)) == 1
    assert len(page.warnings(found)) == 1 + (changes.get("part", "test") != "test")


def test_lesions_alone_have_no_figures_of_normal_pictures(data: DataSet, tmp_path: Path) -> None:
    pictures = pictured(data, "benign (1)", "benign (2)", "malignant (1)", "malignant (2)")
    said = answers("benign", "normal", "malignant", "benign")
    found = judge(a_candidate(), pictures, np.arange(4), said, OWN, "test", None, 20)
    text = page.page([found], [""])
    assert "| normal |" not in text
    assert "| benign | 2 |" in text
    assert "unknown" not in text
    matrix = confusion_figure(found).axes[0]
    assert [row.get_text() for row in matrix.get_yticklabels()] == ["benign\n(2)", "malignant\n(2)"]
    assert len(matrix.texts) == 2 * 3
    write(tmp_path / "out", [found], data)


def test_without_a_malignant_picture_all_that_hangs_on_it_is_unknown(data: DataSet, tmp_path: Path) -> None:
    pictures = pictured(data, "benign (1)", "normal (2)")
    found = judge(a_candidate(), pictures, np.arange(2), answers("benign", "benign"), OWN, "test", None, 20)
    write(tmp_path / "out", [found], data)
    assert "| malignant vs rest | unknown | unknown | unknown |" in (tmp_path / "out" / "report.md").read_text()
    model = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["runs/tiny"]
    assert model["roc"] == {"malignant_rest": None, "benign_malignant": None}
    assert model["metrics"]["sensitivity"]["value"] is None
    assert "undefined" in roc_figure(found).axes[0].texts[0].get_text()


def test_the_matrices_show_counts_and_shares(data: DataSet) -> None:
    pictures = pictured(data, *(f"benign ({n})" for n in range(1, 5)), "malignant (1)", "normal (1)")
    said = answers("benign", "benign", "normal", "malignant", "malignant", "normal", p=0.6)
    found = judge(a_candidate(), pictures, np.arange(6), said, OWN, "test", None, 20)
    left, right = confusion_figure(found).axes
    assert [text.get_text() for text in left.texts] == [
        *("2\n50 %", "1\n25 %", "1\n25 %"),
        *("0\n0 %", "1\n100 %", "0\n0 %"),
        *("0\n0 %", "0\n0 %", "1\n100 %"),
    ]
    assert [label.get_text() for label in right.get_xticklabels()] == list(CLASSES), "a run folder never abstains"
    assert "0.5" in right.get_title()


def test_the_drawn_curves_are_the_evaluations(evaluation: Evaluation) -> None:
    rest = roc_figure(evaluation).axes[0]
    line = next(line for line in rest.lines if line.get_label().startswith("AUC"))
    roc = evaluation.roc["malignant_rest"]
    assert np.array_equal(line.get_ydata(), roc.sensitivity)
    assert np.array_equal(line.get_xdata(), 1 - roc.specificity)
    assert page.percent(evaluation.metrics["auc_malignant_rest"]) in line.get_label()
    point = next(line for line in rest.lines if line.get_label().startswith("operating point"))
    drawn = (1 - point.get_xdata()[0], point.get_ydata()[0])
    assert drawn == (evaluation.metrics["specificity"].value, evaluation.metrics["sensitivity"].value)
    corners = rest.collections[0].get_paths()[0].vertices
    for x, k in ((0.0, -1), (0.5, 50), (1.0, 0)):  # 1 - specificity, and where in the grid
        there = corners[np.isclose(corners[:, 0], x), 1]
        assert (there.min(), there.max()) == (roc.low[k], roc.high[k])
    bent = replace(evaluation.calibration, temperature=0.5)
    bent = judge(evaluation.model, evaluation.pictures, evaluation.groups, evaluation.logits, bent, "test", None, 20)
    bins = bent.reliability
    top, bottom = reliability_figure(bent).axes
    shown = top.containers[0].lines[0]
    assert np.array_equal(shown.get_xdata(), bins.confidence[bins.pictures > 0])
    assert np.array_equal(shown.get_ydata(), bins.accuracy[bins.pictures > 0])
    assert [bar.get_height() for bar in bottom.patches] == bins.pictures.tolist()


def test_the_contact_sheet_shows_the_worst_errors_first(data: DataSet) -> None:
    names = [*(f"benign ({n})" for n in range(1, 25)), "malignant (1)", "malignant (2)", "normal (3)", "malignant (1)"]
    said = np.concatenate(
        [
            *(answers("normal", p=0.5 + n / 100) for n in range(24)),
            *(answers("benign", p=p) for p in (0.95, 0.94, 0.99)),
            answers("benign", p=0.95),
        ]
    )
    found = judge(a_candidate(), pictured(data, *names), np.arange(28), said, OWN, "test", None, 20)
    figure = errors_figure(found)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "normal (3)\nis normal\nsaid benign, 99.0 %"
    assert titles[1] == "malignant (1) (2 times)\nis malignant\nsaid benign, 95.0 %"
    assert titles[3] == "benign (24)\nis benign\nsaid normal, 73.0 %"
    assert len(titles) == 24
    assert "24 most confident of 27 wrong" in figure.get_supxlabel()
    assert [to_rgb(axis.title.get_color()) != (0, 0, 0) for axis in figure.axes] == [False, True, True] + [False] * 21
    frame = cv2.imread(str(pictured(data, "normal (3)")[0].path), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(figure.axes[0].images[0].get_array(), frame)
    assert "patients" not in figure.get_supxlabel()
    real = replace(found, synthetic=False)
    assert "patients' pictures" in errors_figure(real).get_supxlabel()


def test_a_contact_sheet_without_errors_says_so(data: DataSet) -> None:
    pictures = pictured(data, "benign (1)", "malignant (1)", "normal (1)")
    found = judge(a_candidate(), pictures, np.arange(3), answers(*CLASSES), OWN, "test", None, 20)
    figure = errors_figure(found)
    assert [text.get_text() for text in figure.texts][-1] == "No error among 3 pictures."
    assert not figure.axes


def test_an_earlier_evaluation_is_replaced_as_a_whole(evaluation: Evaluation, data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, [evaluation, noisy(data, a_split(data), path=Path("b"), title="b")], data)
    write(out, [evaluation], data)
    assert _files(out) == {"evaluation.json", "report.md", *FILES}
    assert list(tmp_path.iterdir()) == [out], "nothing is left beside it"


def test_what_no_evaluation_wrote_is_never_replaced(evaluation: Evaluation, data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [evaluation], data)
    (out / "notes.txt").write_text("mine")
    before = _files(out)
    with pytest.raises(UserError, match=r"'notes[.]txt'"):
        write(out, [evaluation], data)
    assert _files(out) == before
    # Beside runs, the --json of `busi-kd all` is called evaluation.json too, and lists no files.
    runs = tmp_path / "runs"
    (runs / "student").mkdir(parents=True)
    (runs / "student" / "model.safetensors").write_bytes(b"weights")
    for content in ("{}", "[]", "{", '{"files": 3}', '{"files": ["report.md"]}'):
        (runs / "evaluation.json").write_text(content)
        with pytest.raises(UserError, match=r"model[.]safetensors"):
            check_replaceable(runs)
    (runs / "student" / "model.safetensors").unlink()
    (runs / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match="no earlier evaluation"):
        check_replaceable(runs)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no folder"):
        check_replaceable(tmp_path / "file")
    check_replaceable(tmp_path / "none")
