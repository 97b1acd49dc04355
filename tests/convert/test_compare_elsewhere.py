"""A comparison's rows on the external sets: which sets, which copies, and figures by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_study import made_up
from small_external import LABELS, write_small_external

from convert.compare.elsewhere import NETWORK, Asked, External, judged, read_sets, without_copies
from convert.compare.page import About, markdown
from convert.compare.table import lines
from device.bundle import Estimate
from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import DataSet, read_dataset
from train.evaluation.models import Candidate
from train.external.adapters import ExternalSet, read_external
from train.external.overlap import Copy

WHOLE, CROPS = ("BUS-CoT_43", "STU-Hospital"), ("BrEaST", "BUID")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_external(tmp_path_factory.mktemp("external"))


@pytest.fixture(scope="module")
def data(phantoms: Path) -> DataSet:
    return read_dataset(phantoms)


def a_training(path: str, view: str = "whole") -> Candidate:
    """What is known of a training that nobody can ask."""

    def predict(lumas: np.ndarray) -> np.ndarray:
        raise AssertionError("asked again")

    known = {"temperature": None, "threshold": None, "target_sensitivity": 0.95, "data_name": "made"}
    known |= {"data_fingerprint": "0" * 64, "view": view, "synthetic": True, "split": {}, "predict": predict}
    return Candidate(Path(path), "made", "student", Preprocess(32, 32), **known)


def answers(sets: tuple[ExternalSet, ...], names: tuple[str, ...], wrong: int, **forms: int) -> Asked:
    """The first `wrong` pictures of each set are read as the other class, the others rightly; forms: for files."""

    def say(count: int) -> dict[str, dict[str, tuple[float, ...]]]:
        return {
            one.name: {
                p.name: (0.0, 1.0, 0.0) if (LABELS[n] == "malignant") != (n < count) else (1.0, 0.0, 0.0)
                for n, p in enumerate(one.pictures)
            }
            for one in sets
            if one.name in names
        }

    return Asked("", {}, {}, {NETWORK: say(wrong)} | {form: say(count) for form, count in forms.items()})


def test_only_sets_with_classes_of_the_trainings_view_will_do(root: Path, data: DataSet, tmp_path: Path) -> None:
    assert [one.name for one in read_sets(root, data)] == [*CROPS, *WHOLE], "all of them: each draws its own"
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "BUID").symlink_to(root / "BUID")
    (tmp_path / "crops" / "STU-Hospital").symlink_to(root / "STU-Hospital")  # of the right view, without classes
    with pytest.raises(UserError, match=r"crops: none of the sets there has classes and pictures of the view 'whole'"):
        read_sets(tmp_path / "crops", data)
    read_sets(tmp_path / "crops", replace(data, view="lesion-crop"))


def test_copies_are_looked_for_in_whole_pictures(root: Path, data: DataSet, phantoms: Path, tmp_path: Path) -> None:
    own = tmp_path / "external"
    write_small_external(own)
    (own / "BUS-CoT_43" / "images" / "2@0.png").write_bytes(data.pictures[0].path.read_bytes())
    sets = read_external(own)
    found = without_copies(sets, data, None)
    assert [(one.set, one.name, one.of) for one in found.copies] == [("BUS-CoT_43", "2@0.png", data.pictures[0].name)]
    assert found.whole is data
    crops = replace(data, view="lesion-crop")
    assert without_copies(sets, crops, None) == External(sets, None, None), "None: nobody could look"
    assert without_copies(sets, crops, phantoms).copies == ()
    assert without_copies(sets, crops, phantoms).whole == data


def test_figures_are_means_over_trainings_without_copies(root: Path) -> None:
    """Benign, malignant (doubtful), benign, malignant; the last is a copy of one of the training's pictures."""
    sets = read_external(root)
    copies = (Copy("BUS-CoT_43", "3@0.png", "malignant", "x", "benign", 20, 1.0),)
    asked = {
        ("wide", 0, 0): (a_training("a"), answers(sets, WHOLE, 0, float32=1)),
        ("wide", 0, 1): (a_training("b"), answers(sets, WHOLE, 1, float32=2)),
        ("thin", 0, 0): (a_training("c"), answers(sets, WHOLE, 0)),
    }
    found = judged(asked, External(sets, copies, None), repeats=50)
    assert set(found) == {("wide", None), ("wide", "float32"), ("thin", None)}
    assert set(found["wide", None]) == {"BUS-CoT_43", "BUS-CoT_43, sure classes"}
    network, file = found["wide", None]["BUS-CoT_43"], found["wide", "float32"]["BUS-CoT_43"]
    assert (network.pictures, network.malignant, network.trainings) == (3, 1, 2)
    assert network.figures["accuracy"].value == pytest.approx((1 + 2 / 3) / 2)
    assert file.figures["accuracy"].value == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert file.figures["balanced_accuracy"].value == pytest.approx(((1 / 2 + 1) / 2 + (1 / 2 + 0) / 2) / 2)
    assert file.figures["auc"].value == pytest.approx((0.75 + 0.25) / 2)
    assert 0 <= file.figures["accuracy"].low < file.figures["accuracy"].value < file.figures["accuracy"].high <= 1
    sure = found["wide", None]["BUS-CoT_43, sure classes"]
    assert (sure.pictures, sure.malignant, sure.figures["auc"]) == (2, 0, Estimate(None)), "no malignant one is left"
    assert found["thin", None]["BUS-CoT_43"].trainings == 1
    assert found["thin", None]["BUS-CoT_43"].figures["accuracy"] == Estimate(1.0, 1.0, 1.0)


def test_crops_have_two_sets_and_their_mean(root: Path) -> None:
    sets = read_external(root)
    said = answers(sets, CROPS, 0)
    said.answers[NETWORK]["BUID"] = answers(sets, CROPS, 2).answers[NETWORK]["BUID"]
    found = judged({("wide", 0, 0): (a_training("a", "lesion-crop"), said)}, External(sets, None, None), repeats=20)
    figures = {name: (one.pictures, one.figures["accuracy"].value) for name, one in found["wide", None].items()}
    assert figures == {"BrEaST": (4, 1.0), "BUID": (4, 0.5), "mean of BrEaST, BUID": (8, 0.75)}


def test_the_page_has_a_column_per_set_and_what_is_unknown(root: Path, tmp_path: Path) -> None:
    sets = read_external(root)
    rows = '[[row]]\nname = "wide"\n[[row]]\nname = "thin"\nchange.augment.flip = 0.25\n'
    study, pictures, results = made_up(tmp_path, rows, {"wide": 1.4, "thin": 1.0})
    external = External(sets, None, None)
    found = judged({("wide", 0, 0): (a_training("a"), answers(sets, WHOLE, 1))}, external, repeats=20)
    table = lines(study, pictures, results, {}, (), {}, {}, {}, repeats=10, elsewhere=found)
    page = markdown(study, pictures, table, "balanced_accuracy", About("again", "a test", external))
    assert "| accuracy on BUS-CoT_43 |" in page
    assert "STU-Hospital" not in page, "it has no classes"
    assert "| wide | PyTorch | BUS-CoT_43 | 4 (2 / 2) | 1 | 75.0 [" in page
    assert "| thin | PyTorch |" + " unknown |" * 6 in page
    assert "Nobody looked for pictures of the training among these" in page
    assert "for testing only" in page
