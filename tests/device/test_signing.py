"""Who made a bundle and whether anybody changed it: real keys, real bundles."""

import base64
import shutil
import stat
from pathlib import Path

import pytest

from device import main as command
from device import signing
from device.bundle import load_bundle
from device.errors import UserError


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert command.main(["convert", "keygen", str(tmp_path / "maker")]) == 0
    return tmp_path / "maker"


@pytest.fixture
def trusted(key: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "trusted"
    folder.mkdir()
    shutil.copy(key.with_name("maker.pub"), folder)
    return folder


@pytest.fixture
def signed(bundle_dir: Path, key: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_dir / "int8-full", folder)
    assert command.main(["convert", "sign", str(folder), "--key", str(key)]) == 0
    return folder


def test_a_signed_bundle_loads_and_says_by_whom(signed: Path, trusted: Path) -> None:
    assert load_bundle(signed, [trusted]).signed_by == "maker.pub"
    assert load_bundle(signed).signed_by is None


def test_the_signature_is_a_plain_ed25519_signature(signed: Path, key: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public = load_pem_public_key(key.with_name("maker.pub").read_bytes())
    signature = base64.b64decode((signed / "bundle.sig").read_bytes())
    public.verify(signature, (signed / "bundle.json").read_bytes())  # raises InvalidSignature
    assert len(signature) == 64


def test_one_changed_byte_of_either_file_is_refused(signed: Path, trusted: Path) -> None:
    meta, model = signed / "bundle.json", signed / "model.tflite"
    whole = meta.read_bytes()
    meta.write_bytes(whole.replace(b'"temperature": ', b'"temperature":  '))  # the same data, another byte
    with pytest.raises(UserError, match="altered since"):
        load_bundle(signed, [trusted])
    meta.write_bytes(whole)
    model.write_bytes(model.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(UserError, match="wrong"):
        load_bundle(signed, [trusted])


def test_another_maker_is_refused_and_one_of_several_is_enough(signed: Path, trusted: Path, tmp_path: Path) -> None:
    other = signing.new_key(tmp_path / "another")
    (trusted / "maker.pub").rename(tmp_path / "kept")
    shutil.copy(other, trusted)
    with pytest.raises(UserError, match="none of the keys"):
        load_bundle(signed, [trusted])
    shutil.copy(tmp_path / "kept", trusted / "zz.pub")
    assert load_bundle(signed, [trusted]).signed_by == "zz.pub"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "not signed"), (b"", "signed by none"), (b"no base64!", "not a readable signature")],
)
def test_without_a_whole_signature_it_is_refused(
    signed: Path, trusted: Path, content: bytes | None, sentence: str
) -> None:
    (signed / "bundle.sig").unlink()
    if content is not None:
        (signed / "bundle.sig").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        load_bundle(signed, [trusted])


def test_a_folder_without_usable_keys_is_refused(signed: Path, trusted: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trusted keys"):
        load_bundle(signed, [tmp_path / "nowhere"])
    (trusted / "a.pub").write_text("no key")
    with pytest.raises(UserError, match="not a readable public key"):
        load_bundle(signed, [trusted])


def test_the_private_key_is_the_owners_alone_and_never_written_over(key: Path, capsys) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert command.main(["convert", "keygen", str(key)]) == 2
    assert "never written over" in capsys.readouterr().err
    assert key.read_bytes() == before


def test_signing_needs_a_whole_bundle_and_a_private_key(signed: Path, key: Path, tmp_path: Path, capsys) -> None:
    public = key.with_name("maker.pub")
    assert command.main(["convert", "sign", str(signed), "--key", str(public)]) == 2
    assert "not a readable private key" in capsys.readouterr().err
    (signed / "model.tflite").unlink()
    (signed / "bundle.sig").unlink()
    assert command.main(["convert", "sign", str(signed), "--key", str(key)]) == 2
    assert not (signed / "bundle.sig").exists()
