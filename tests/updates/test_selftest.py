"""The model's self-test: stored phantoms, and the bytes that a model must answer."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from device import installed, selftest, shipped, trust
from device.bundle import Bundle, load_bundle, sign_bundle, write_bundle
from device.errors import UserError
from device.phantom import CLASSES
from device.runtime import open_bundle
from device.trust import Trust


@pytest.fixture
def recorded(bundle_dir: Path, maker_key: Path, tmp_path: Path) -> Bundle:
    """The int8 bundle with its answers on record, signed."""
    tiny = load_bundle(bundle_dir / "int8-full")
    meta = replace(tiny.meta, answers=selftest.answers(open_bundle(tiny)))
    write_bundle(tmp_path / "recorded", tiny.model_path, meta)
    sign_bundle(tmp_path / "recorded", maker_key)
    return load_bundle(tmp_path / "recorded")


def altered(bundle: Bundle, key: Path, **change: object) -> Bundle:
    """The bundle with other answers, signed."""
    meta = replace(bundle.meta, answers=replace(bundle.meta.answers, **change))
    write_bundle(bundle.folder, bundle.model_path, meta)
    sign_bundle(bundle.folder, key)
    return load_bundle(bundle.folder)


def test_the_frames_are_those_of_the_record() -> None:
    assert [frame.shape for frame in selftest.frames()] == [(256, 256)] * len(CLASSES)
    assert (
        selftest.fingerprint() == "3660adfe3835"
    )  # other frames: every record of answers is void, so never change them


def test_the_model_that_ships_answers_as_it_did() -> None:
    for folder in shipped.shipped():
        bundle, _ = trust.load(folder, Trust((trust.SHIPPED_KEYS,)))
        assert selftest.check(bundle, open_bundle(bundle)) is True


def test_only_an_8_bit_output_is_recorded(bundle_dir: Path, recorded: Bundle) -> None:
    assert selftest.answers(open_bundle(load_bundle(bundle_dir / "float32"))) is None
    rows = recorded.meta.answers.outputs
    assert len(rows) == len(CLASSES)
    assert all(-128 <= one <= 127 for row in rows for one in row)
    assert len(set(rows)) > 1  # that the frames tell models apart


def test_a_model_that_answers_as_recorded_is_installed(recorded: Bundle, trusted_keys: Path, tmp_path: Path) -> None:
    bundle, _ = installed.install(recorded.folder, tmp_path / "models", Trust((trusted_keys,)))
    assert bundle.id == recorded.id
    assert selftest.check(bundle, open_bundle(bundle)) is True


def test_a_model_that_answers_otherwise_by_one_step_is_refused(
    recorded: Bundle, maker_key: Path, trusted_keys: Path, bundle_dir: Path, tmp_path: Path
) -> None:
    models, whom = tmp_path / "models", Trust((trusted_keys,))
    installed.install(bundle_dir / "float32", models, whom)
    first, *others = recorded.meta.answers.outputs
    changed = (first[0] + (1 if first[0] < 127 else -1), *first[1:])
    wrong = altered(recorded, maker_key, outputs=(changed, *others))
    with pytest.raises(UserError, match="SELF-TEST FAILED"):
        installed.install(wrong.folder, models, whom)
    assert load_bundle(installed.current(models)).meta.variant == "float32"
    with pytest.raises(UserError, match="SELF-TEST FAILED"):  # a frame too few is no record either
        installed.install(altered(wrong, maker_key, outputs=tuple(others)).folder, models, whom)


@pytest.mark.parametrize("change", [{"frames": "0" * 12}, {"interpreter": "tflite-runtime"}])
def test_what_cannot_be_compared_is_tried_only(
    change: dict, recorded: Bundle, maker_key: Path, trusted_keys: Path, tmp_path: Path
) -> None:
    first, *others = recorded.meta.answers.outputs
    other = altered(recorded, maker_key, outputs=((first[0] ^ 1, *first[1:]), *others), **change)
    assert selftest.check(other, open_bundle(other)) is None
    installed.install(other.folder, tmp_path / "models", Trust((trusted_keys,)))


def test_a_bundle_without_a_record_still_loads(bundle_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "old"))
    data = json.loads((folder / "bundle.json").read_text())
    del data["answers"]  # as bundles were written before
    (folder / "bundle.json").write_text(json.dumps(data))
    old = load_bundle(folder)
    assert old.meta.answers is None
    assert selftest.check(old, open_bundle(old)) is None


def test_answers_that_do_not_fit_the_classes_do_not_load(recorded: Bundle) -> None:
    with pytest.raises(ValueError, match="outputs must have 3"):
        replace(recorded.meta, answers=replace(recorded.meta.answers, outputs=((1, 2),)))


def test_a_damaged_frame_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    selftest.frames.cache_clear()
    monkeypatch.setattr(selftest, "FOLDER", tmp_path)
    with pytest.raises(UserError, match="install busi-kd again"):
        selftest.frames()
    monkeypatch.undo()
    selftest.frames.cache_clear()
