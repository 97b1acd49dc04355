"""The unit's id is made once; passwords and keys are taken only from files that nobody else may read."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import device.fleet
from device.errors import UserError
from device.fleet import secrets
from device.fleet.identity import unit_id


def test_the_id_is_random_and_stays(tmp_path: Path) -> None:
    first = unit_id(tmp_path / "a")
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert unit_id(tmp_path / "a") == first
    assert unit_id(tmp_path / "b") != first
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["unit"]
    assert (tmp_path / "a/unit").stat().st_mode & 0o777 == 0o644


def test_of_many_who_come_first_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(unit_id, [tmp_path / "a"] * 32))) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["unit"]


def test_what_is_no_id_is_told(tmp_path: Path) -> None:
    (tmp_path / "unit").write_text("busi-kd/#\n")
    with pytest.raises(UserError, match=r"unit: holds no id of a unit; remove the file"):
        unit_id(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"give another folder as fleet\.state"):
        unit_id(tmp_path / "file" / "state")


def test_a_password_is_one_line_that_only_its_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(UserError, match="cannot be read"):
        secrets.password(path)
    for text, right in (("geheim \n", "geheim "), ("ü", "ü"), ("x\r\n", "x")):
        path.write_text(text, newline="")
        path.chmod(0o600)
        assert secrets.password(path) == right
    for mode in (0o640, 0o604, 0o620, 0o700 | 0o010):
        path.chmod(mode)
        with pytest.raises(UserError, match=r"others than its owner may use it; run: chmod 600") as error:
            secrets.password(path)
        assert "geheim" not in str(error.value)
    path.chmod(0o600)
    for data in (b"", b"\n", b"geheim\nzwei\n", b"geheim\xff", b"geheim" * 200):
        path.write_bytes(data)
        with pytest.raises(UserError, match="holds no password in one line") as error:
            secrets.password(path)
        assert "geheim" not in str(error.value)
    with pytest.raises(UserError, match="is no ordinary file"):
        secrets.password(tmp_path)


def test_systemd_hands_over_what_the_service_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed = tmp_path / "handed"
    handed.mkdir()
    (handed / "fleet-password").write_text("geheim\n")
    (handed / "fleet-password").chmod(0o440)  # so systemd does, with a list of who may
    monkeypatch.setenv(secrets.CREDENTIALS, str(handed))
    assert secrets.password(Path("/etc/busi-kd/fleet-password")) == "geheim"
    (handed / "fleet-password").write_text("\n")  # the unit's stand-in where there is no such file
    with pytest.raises(UserError, match="cannot be read"):
        secrets.password(tmp_path / "fleet-password")


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    device.fleet.need_extra()
    monkeypatch.setitem(device.fleet.NEEDED, "no_such_module", "no-such-package")
    with pytest.raises(UserError, match=r"needs the package no-such-package, .*; run: pip install 'busi-kd\[fleet\]'"):
        device.fleet.need_extra()


def test_nothing_of_the_extra_is_imported_without_need() -> None:
    """Neither by the daemon's modules nor by the commands' --help."""
    code = (
        "import sys, device.cli, device.run, device.daemon, device.fleet.cli, device.models_cli;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('paho', 'prometheus_client')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
