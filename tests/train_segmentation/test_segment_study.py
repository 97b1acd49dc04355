"""Study files: rows over rows, teachers before students, and every mistake by its name."""

from pathlib import Path

import pytest
from small_segment_study import write_study

from device.errors import UserError
from train.segmentation.study import read_study, shipped


def test_a_row_starts_from_its_base_and_the_study(tmp_path: Path) -> None:
    text = ('[[row]]\nname = "taught"', '[[row]]\nname = "more"\nbase = "benign teacher"\nchange.seedless = 1\n')
    with pytest.raises(UserError, match="unknown key 'seedless'"):
        read_study(write_study(tmp_path / "a", text))
    study = read_study(write_study(tmp_path / "b", (text[0], text[1].replace("change.seedless = 1", "") + text[0])))
    more = study.row("more").recipe
    assert (more.train_on, more.network.channels, more.fit.epochs) == (("benign",), (8, 8), 2)
    assert study.row("taught").recipe.train_on == ("benign", "malignant")


def test_teachers_are_trained_before_their_students(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    taught = study.row("taught")
    assert [row.name for row in study.with_teachers([taught])] == ["benign teacher", "taught"]
    steps = study.stages(study.jobs())
    assert [{job.row.name for job in step} for step in steps] == [{"alone", "benign teacher"}, {"taught"}]
    assert [job.fold for job in steps[1]] == [0, 2]


def test_a_job_decides_seed_and_folds_and_nothing_else(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path), folds=(4,), seeds=(3, 5))
    jobs = study.jobs([study.row("alone")])
    assert [(job.seed, job.fold) for job in jobs] == [(3, 4), (5, 4)]
    recipe = jobs[1].recipe
    assert (recipe.name, recipe.seed, recipe.split.test_fold, recipe.split.val_fold) == ("alone", 5, 4, 0)
    assert read_study(write_study(tmp_path), protocol="random").row("alone").recipe.split.protocol == "random"


def test_a_row_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    change = ('name = "alone"\n', 'name = "alone"\nseeds = [4, 0]\n')
    study = read_study(write_study(tmp_path, change))
    jobs = study.jobs()
    assert [(job.row.name, job.seed) for job in jobs if job.fold == 0] == [
        ("alone", 0),
        ("benign teacher", 0),
        ("taught", 0),
        ("alone", 4),
    ]
    assert len(jobs) == 8
    assert [job.seed for job in study.jobs([study.row("taught")])] == [0, 0]
    given = read_study(write_study(tmp_path, change), seeds=(3,))
    assert {job.seed for job in given.jobs()} == {3}, "asked for on the command line they hold for all rows"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('row = "benign teacher"', 'row = "benign techer"'), "'benign techer'.*benign teacher.*stands above"),
        (('against = "alone"', 'against = "nobody"'), "no other row 'nobody'"),
        (('name = "taught"', 'name = "Alone"'), "there already"),
        (("change.hard_share = 0.5", "change.hard_share = 0.0"), "hard_share must be above 0"),
        (("change.hard_share = 0.5", "change.seed = 7"), "'seed' is decided by each training"),
        (("change.hard_share = 0.5", "change.features = 0.5"), "go together"),
        (("change.hard_share = 0.5", "change.classes = {}"), "belongs to the network 'two-heads'"),
        (("change.hard_share = 0.5", "change.preprocess.height = 64"), "sees another input size"),
        (("change.hard_share = 0.5", "change.split.protocol = 'random'"), "split alike"),
        (("change.hard_share = 0.5", "change.int8_epochs = 3"), "int8_epochs must lie in 0..2"),
        (("change.train_on = ['benign']".replace("'", '"'), 'change.train_on = ["normal"]'), "has no lesion"),
        (("folds = [0, 2]", "folds = [0, 5]"), "no fold 5"),
        (('name = "alone"\n', 'name = "alone"\nseeds = []\n'), "row 'alone': seeds .* must be one or more"),
        (('name = "taught"\n', 'name = "taught"\nseeds = [0, 7]\n'), "'benign teacher' has no seed 7"),
        (("lr = 5e-3", "lr = 5e-3, warmup_epochs = 1.0"), "leave it away with 'plateau'"),
        (("lr = 5e-3", "lr = 5e-3, mixup = 0.2"), "not for outlines"),
        (("share = 0.5", "share = -0.5"), "must be 0 or more"),
    ],
)
def test_a_mistake_is_told_by_its_name(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read_study(write_study(tmp_path, change))


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no study 'papers'.*cpu, paper, two-heads"):
        read_study("papers")


def test_only_a_shipped_study_is_named_without_its_file(tmp_path: Path) -> None:
    assert read_study("two-heads").argument == "two-heads"
    assert read_study(str(read_study("cpu").path)).argument == "cpu"
    own = write_study(tmp_path / "studies")
    assert read_study(own).argument == Path(own).name


@pytest.mark.parametrize("name", ["cpu", "paper", "two-heads"])
def test_shipped_studies_are_sound(name: str) -> None:
    study = read_study(name)
    assert name in shipped()
    rows = {row.name: row.recipe for row in study.rows}
    if name == "two-heads":
        student = rows["two heads"]
        assert student.network.backbone.activation == "relu"
        assert student.network.backbone.stem == "luma"
        assert student.classes is not None
        return
    lightbtseg = rows["LightBTSeg"]
    assert [(term.row, term.share) for term in lightbtseg.teachers] == [
        ("benign teacher", 0.5),
        ("malignant teacher", 0.2),
    ]
    fit = lightbtseg.fit
    assert (lightbtseg.hard, lightbtseg.hard_share) == ("weight-balance", 0.3)
    assert (fit.optimizer, fit.lr, fit.weight_decay, fit.batch, fit.epochs) == ("adam", 1e-3, 5e-4, 8, 20)
    assert fit.schedule == "plateau"
    assert rows["benign teacher"].train_on == ("benign",)
    assert {table for row in study.rows for table in row.tables} == {"I", "II", "III", "ablation"}
