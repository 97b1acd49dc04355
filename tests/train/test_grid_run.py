"""A study's trainings in this process: what is kept, what is trained again, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_study import HEAD, ROWS, small_study
from train_commands import refused

from device import RESEARCH_NOTICE, schema
from device.errors import UserError
from device.main import main
from train.data.busi import load_lumas, read_dataset
from train.data.splits import make_split
from train.fit import predict
from train.runs import hardware, load_run, versions
from train.soft.cache import SCHEMA_VERSION, CacheMeta, looks_of, write_cache
from train.studies.grid import pool
from train.studies.grid.run import _sweep, alone, train
from train.studies.grid.study import read_study

pytestmark = pytest.mark.slow
HERE = ["--workers", "0"]


@pytest.fixture(scope="module")
def done(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that was trained with --keep-runs; tests copy it."""
    folder = tmp_path_factory.mktemp("study") / "small"
    assert main([*small_study(folder, phantoms), *HERE, "--keep-runs"]) == 0
    return folder


@pytest.fixture
def study(done: Path, phantoms: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of it to work on, and the start of its command line."""
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy", small_study(tmp_path / "copy", phantoms)


def result_files(folder: Path) -> dict[str, bytes]:
    """All results of a study, by their paths."""
    results = folder / "out" / "results"
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in sorted(results.glob("*/*"))}


def what_was_said(files: dict[str, bytes]) -> dict[str, dict]:
    """The same without what differs from run to run."""
    return {name: {k: v for k, v in json.loads(data).items() if k != "seconds"} for name, data in files.items()}


def test_results_hold_what_the_networks_say(done: Path, phantoms: Path) -> None:
    files = result_files(done)
    assert list(files) == ["plain/0-0.json", "plain/0-3.json", "slower/0-0.json", "slower/0-3.json"]
    study, data = read_study(done / "study.toml"), read_dataset(phantoms)
    for job in study.jobs():
        (folder,) = (done / "out" / "runs" / job.row.slug).glob(f"{job.seed}-{job.fold}-*")
        run = load_run(folder, "student")
        assert run.meta.recipe == job.recipe
        split = make_split(data, job.recipe.split, done / "groups.csv")
        result = json.loads(files[f"{job.row.slug}/{job.seed}-{job.fold}.json"])
        assert schema.load(type(job.recipe), result["recipe"], "recipe") == job.recipe
        assert result["split"] == split.fingerprint == run.meta.split["fingerprint"]
        assert result["data"] == data.fingerprint
        for part in ("test", "val"):
            pictures = split.part(part)
            assert list(result[part]) == [picture.name for picture in pictures]
            said = predict(run.network, load_lumas(pictures, job.recipe.preprocess))
            np.testing.assert_allclose(list(result[part].values()), said, atol=1.1e-5)
    known = json.loads((done / "out" / "pictures.json").read_text())["pictures"]
    assert known == {p.name: [p.label, split.group_of[p.name]] for p in data.pictures}
    assert RESEARCH_NOTICE in (done / "out" / "README.md").read_text()


def test_the_same_command_trains_what_is_missing(study, capsys: pytest.CaptureFixture[str]) -> None:
    folder, call = study
    before = result_files(folder)
    page = (folder / "out" / "README.md").read_bytes()
    assert main([*call, *HERE]) == 0
    assert "4 trainings are done, 0 go in this process" in capsys.readouterr().out
    assert result_files(folder) == before
    # Results are enough: without run folders, one of the four is trained again, and says the same.
    shutil.rmtree(folder / "out" / "runs")
    (folder / "out" / "results" / "slower" / "0-3.json").unlink()
    assert main([*call, *HERE]) == 0
    said = capsys.readouterr().out
    assert "3 trainings are done, 1 go in this process" in said
    assert "[1/1] slower, seed 0, fold 3: AUC " in said
    after = result_files(folder)
    assert what_was_said(after) == what_was_said(before)
    assert not (folder / "out" / "runs").exists(), "run folders go once their results are written"
    assert main([*call, "--table-only"]) == 0
    assert (folder / "out" / "README.md").read_text().splitlines()[6:] == page.decode().splitlines()[6:]


def test_rows_can_be_trained_alone(study, capsys: pytest.CaptureFixture[str]) -> None:
    folder, call = study
    shutil.rmtree(folder / "out")
    head = HEAD.replace("[0, 3]", "[0]")
    (folder / "study.toml").write_text(head + ROWS)
    assert main([*call, *HERE, "--rows", "slower"]) == 0
    assert list(result_files(folder)) == ["slower/0-0.json"]
    assert "| plain | 0 of 1 |" in capsys.readouterr().out
    refused(capsys, [*call, *HERE, "--rows", "slow"], "no row 'slow' (did you mean 'slower'?)")


def test_the_same_training_of_another_study_is_taken(
    done: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows go by other names there, and one recipe is not among them."""
    rows = ROWS.replace("plain", "first").replace("slower", "slow")
    call = small_study(tmp_path, phantoms, rows + '[[row]]\nname = "fast"\nchange.student.fit.lr = 5e-3\n')
    before = result_files(done)
    assert main([*call, *HERE, "--take", str(done / "out"), "--rows", "first,slow"]) == 0
    said = capsys.readouterr().out
    assert f"small: phantoms, 4 trainings are done, 4 of them in {done / 'out'}, 0 go in this process." in said
    own = {name: json.loads(data) for name, data in result_files(tmp_path).items()}
    theirs = {name: json.loads(data) for name, data in before.items()}
    assert result_files(done) == before, "the other study stays as it is"
    for name, other in (("first", "plain"), ("slow", "slower")):
        for fold in (0, 3):
            mine, its = own[f"{name}/0-{fold}.json"], theirs[f"{other}/0-{fold}.json"]
            assert (mine.pop("row"), mine.pop("recipe")["name"]) == (name, name)
            assert mine == {key: value for key, value in its.items() if key not in ("row", "recipe")}
    assert set(own) == {f"{name}/0-{fold}.json" for name in ("first", "slow") for fold in (0, 3)}
    # What differs is trained; other groups are another split, and nothing of it is taken.
    assert main([*call, *HERE, "--take", str(done / "out"), "--rows", "fast"]) == 0
    assert "0 trainings are done, 2 go in this process" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    refused(capsys, [*call, *HERE, "--take", str(tmp_path / "empty")], "empty: holds no results of a study")
    shutil.rmtree(tmp_path / "out")
    lines = (tmp_path / "groups.csv").read_text().replace("benign (2).png,benign1", "benign (2).png,alone")
    (tmp_path / "groups.csv").write_text(lines)
    assert main([*call, *HERE, "--take", str(done / "out"), "--rows", "first"]) == 0
    assert "0 trainings are done, 2 go in this process" in capsys.readouterr().out


LIVING = """
[[row]]
name = "asked"
teacher = "living"
[[row]]
name = "layers"
base = "asked"
change.distill.features = 0.5
change.distill.feature_pairs = [{ student = "net.blocks.4", teacher = "backbones.1.net.layer4" }]
"""


def test_rows_share_a_living_teacher_of_their_own_split(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = small_study(tmp_path, phantoms, ROWS + LIVING, HEAD.replace("[0, 3]", "[3]"))
    assert main([*call, *HERE, "--keep-runs"]) == 0
    (folder,) = (tmp_path / "out" / "runs" / "teachers").iterdir()
    teacher = load_run(folder, "teacher")
    results = {name: json.loads(data) for name, data in result_files(tmp_path).items()}
    assert {name: result["teacher"] for name, result in results.items()} == {
        "plain/0-3.json": None,
        "slower/0-3.json": None,
        "asked/0-3.json": teacher.meta.weights_sha256,
        "layers/0-3.json": teacher.meta.weights_sha256,
    }
    assert all(result["split"] == teacher.meta.split["fingerprint"] for result in results.values())
    said = [json.dumps(results[f"{row}/0-3.json"]["test"]) for row in ("plain", "asked", "layers")]
    assert len(set(said)) == 3, "the teacher's answers and its layers were learnt from"
    assert "labels and a living teacher, trained on the same split" in (tmp_path / "out" / "README.md").read_text()

    # The teacher is there: a row that is trained again comes to the same answers with it, and without it as well.
    before = result_files(tmp_path)
    weights = (folder / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "out" / "runs" / "layers")
    (tmp_path / "out" / "results" / "layers" / "0-3.json").unlink()
    assert main([*call, *HERE, "--keep-runs"]) == 0
    assert (folder / "model.safetensors").stat().st_mtime_ns == weights
    assert what_was_said(result_files(tmp_path)) == what_was_said(before)
    shutil.rmtree(tmp_path / "out" / "runs")
    (tmp_path / "out" / "results" / "layers" / "0-3.json").unlink()
    assert main([*call, *HERE]) == 0
    assert what_was_said(result_files(tmp_path)) == what_was_said(before)
    assert not (tmp_path / "out" / "runs").exists(), "the teacher's run goes too"

    # A row that is taught now was trained without.
    capsys.readouterr()
    text = (tmp_path / "study.toml").read_text()
    (tmp_path / "study.toml").write_text(text.replace('name = "slower"', 'name = "slower"\nteacher = "living"'))
    refused(capsys, [*call, *HERE], "the row 'slower' was trained with no living teacher", "--drop-stale")


def test_a_row_that_was_changed_is_stale(study, capsys: pytest.CaptureFixture[str]) -> None:
    folder, call = study
    before = result_files(folder)
    (folder / "study.toml").write_text(HEAD.replace("[0, 3]", "[0]") + ROWS.replace("1e-3", "5e-3"))
    stale = ["the row 'slower'", "student.fit.lr was 0.001, is 0.005", "--drop-stale"]
    refused(capsys, [*call, *HERE], *stale)
    refused(capsys, [*call, *HERE, "--rows", "plain"], *stale)
    refused(capsys, [*call, *HERE, "--rows", "plain", "--drop-stale"], *stale)
    refused(capsys, [*call, "--table-only"], *stale)
    assert result_files(folder) == before, "a refusal changes nothing"
    assert main([*call, *HERE, "--drop-stale"]) == 0
    assert "1 trainings are done, 1 go in this process" in capsys.readouterr().out
    after = result_files(folder)
    assert {name for name in before if before[name] != after.get(name)} == {"slower/0-0.json"}
    assert json.loads(after["slower/0-0.json"])["recipe"]["student"]["fit"]["lr"] == 5e-3


def test_other_groups_or_data_are_refused(
    study, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, call = study
    before = result_files(folder)
    lines = (folder / "groups.csv").read_text().replace("benign (2).png,benign1", "benign (2).png,alone")
    (folder / "groups.csv").write_text(lines)
    said = "--drop-stale"
    refused(capsys, [*call, *HERE], said)
    shutil.copytree(phantoms, tmp_path / "more")
    shutil.copy(tmp_path / "more" / "benign" / "benign (1).png", tmp_path / "more" / "benign" / "benign (2).png")
    other = small_study(folder, tmp_path / "more")
    refused(capsys, [*other, *HERE], "was trained with other data (3 more results are so)", said)
    assert result_files(folder) == before


def test_a_training_that_fails_ends_no_study(
    tmp_path: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = '[[row]]\nname = "too big"\nchange.student.fit.batch = 500\n' + ROWS.partition('[[row]]\nname = "slower')[0]
    call = small_study(tmp_path, phantoms, rows, HEAD.replace("[0, 3]", "[0]"))
    assert main([*call, *HERE]) == 1
    said = capsys.readouterr().out
    assert "[1/2] too-big, seed 0, fold 0: FAILED: " in said
    assert "do not fill one batch of 500" in said.splitlines()[-1]
    assert list(result_files(tmp_path)) == ["plain/0-0.json"]
    assert "| too big | 0-0 |" in (tmp_path / "out" / "README.md").read_text()


def teach(folder: Path, phantoms: Path, value: float) -> None:
    """Cached answers to all phantoms, as a teacher would give them that saw none: `value` for the true class."""
    data = read_dataset(phantoms)
    recipe = read_study(folder / "study.toml").rows[0].recipe
    split = make_split(data, recipe.split, folder / "groups.csv")
    last = schema.dump(recipe)
    last["teacher"]["fit"]["select"] = "last"
    meta = CacheMeta(
        schema_version=SCHEMA_VERSION,
        data_name=data.name,
        data_fingerprint=data.fingerprint,
        synthetic=True,
        classes=("benign", "malignant", "normal"),
        preprocess=recipe.preprocess,
        augment=recipe.augment,
        view_seed=recipe.distill.view_seed,
        views=recipe.distill.views,
        names=tuple(p.name for p in data.pictures),
        trained={},
        groups_source=split.groups_source,
        recipe=schema.load(type(recipe), last, "recipe"),
        teacher_sha256="0" * 64,
        hardware=hardware(),
        versions=versions(),
    )
    labels = np.array([meta.classes.index(p.label) for p in data.pictures])
    logits = np.repeat(value * np.eye(3, dtype=np.float32)[labels][:, None], meta.views, axis=1)
    write_cache(folder / "answers" / "one.safetensors", meta, logits, looks_of(meta, data))


def test_rows_that_learn_from_cached_answers(
    tmp_path: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ROWS.replace('name = "slower"', 'name = "taught"\nteacher = "soft"\nsoft = ["answers"]')
    call = [*small_study(tmp_path, phantoms, rows, HEAD.replace("[0, 3]", "[0]")), *HERE]
    refused(capsys, call, "row 'taught', fold 0: ", "answers")
    assert not (tmp_path / "out" / "results").exists()
    teach(tmp_path, phantoms, 3.0)
    assert main(call) == 0
    told = what_was_said(result_files(tmp_path))
    assert told["plain/0-0.json"]["soft"] is None
    assert len(told["taught/0-0.json"]["soft"]) == 64
    # Committed results go on without the caches, but not beside other caches.
    shutil.move(tmp_path / "answers", tmp_path / "away")
    assert main(call) == 0
    teach(tmp_path, phantoms, 2.0)
    refused(capsys, call, "the row 'taught' was trained with other soft targets")
    assert main([*call, "--drop-stale"]) == 0
    again = what_was_said(result_files(tmp_path))
    assert again["taught/0-0.json"]["soft"] != told["taught/0-0.json"]["soft"]
    assert again["taught/0-0.json"]["test"] != told["taught/0-0.json"]["test"], "the answers are learnt from"
    assert again["plain/0-0.json"] == told["plain/0-0.json"]


def test_patients_need_groups(study, tmp_path: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(phantoms, tmp_path / "patients")
    (tmp_path / "patients" / "dataset.json").unlink()
    call = small_study(study[0], tmp_path / "patients")
    without = [word for word in call if word != "--groups" and not word.endswith("groups.csv")]
    refused(capsys, [*without, *HERE], "near-copies is not known", "--no-groups")
    refused(capsys, [*call, *HERE, "--no-groups"], "contradict each other")


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "out"):
        with pytest.raises(UserError, match="another command on this study is under way"), alone(tmp_path / "out"):
            pass
        assert list((tmp_path / "out").iterdir()) == []
    with alone(tmp_path / "out"):
        pass


def test_a_fault_of_our_own_is_no_failed_training(tmp_path: Path) -> None:
    def broken(item: str, away: bool) -> None:
        raise ZeroDivisionError(item)

    with pytest.raises(ZeroDivisionError):
        train(["x"], lambda tasks: pool.here(tasks, broken), tmp_path, False, print)


def test_an_interrupted_sweep_leaves_nothing_that_counts_as_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "plain" / "0-0-abc"
    for name in ("0-0-abc", "0-0-older", "0-1-other"):
        (folder.parent / name).mkdir(parents=True)
        (folder.parent / name / "meta.json").write_text("{}")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _sweep(folder)
    left = [path.name for path in folder.parent.iterdir()]
    assert sum(name.startswith("0-0") for name in left) == 1, "interrupted at the first of two"
    assert sum(name.startswith(".gone-0-0") for name in left) == 1
    (folder.parent / "0-0-abc").mkdir(exist_ok=True)  # trained again, or the one that was left
    (folder.parent / "0-0-older").mkdir(exist_ok=True)
    _sweep(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["0-1-other"]
