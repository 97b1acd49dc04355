"""The study file: what it says is what is trained, and what is wrong in it is said with the row's name."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_study import HEAD, study_file
from tiny_recipe import write_tiny_recipe

from device.errors import UserError
from train.recipe import load_recipe
from train.studies.grid.living import teacher_recipe
from train.studies.grid.study import read_study

LIVING = '[[row]]\nname = "a"\nteacher = "living"\n'
FEATURES = (
    'change.distill = { features = 1.0, feature_pairs = [{ student = "net.blocks.0", teacher = "backbones.0.net" }] }'
)
ROWS = """
[[row]]
name = "labels alone"
[[row]]
name = "A teacher's answers"
change = { distill.alpha = 0.3, student.fit.lr = 1e-3 }
teacher = "soft"
soft = ["caches/one", "caches/two"]
[[row]]
name = "and more flips"
base = "A teacher's answers"
change.augment = { flip = 0.25, rotate = 3.0 }
seeds = [5]
folds = [2]
[[row]]
name = "without the answers"
base = "and more flips"
against = "labels alone"
teacher = "none"
change.student.network.std = 0.3
"""


def test_rows_lie_over_one_another(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, ROWS))
    plain, soft, flips, without = study.rows
    demo = load_recipe("demo")
    assert plain.recipe == demo
    assert (soft.recipe.distill.alpha, soft.recipe.student.fit.lr) == (0.3, 1e-3)
    assert soft.recipe.distill.temperature == demo.distill.temperature, "beside the change all stays"
    assert soft.recipe.student.fit.epochs == demo.student.fit.epochs
    assert (flips.recipe.augment.flip, flips.recipe.augment.rotate) == (0.25, 3.0)
    assert flips.recipe.augment.gain == demo.augment.gain
    assert flips.recipe.distill == soft.recipe.distill, "on top of its base"
    assert without.recipe.student.network.std == 0.3
    assert without.recipe.student.network.name == demo.student.network.name
    assert soft.soft == flips.soft == (tmp_path / "caches" / "one", tmp_path / "caches" / "two")
    assert plain.soft == without.soft == ()
    assert [row.against for row in study.rows] == [None, "labels alone", "A teacher's answers", "labels alone"]
    assert [row.slug for row in study.rows] == [
        "labels-alone",
        "a-teacher-s-answers",
        "and-more-flips",
        "without-the-answers",
    ]
    assert study.row("and-more-flips") is study.row("and more flips") is flips


def test_a_living_teacher_is_inherited_and_can_be_left(tmp_path: Path) -> None:
    rows = f"""
[[row]]
name = "alone"
{LIVING}[[row]]
name = "layers"
base = "a"
{FEATURES}
[[row]]
name = "cached"
base = "a"
teacher = "soft"
soft = ["caches"]
[[row]]
name = "none"
base = "a"
teacher = "none"
change.student.network.std = 0.3
"""
    study = read_study(study_file(tmp_path, rows))
    assert [row.living for row in study.rows] == [False, True, True, False, False]
    assert [bool(row.soft) for row in study.rows] == [False, False, False, True, False]
    assert [row.against for row in study.rows] == [None, "alone", "a", "a", "a"]
    jobs = {(job.row.name, job.seed, job.fold): job for job in study.jobs()}
    one, other = (teacher_recipe(jobs[name, 0, 1].recipe) for name in ("a", "layers"))
    assert one == other, "what differs in the student alone shares a teacher"
    assert one not in (teacher_recipe(jobs["a", 1, 1].recipe), teacher_recipe(jobs["a", 0, 2].recipe))


def test_jobs_go_seed_by_seed_and_keep_the_split(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, ROWS))
    names = {row.slug: row.slug[0] + row.slug[1] for row in study.rows}
    told = [f"{names[job.row.slug]}{job.seed}{job.fold}" for job in study.jobs()]
    assert told == (
        "la00 la01 la02 a-00 a-01 a-02 wi00 wi01 wi02 la10 la11 la12 a-10 a-11 a-12 wi10 wi11 wi12 an52".split()
    )
    for job in study.jobs():
        split = job.recipe.split
        assert (split.test_fold, split.val_fold) == (job.fold, (job.fold + 1) % 5)
        assert split.seed == load_recipe("demo").split.seed, "else fold 0 would be other pictures"
        assert job.recipe.seed == job.seed


def test_a_recipe_beside_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_recipe(tmp_path / "mine.toml")
    path = study_file(tmp_path, '[[row]]\nname = "a"\n')
    path.write_text(path.read_text().replace('"demo"', '"mine.toml"'))
    monkeypatch.chdir(tmp_path.parent)
    assert read_study(path).rows[0].recipe.preprocess.height == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[row]]\nname = "a"\nchange.distill.alhpa = 1.0', r"row 'a': unknown key 'distill.alhpa' \(did you mean"),
        ('[[row]]\nname = "a"\nchange.distill.alpha = 2.0', r"row 'a': distill.*alpha in 0..1"),
        ('[[row]]\nname = "a"\nchange.augment = 3', r"row 'a': the key 'augment' must be a table"),
        ('[[row]]\nname = "a"\nchang.augment.flip = 1.0', r"study.toml: unknown key 'row\[0\].chang' \(did you mean"),
        ('[[row]]\nname = "a"\nchange.seed = 3', r"row 'a': change must not hold 'seed'"),
        ('[[row]]\nname = "a"\nchange.split.seed = 3', r"row 'a': change must not hold 'split.seed'"),
        ('[[row]]\nname = "a"\nchange.split.folds = 3', r"row 'a': change must not hold 'split.folds'"),
        ('[[row]]\nname = "a"\nbase = "b"\n[[row]]\nname = "b"', r"row 'a': no row 'b' stands above it"),
        ('[[row]]\nname = "a"\nagainst = "b"', r"row 'a': there is no other row 'b'"),
        ('[[row]]\nname = "a"\nagainst = "a"', r"row 'a': there is no other row 'a'"),
        ('[[row]]\nname = "a b"\n[[row]]\nname = "A-B"\nchange.augment.flip = 0.1', r"bears the name of the row 'a b'"),
        ('[[row]]\nname = "??"', r"has no letter or figure"),
        ('[[row]]\nname = "a"\n[[row]]\nname = "b"', r"row 'b': is the same training as 'a'"),
        ('[[row]]\nname = "a"\nteacher = "soft"', r"row 'a': teacher = .soft. needs the folders"),
        (f'[[row]]\nname = "a"\n{FEATURES}', r"row 'a': distill.features needs a teacher that is asked; add teacher"),
        ('[[row]]\nname = "a"\nteacher = "living"\nsoft = ["x"]', r"row 'a': soft names folders, but teacher is not"),
        ('[[row]]\nname = "Teachers"\n', r"row 'Teachers': the folder of this name is the living teachers'"),
        (f'{LIVING}[[row]]\nname = "b"\nteacher = "living"', r"row 'b': is the same training as 'a'"),
        ('[[row]]\nname = "a"\nsoft = ["x"]', r"row 'a': soft names folders, but teacher is not"),
        ('[[row]]\nname = "a"\nfolds = [5]', r"row 'a': folds: the recipe has no fold 5; there are 0..4"),
        ('[[row]]\nname = "a"\nseeds = []', r"row 'a': seeds \[\] must be one or more"),
        ('[[row]]\nname = "a"\nseeds = [1, 1]', r"row 'a': seeds \[1, 1\] must be one or more, each once"),
        ('[[row]]\nname = "a"\nseeds = [-1]', r"row 'a': seeds must lie in 0\.\."),
        ("row = []", r"there is no \[\[row\]\] in it"),
        ("row = [", r"not readable as TOML"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read_study(study_file(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"demo"', '"dmeo"', r"no recipe 'dmeo' \(did you mean 'demo'\?\)"),
        ('"demo"', '"none.toml"', r"none.toml: no such recipe file"),
        ("decide = [1, 2]", "decide = [7]", r"decide: the recipe has no fold 7"),
        ("folds = [0, 1, 2]", "folds = [9]", r"folds: the recipe has no fold 9"),
        ("seeds = [0, 1]", "sedes = [0, 1]", r"unknown key 'sedes' \(did you mean 'seeds'\?\)"),
    ],
)
def test_what_is_wrong_at_the_top_is_said(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = study_file(tmp_path, '[[row]]\nname = "a"\n')
    assert old in HEAD
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=said):
        read_study(path)


def test_a_leaky_recipe_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "leaky.toml", ("seed = 3", 'seed = 3\nsplit.protocol = "random"'))
    path = study_file(tmp_path, '[[row]]\nname = "a"\n')
    path.write_text(path.read_text().replace('"demo"', '"leaky.toml"'))
    with pytest.raises(UserError, match="splits by 'random'; use 'grouped'"):
        read_study(path)
    with pytest.raises(UserError, match=re.escape("gone.toml: no such study file")):
        read_study(tmp_path / "gone.toml")


_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.text("ab", max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)),
    max_leaves=3,
)
_KEYS = st.sampled_from(["augment", "flip", "student", "fit", "lr", "epochs", "split", "val_parts", "seed", "distill"])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value!r}"


@settings(deadline=None, max_examples=150)
@given(change=st.recursive(_VALUES, lambda inner: st.dictionaries(_KEYS, inner, min_size=1, max_size=2), max_leaves=4))
def test_any_change_is_taken_or_refused_in_one_sentence(
    change: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = study_file(tmp_path_factory.mktemp("any"), f'[[row]]\nname = "a"\nchange = {_toml(change)}\n')
    refusal, rows = "", ()
    try:
        rows = read_study(path).rows
    except UserError as error:
        refusal = str(error)
    assert bool(refusal) != bool(rows)
    assert len(refusal.splitlines()) <= 1
    assert not refusal or "study.toml" in refusal
    for row in rows:
        assert (row.recipe.seed, row.recipe.split.seed) == (0, 0)
