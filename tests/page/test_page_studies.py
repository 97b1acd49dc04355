"""Studies leave by browser and memory stick as they were saved; deleted ones are gone; other names reach nothing."""

import hashlib
import io
import zipfile
from pathlib import Path

import pydicom
import pytest
from page_served import play, serving

from device.page import studies as page_studies
from device.page.usb import sticks
from device.store import database
from device.store.store import Store

NONE = "00000000-0000-0000-0000-000000000000"


async def saved(browser, label: str) -> str:
    """A study with two pictures, which the daemon has open."""
    for _ in range(2):
        status, said = await browser.ask("POST", "/api/save", {"label": label})
        assert status == 200, said
    return said["study"]


def exported(folder: Path, study: str) -> str | None:
    store = Store(folder / "studies")
    try:
        return database.study(store.connection, study).exported
    finally:
        store.close()


def test_a_study_is_listed_shown_and_leaves_as_zip_and_dicom(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            study = await saved(browser, "zip")
            (row,) = (one for one in (await browser.ask("GET", "/api/studies"))[1]["studies"] if one["id"] == study)
            assert (row["open"], row["state"], row["items"], row["label"]) == (True, "open", 2, "zip")
            assert row["bytes"] > 0
            said = (await browser.ask("GET", f"/api/studies/{study}"))[1]
            assert [item["number"] for item in said["items"]] == [1, 2]
            assert "Research use only" in said["notice"]
            _, png, headers = await browser.raw(f"/api/studies/{study}/1.png")
            assert headers["Content-Type"] == "image/png"
            assert hashlib.sha256(png).hexdigest() == said["items"][0]["sha256"]
            # It ends when it leaves.
            status, data, headers = await browser.raw(f"/api/studies/{study}.zip")
            assert (status, headers["Content-Type"]) == (200, "application/zip")
            assert study[:8] in headers["Content-Disposition"]
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                sums = dict(reversed(line.split("  ")) for line in archive.read("SHA256SUMS").decode().splitlines())
                assert all(hashlib.sha256(archive.read(name)).hexdigest() == sums[name] for name in sums)
                assert len([name for name in sums if name.startswith("pictures/")]) == 2
            assert (await browser.ask("GET", f"/api/studies/{study}"))[1]["study"]["state"] == "ended"
            _, data, _ = await browser.raw(f"/api/studies/{study}.dicom.zip")
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                images = [
                    pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist() if "SC0" in name
                ]
            assert len(images) == 2
            assert all("Research use only" in image.ImageComments for image in images)
            await browser.until(lambda: exported(running.folder, study) is not None)

    play(scenario)


def test_a_deleted_study_is_gone_even_one_that_was_open(running) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            study = await saved(browser, "gone")
            status, said = await browser.ask("DELETE", f"/api/studies/{study}")
            assert (status, said["exported"]) == (200, False)
            for method, path in (("GET", ""), ("GET", "/1.png"), ("GET", ".zip"), ("DELETE", ""), ("POST", "/usb")):
                status, said = await browser.ask(method, f"/api/studies/{study}{path}")
                assert (status, said["code"]) in ((404, "no_study"), (409, "stick")), (method, path)
            assert not (running.folder / "studies/pictures" / study).exists()
            assert (await browser.ask("POST", "/api/save", {}))[0] == 200  # the daemon goes on with another one

    play(scenario)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..%2f..%2fetc",
            "../../etc",
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "studies.sqlite",
            NONE[:-1],
            NONE.upper()[:-1] + "G",
        ),
        *(f"{NONE}/../1.png", f"{NONE}/1.png.png", f"{NONE}/-1.png", f"{NONE}/1e3.png", f"{NONE}/9999999.png"),
        *("%00", "*", "a' OR '1'='1", f"{NONE}%0a", f"{NONE}.tar", NONE),
    ],
)
def test_other_names_reach_nothing(running, name: str) -> None:
    async def scenario() -> None:
        async with serving(running.config) as served:
            browser = await served.signed_in()
            for path in (name, f"{name}.zip", f"{name}/1.png", f"{name}/usb"):
                status, _, _ = await browser.raw(f"/api/studies/{path}")
                assert status in (404, 405), path
            status, _ = await browser.ask("DELETE", f"/api/studies/{name}")
            assert status == 404

    play(scenario)


def test_without_a_study_nothing_is_listed(alone: Path) -> None:
    async def scenario() -> None:
        async with serving(alone) as served:
            browser = await served.signed_in()
            status, said = await browser.ask("GET", "/api/studies")
            assert (status, said["studies"], said["used_bytes"], said["max_bytes"]) == (200, [], 0, 4_000_000_000)
            assert (await browser.ask("GET", f"/api/studies/{NONE}"))[1]["code"] == "no_studies"

    play(scenario)


def plug(root: Path, name: str, at: str, removable: str = "1", how: str = "rw,nosuid", bus: str = "usb1") -> Path:
    """A mounted partition as the kernel tells of it."""
    disk = root / "sys/devices" / bus / "block" / name[:3]
    (disk / name).mkdir(parents=True)
    (disk / "removable").write_text(f"{removable}\n")
    (disk / name / "partition").write_text("1\n")
    (root / "sys/class/block").mkdir(parents=True, exist_ok=True)
    (root / "sys/class/block" / name).symlink_to(disk / name)
    folder = root / at.lstrip("/")
    folder.mkdir(parents=True)
    (root / "proc").mkdir(exist_ok=True)
    with open(root / "proc/mounts", "a") as stream:
        stream.write(f"/dev/{name} {at.replace(' ', chr(92) + '040')} vfat {how} 0 0\n")
    return folder


def test_sticks_are_removable_and_mounted_where_sticks_are(tmp_path: Path) -> None:
    assert sticks(tmp_path) == []
    plug(tmp_path, "sda1", "/media/pi/MY STICK")
    plug(tmp_path, "sdb1", "/run/media/pi/B", removable="0")  # a large one calls itself fixed, but hangs on USB
    plug(tmp_path, "sdc1", "/media/pi/INNER", removable="0", bus="ata1")
    plug(tmp_path, "sdd1", "/boot/firmware")
    plug(tmp_path, "sde1", "/media/pi/LOCKED", how="ro,nosuid")
    with open(tmp_path / "proc/mounts", "a") as stream:
        stream.write(
            "/dev/sdz1 /media/none vfat rw 0 0\ntmpfs /media/t tmpfs rw 0 0\nshort\n/dev/../x /media/y vfat rw 0 0\n"
        )
    found = {one.name: one for one in sticks(tmp_path)}
    assert list(found) == ["sda1", "sdb1", "sde1"]
    assert (found["sda1"].label, found["sda1"].writable) == ("MY STICK", True)
    assert found["sda1"].folder == tmp_path / "media/pi/MY STICK"
    assert found["sda1"].free_bytes > 0
    assert found["sde1"].writable is False


def test_a_study_goes_to_a_stick_whole_and_counts_as_exported_only_then(
    running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with serving(running.config, root=tmp_path) as served:
            browser = await served.signed_in()
            study = await saved(browser, "stick")
            path = f"/api/studies/{study}/usb"
            assert (await browser.ask("GET", "/api/usb"))[1]["sticks"] == []
            status, said = await browser.ask("POST", path, {})
            assert (status, said["code"]) == (409, "stick")
            stick = plug(tmp_path, "sda1", "/media/pi/STICK")
            assert [one["name"] for one in (await browser.ask("GET", "/api/usb"))[1]["sticks"]] == ["sda1"]

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patched:
                patched.setattr(page_studies.shutil, "copyfile", full)
                status, said = await browser.ask("POST", path, {})
            assert (status, "No space left on device" in said["error"]) == (400, True)
            assert list(stick.iterdir()) == []
            assert exported(running.folder, study) is None
            status, said = await browser.ask("POST", path, {"stick": "sda1", "kind": "zip"})
            assert (status, [file.name for file in stick.iterdir()]) == (200, [said["file"]])
            assert zipfile.is_zipfile(stick / said["file"])
            assert exported(running.folder, study) is not None
            again = (await browser.ask("POST", path, {"kind": "dicom"}))[1]["file"]
            third = (await browser.ask("POST", path, {}))[1]["file"]
            assert {file.name for file in stick.iterdir()} == {said["file"], again, third}
            plug(tmp_path, "sdb1", "/media/pi/OTHER", how="ro")
            for wrong, code in (({}, "stick"), ({"stick": "sdb1"}, "read_only"), ({"stick": "../x"}, "stick")):
                assert (await browser.ask("POST", path, wrong))[1]["code"] == code
            assert (await browser.ask("POST", path, {"stick": "sda1", "kind": "exe"}))[0] == 400

    play(scenario)
