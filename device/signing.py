"""Ed25519 signatures of model bundles (RFC 8032): who made this model, and has anybody changed it since.

`bundle.sig` is the signature of bundle.json's bytes in base64; bundle.json holds the hash of every other file, so the
whole bundle is covered. A device trusts public keys (PEM files, *.pub); device/trust.py says which.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path

from device import files
from device.errors import UserError

SIGNATURE_FILE = "bundle.sig"


class NotTrusted(UserError):
    """No trusted key stands behind a bundle; whether it would load is another question."""


def new_key(path: Path) -> Path:
    """Make a key pair: the private key at `path`, readable by its owner alone, the public one beside it as `.pub`.

    Returns the public key's path. Raises UserError when one of the two files exists.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if file.exists():
            raise UserError(f"{file}: is there already; a key is never written over, choose another name.")
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made with its final rights: between a write and a chmod anybody could read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    public_bytes = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    files.write_bytes(public, public_bytes)
    return public


def sign(signed: bytes, folder: Path, private_key: Path) -> None:
    """Write the signature of `signed`, the bytes of bundle.json, into the bundle's folder.

    Raises UserError as `signature_of` does.
    """
    files.write_bytes(folder / SIGNATURE_FILE, signature_of(signed, private_key))


def signature_of(signed: bytes, private_key: Path) -> bytes:
    """The signature of `signed` as a line of base64. Raises UserError for a key that is missing or no Ed25519 one."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(
            f"{private_key}: not a readable private key ({error}); make one with convert keygen."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{private_key}: not an Ed25519 key; make one with convert keygen.")
    return base64.b64encode(key.sign(signed)) + b"\n"


def check(signed: bytes, folder: Path, trusted: Sequence[Path]) -> str:
    """The name of the trusted key that signed `signed`, the bytes of the bundle's bundle.json.

    trusted: folders of keys; one that is missing holds none. New keys belong into the last, which messages name.
    Raises NotTrusted: no trusted keys or unreadable ones, no signature, or one by none of them (altered, or another
    maker).
    """
    keys = _keys(trusted)
    path = folder / SIGNATURE_FILE
    if not path.is_file():
        raise NotTrusted(
            f"{folder}: this bundle is not signed; sign it on the host (busi-kd convert sign {folder} --key KEY) and "
            f"copy KEY.pub into {trusted[-1]}, or allow it with --allow-unsigned."
        )
    try:
        name = _signer(signed, path.read_bytes(), keys)
    except (OSError, binascii.Error) as error:
        raise NotTrusted(f"{path}: not a readable signature ({error}); copy the bundle again.") from error
    if name is None:
        where = " and ".join(map(str, trusted))
        raise NotTrusted(
            f"{folder}: signed by none of the keys in {where}, or altered since; get the bundle again, or, when its "
            f"maker is new here, copy the maker's public key into {trusted[-1]}."
        )
    return name


def signer(signed: bytes, signature: bytes, trusted: Sequence[Path]) -> str | None:
    """The name of the trusted key behind `signature` (base64) of `signed`; None: it is none, or by none of them.

    trusted: as for `check`. Raises NotTrusted where there are no trusted keys or unreadable ones.
    """
    try:
        return _signer(signed, signature, _keys(trusted))
    except binascii.Error:
        return None


def _signer(signed: bytes, signature: bytes, keys: list[Path]) -> str | None:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = base64.b64decode(signature.strip(), validate=True)
    for file in keys:
        try:
            key = load_pem_public_key(file.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise NotTrusted(f"{file}: not a readable public key ({error}); replace or remove it.") from error
        if not isinstance(key, Ed25519PublicKey):
            raise NotTrusted(f"{file}: not an Ed25519 public key; replace or remove it.")
        try:
            key.verify(raw, signed)
        except InvalidSignature:
            continue
        return file.name
    return None


def _keys(trusted: Sequence[Path]) -> list[Path]:
    keys = [file for place in trusted for file in _keys_in(place)]
    if not keys:
        where = " and ".join(map(str, trusted))
        raise NotTrusted(f"{where}: no trusted keys (*.pub) there; copy the model maker's public key into it.")
    return keys


def _keys_in(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix == ".pub")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:  # glob() would hide this behind "no keys"
        raise NotTrusted(f"{folder}: cannot be read ({error.strerror}); correct its permissions.") from error
