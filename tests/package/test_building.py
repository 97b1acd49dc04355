"""How a package is built: the same twice, with the right fields, files, owners and scripts; and what is refused."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import archive
import build
import made
import pytest
import roots
import staging
import wheels
from hypothesis import given, settings
from hypothesis import strategies as st
from target import ARCHES, HERE, PREFIX, ROOT, SUITES, Target

from device.errors import UserError

TARGETS = [Target(suite, arch) for suite in SUITES.values() for arch in ARCHES.values()]
BUILT = 1_700_000_000
BOOKWORM = TARGETS[0]


def built(folder: Path, target: Target = BOOKWORM, name: str = "once", date: int = BUILT) -> Path:
    """A package of the small checkout, each in a folder of its own name."""
    source = folder / "checkout"
    if not source.exists():
        made.checkout(source)
    found = made.some_wheels(folder / "wheels", target)
    return archive.build(target, source, found, folder / name, folder / f"work-{name}", date, "xz")


def read(package: Path, what: str) -> tarfile.TarFile:
    """The archive of a package's files (`--fsys-tarfile`) or of its control files (`--ctrl-tarfile`)."""
    import io

    done = subprocess.run(["dpkg-deb", what, package], capture_output=True, check=True)
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_two_builds_are_the_same_to_the_byte(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(tmp_path, target)
    os.utime(tmp_path / "checkout/device/main.py", (1, 1))
    (tmp_path / "checkout/device/main.py").chmod(0o600)
    monkeypatch.setenv("LC_ALL", "C")
    old = os.umask(0o077)
    try:
        second = built(tmp_path, target, "twice")
    finally:
        os.umask(old)
    assert first.name == second.name == f"busi-kd_1.2.3~deb{target.suite.number}_{target.arch.name}.deb"
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    assert not list(tmp_path.glob("work-*/*"))
    assert first.read_bytes() != built(tmp_path, target, "later", BUILT + 1).read_bytes()


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_files_lie_where_they_belong_and_are_roots(target: Target, tmp_path: Path) -> None:
    package = built(tmp_path, target)
    with read(package, "--fsys-tarfile") as files:
        held = {one.name.removeprefix("./"): one for one in files if one.name != "./"}
        unit = files.extractfile(f"./{target.suite.lib}/systemd/system/busi-kd.service").read().decode()
        programs = {f"{PREFIX}/bin/busi-kd", f"{PREFIX}/launch"}
        watched = files.extractfile(f"./{target.suite.lib}/systemd/system/busi-kd.service.d/50-updates.conf").read()
        version = files.extractfile(f"./{PREFIX}/version").read().decode()
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in held.values()} == {
        (0, 0, "root", "root", BUILT)
    }
    assert {one.mode for one in held.values() if one.isdir()} == {0o755}
    assert {name for name, one in held.items() if one.isfile() and one.mode != 0o644} == programs
    assert version == f"1.2.3~deb{target.suite.number} {target} {BUILT}\n"
    assert watched.count(b"=+/usr/lib/busi-kd/launch --") == 2  # the path at which it lies
    names = {name for name, one in held.items() if not one.isdir()}
    site = target.site
    assert {f"{site}/fast/_fast.so", f"{site}/plain.py", f"{site}/extra/__init__.py", f"{site}/device/main.py"} <= names
    assert f"{site}/device/models/one/bundle.json" in names
    assert {f"{target.suite.lib}/udev/rules.d/70-busi-kd.rules", "etc/busi-kd/config.toml"} <= names
    assert not [name for name in names if re.search(r"\.pyc$|\.pyi$|\.h$|/tests/|/train/|/convert/|scripts", name)]
    assert held[f"{PREFIX}/bin/python"].linkname == f"/usr/bin/python{target.suite.python}"
    assert held["usr/bin/busi-kd"].linkname == "../lib/busi-kd/launch"
    assert "ExecStart=/usr/bin/busi-kd device run" in unit
    assert "/opt/" not in "".join(line for line in unit.splitlines(True) if not line.startswith("#"))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_control_files_say_what_it_is(target: Target, tmp_path: Path) -> None:
    package = built(tmp_path, target)

    def field(name: str) -> str:
        return subprocess.run(
            ["dpkg-deb", "-f", package, name], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert (field("Package"), field("Architecture")) == ("busi-kd", target.arch.name)
    assert field("Version") == f"1.2.3~deb{target.suite.number}"
    assert f"python{target.suite.python}" in field("Depends").split(", ")
    assert "Research use only. Not a medical device, never a diagnosis." in field("Description")
    assert 50 < int(field("Installed-Size")) < 500  # KiB
    with read(package, "--ctrl-tarfile") as files:
        held = {one.name.removeprefix("./"): files.extractfile(one).read() for one in files if one.isfile()}
        modes = {one.name.removeprefix("./"): one.mode for one in files if one.isfile()}
    assert held["conffiles"] == b"/etc/busi-kd/config.toml\n"
    assert {name for name, mode in modes.items() if mode == 0o755} == set(archive.SCRIPTS)
    assert b"@" not in b"".join(held[name].replace(b'"$@"', b"") for name in archive.SCRIPTS)
    with read(package, "--fsys-tarfile") as files:
        sums = dict(reversed(line.split("  ")) for line in held["md5sums"].decode().splitlines())
        for one in files:
            if one.isfile() and one.name != "./etc/busi-kd/config.toml":
                assert sums.pop(one.name[2:]) == hashlib.md5(files.extractfile(one).read()).hexdigest()
        assert sums == {}


def test_the_maintainer_scripts_are_sound_and_name_the_units(tmp_path: Path) -> None:
    for name in archive.SCRIPTS:
        script = tmp_path / name
        script.write_text(archive.script(name, ROOT))
        assert script.read_text().startswith("#!/bin/sh\nset -e\n")
        subprocess.run(["sh", "-n", script], check=True)
        done = subprocess.run([roots.program("shellcheck"), "--shell=dash", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    for other in (HERE / "busi-kd", ROOT / "tests/package/guest.sh"):
        done = subprocess.run(
            [roots.program("shellcheck"), "--exclude=SC2046,SC2119,SC2120", other], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
    prerm, postinst = archive.script("prerm", ROOT), archive.script("postinst", ROOT)
    for unit in staging.units(ROOT):
        assert unit.name in prerm
    assert set(staging.STARTED) <= set(staging.installable(ROOT))
    assert "busi-kd-kiosk.service" in staging.installable(ROOT)
    assert "busi-kd-kiosk.service" not in staging.STARTED
    assert f'\nstarted=" {" ".join(staging.STARTED)} "\n' in postinst


def test_lintian_finds_no_error(tmp_path: Path) -> None:
    """Of all but the wheels' own files, which it takes a minute to look through: docs/install.md."""
    source, pure = made.checkout(tmp_path / "checkout"), made.some_wheels(tmp_path / "wheels", BOOKWORM)[1:]
    package = archive.build(BOOKWORM, source, pure, tmp_path / "out", tmp_path / "work", BUILT, "xz")
    command = [roots.program("lintian"), "--fail-on", "error", "--allow-root", package]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_unit_is_packaged_by_lying_there(tmp_path: Path) -> None:
    source = made.checkout(tmp_path / "checkout")
    (source / "systemd").unlink()
    shutil.copytree(ROOT / "systemd", source / "systemd")
    (source / "systemd/busi-kd-new.socket").write_text(
        "[Socket]\nListenStream=/run/x\n[Install]\nWantedBy=sockets.target\n"
    )
    package = built(tmp_path)
    with read(package, "--fsys-tarfile") as files:
        assert "./lib/systemd/system/busi-kd-new.socket" in files.getnames()
    assert "busi-kd-new.socket" in staging.installable(source)
    assert "busi-kd-new.socket" in archive.script("postinst", source)


def test_what_is_not_good_is_refused_with_its_name(tmp_path: Path) -> None:
    other = made.wheel(tmp_path, "other", "py3-none-any", {"other/x.so": made.elf(ARCHES["arm64"].elf)})
    climbing = made.wheel(tmp_path, "climbing", "py3-none-any", {"a/../../../etc/passwd": b"x"})
    for wheel, why in ((other, "other/x.so is for another processor"), (climbing, "leads elsewhere")):
        with pytest.raises(UserError, match=why):
            wheels.unpack(wheel, tmp_path / "site", ARCHES["amd64"].elf)
    assert not (tmp_path.parent / "etc").exists()
    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==1.0\n")
    with pytest.raises(UserError, match="no NAME==VERSION with hashes"):
        wheels.read_lock(lock)


def test_the_lock_files_pin_what_the_device_needs_and_constraints_say() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["dicom"],
        *project["optional-dependencies"]["fleet"],
    ]
    pinned = (ROOT / "constraints.txt").read_text()
    for suite in SUITES.values():
        pins = {pin.name: pin for pin in wheels.read_lock(suite.lock)}
        for need in wanted:
            assert re.match(r"[\w.-]+", need)[0].lower().replace("_", "-") in pins, need
        for pin in pins.values():
            name = "[-_.]".join(map(re.escape, pin.name.split("-")))
            pattern = rf"^{name}=={re.escape(pin.version)}( *;.*)?$"
            assert re.search(pattern, pinned, re.MULTILINE | re.IGNORECASE), f"{suite.name}: {pin.name} {pin.version}"
            assert len(pin.hashes) <= len(ARCHES)


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
HASHES = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=3, unique=True)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", fullmatch=True), HASHES)))
def test_a_lock_file_reads_back(wanted: dict[str, tuple[str, list[str]]]) -> None:
    import tempfile

    text = "# a comment\n" + "".join(
        " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in hashes)]) + "\n"
        for name, (version, hashes) in wanted.items()
    )
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        found = wheels.read_lock(Path(file.name))
    assert [(pin.name, pin.version, pin.hashes) for pin in found] == [
        (name, version, frozenset(hashes)) for name, (version, hashes) in wanted.items()
    ]


@pytest.mark.parametrize(
    ("name", "bookworm", "trixie"),
    [
        ("a-1-py3-none-any.whl", True, True),
        ("a-1-py2.py3-none-any.whl", True, True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True, False),
        ("a-1-cp313-cp313-manylinux_2_28_x86_64.whl", False, True),
        ("a-1-cp37-abi3-manylinux_2_17_x86_64.whl", True, True),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", False, False),
        ("a-1-cp311-cp311-manylinux_2_40_x86_64.whl", False, False),
        ("a-1-cp39-abi3-manylinux_2_40_x86_64.whl", False, True),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", False, False),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False, False),
        ("a-1-cp311-cp311-macosx_11_0_arm64.whl", False, False),
    ],
)
def test_which_wheels_fit(name: str, bookworm: bool, trixie: bool) -> None:
    amd64 = ARCHES["amd64"]
    assert wheels.fits(Path(name), Target(SUITES["bookworm"], amd64)) == bookworm
    assert wheels.fits(Path(name), Target(SUITES["trixie"], amd64)) == trixie


def test_the_date_is_the_last_commits_unless_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567")
    assert build.build_date(tmp_path) == 1234567
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="set SOURCE_DATE_EPOCH"):
        build.build_date(tmp_path)
