"""Whom a device believes: by default only who is trusted, and what it is told otherwise it says aloud."""

import base64
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import main as command
from device import trust
from device.bundle import load_bundle
from device.errors import UserError
from device.signing import NotTrusted
from device.trust import Trust

RUN = ["device", "run", "--duration", "0.2", "--bundle"]
SHOW = ["device", "show"]


@pytest.fixture
def signed(bundle_dir: Path, tmp_path: Path) -> Path:
    """A copy of a signed bundle, to be spoilt."""
    return Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "bundle"))


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose two folders of keys are empty or missing: `shipped` and `machine` below what is returned."""
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(trust, "SHIPPED_KEYS", tmp_path / "shipped")
    monkeypatch.setattr(trust, "MACHINE_KEYS", tmp_path / "machine")
    return tmp_path


def drop_signature(folder: Path) -> None:
    (folder / "bundle.sig").unlink()


def alter_metadata(folder: Path) -> None:
    meta = folder / "bundle.json"
    meta.write_bytes(meta.read_bytes().replace(b'"temperature": ', b'"temperature":  '))  # the same data, another byte


def alter_model(folder: Path) -> None:
    model = folder / "model.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"\xa5")


def alter_signature(folder: Path) -> None:
    (folder / "bundle.sig").write_bytes(base64.b64encode(bytes(64)))


SPOILT = [
    (drop_signature, "is not signed; sign it on the host (busi-kd convert sign "),
    (alter_metadata, "or altered since"),
    (alter_model, "wrong hash"),
    (alter_signature, "signed by none of the keys in "),
]


@pytest.mark.parametrize("first", [RUN, SHOW])
@pytest.mark.parametrize(("spoil", "why"), SPOILT)
def test_what_is_not_signed_or_altered_is_refused_by_default(
    first: list[str], spoil, why: str, signed: Path, no_keys: Path, trusted_keys: Path, capsys
) -> None:
    shutil.copytree(trusted_keys, no_keys / "machine")
    assert command.main([*first, str(signed)]) == 0
    capsys.readouterr()
    spoil(signed)
    assert command.main([*first, str(signed)]) == 2
    out, err = capsys.readouterr()
    (sentence,) = [line for line in err.splitlines() if line.startswith("busi-kd: ")]
    assert out == ""
    assert why in sentence
    assert str(signed) in sentence


def test_the_refusal_says_what_to_do(signed: Path, no_keys: Path, trusted_keys: Path) -> None:
    whom = Trust((trusted_keys, no_keys / "machine"))
    drop_signature(signed)
    with pytest.raises(NotTrusted) as refused:
        trust.load(signed, whom)
    assert f"convert sign {signed} --key KEY" in str(refused.value)
    assert f"copy KEY.pub into {no_keys / 'machine'}, or allow it with --allow-unsigned." in str(refused.value)


@pytest.mark.parametrize("source", ["shipped", "machine", "option"])
def test_each_source_of_keys_is_enough(source: str, signed: Path, no_keys: Path, trusted_keys: Path, capsys) -> None:
    assert command.main([*RUN, str(signed)]) == 2
    assert f"{no_keys}/shipped and {no_keys}/machine: no trusted keys" in capsys.readouterr().err
    shutil.copytree(trusted_keys, no_keys / source, dirs_exist_ok=True)
    options = ["--trusted-keys", str(no_keys / source)] if source == "option" else []
    assert command.main([*RUN, str(signed), *options]) == 0
    assert "from=option signed_by=maker.pub " in capsys.readouterr().out


def test_the_option_replaces_both_folders(signed: Path, no_keys: Path, trusted_keys: Path, capsys) -> None:
    for name in ("shipped", "machine"):
        shutil.copytree(trusted_keys, no_keys / name, dirs_exist_ok=True)
    (no_keys / "own").mkdir()
    assert command.main([*RUN, str(signed), "--trusted-keys", str(no_keys / "own")]) == 2
    assert f"{no_keys}/own: no trusted keys" in capsys.readouterr().err


def test_a_key_that_is_removed_is_trusted_no_more(signed: Path, no_keys: Path, trusted_keys: Path) -> None:
    machine = Path(shutil.copytree(trusted_keys, no_keys / "machine"))
    command.main(["convert", "keygen", str(no_keys / "new")])
    shutil.copy(no_keys / "new.pub", machine)
    assert load_bundle(signed, [machine]).signed_by == "maker.pub"
    (machine / "maker.pub").unlink()
    with pytest.raises(NotTrusted):
        load_bundle(signed, [machine])
    assert command.main(["convert", "sign", str(signed), "--key", str(no_keys / "new")]) == 0
    assert load_bundle(signed, [machine]).signed_by == "new.pub"


@pytest.mark.parametrize("spoil", [drop_signature, alter_metadata, alter_signature])
def test_what_is_allowed_is_said_aloud(spoil, signed: Path, trusted_keys: Path, capsys) -> None:
    options = ["--trusted-keys", str(trusted_keys), "--allow-unsigned"]
    assert command.main([*RUN, str(signed), *options]) == 0
    assert "UNSIGNED" not in capsys.readouterr().out  # what is signed stays so
    spoil(signed)
    assert command.main([*RUN, str(signed), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "signed_by=none" in lines[1]
    (said,) = [line for line in lines if line.startswith("UNSIGNED: ")]
    assert said.endswith("; it is used all the same, because of --allow-unsigned.")
    assert command.main([*SHOW, str(signed), *options]) == 0
    out, err = capsys.readouterr()
    assert '"signed_by": null' in out
    assert said in err.splitlines()


def test_what_is_allowed_must_load_all_the_same(signed: Path, tmp_path: Path, capsys) -> None:
    alter_model(signed)
    assert command.main([*RUN, str(signed), "--allow-unsigned"]) == 2
    assert "wrong hash" in capsys.readouterr().err
    assert command.main([*RUN, str(tmp_path / "absent"), "--allow-unsigned"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_no_folder_at_all_trusts_nobody(signed: Path) -> None:
    with pytest.raises(NotTrusted):
        load_bundle(signed, [])


def test_a_folder_of_keys_that_cannot_be_read_is_not_an_empty_one(
    signed: Path, trusted_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(folder: Path):
        if folder == tmp_path / "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    real = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(NotTrusted, match="closed: cannot be read"):
        load_bundle(signed, [trusted_keys, tmp_path / "closed"])


def test_the_signature_goes_before_everything_else(signed: Path, trusted_keys: Path) -> None:
    """Not one byte of an altered bundle.json is believed, not even as JSON."""
    (signed / "bundle.json").write_bytes(b"[" * 100_000)
    with pytest.raises(NotTrusted, match="altered since"):
        load_bundle(signed, [trusted_keys])


@settings(max_examples=150, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255), name=st.sampled_from(["json", "sig"]))
def test_any_flipped_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, bundle_dir: Path, trusted_keys: Path, at: float, flipped: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    for file in (bundle_dir / "int8-full").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spoilt = folder / f"bundle.{name}"
    data = bytearray(spoilt.read_bytes())
    data[int(at * len(data))] ^= flipped
    before = base64.b64decode(spoilt.read_bytes()) if name == "sig" else b""
    spoilt.write_bytes(data)
    try:
        load_bundle(folder, [trusted_keys])
    except UserError:
        return
    # base64 has spare bits at its end, and blanks around it are none of its own: still the very same signature
    assert base64.b64decode(bytes(data)) == before
