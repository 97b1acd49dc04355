"""The cache of the emulated machine and what is said when there is none; nothing is fetched here."""

from pathlib import Path

import machine
import pytest

from device.errors import UserError


def test_what_was_built_is_kept_and_what_is_of_an_older_recipe_goes(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("whole")

    old = machine.kept(tmp_path, "old", build)
    assert (old / "file").read_text() == "whole"
    new = machine.kept(tmp_path, "new", build)
    assert machine.kept(tmp_path, "new", lambda folder: pytest.fail("built twice")) == new
    assert (new / "file").read_text() == "whole"
    assert not old.exists()


def test_a_build_that_is_broken_off_leaves_nothing_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").touch()
        raise UserError("the network went away")

    with pytest.raises(UserError, match="went away"):
        machine.kept(tmp_path, "name", broken)
    (tmp_path / ".name.killed").mkdir()  # what a SIGKILL leaves behind
    assert not (tmp_path / "name").exists()
    assert list(machine.kept(tmp_path, "name", lambda folder: (folder / "whole").touch()).iterdir()) == [
        tmp_path / "name" / "whole"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"name", "lock"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-command"], "no-such-command: cannot be started.*needs Debian's apt"),
        (["sh", "-c", "echo E: no network >&2; exit 100"], "apt-get update failed with status 100.*E: no network"),
    ],
)
def test_what_cannot_be_fetched_is_said_with_the_way_out(command: list[str | Path], said: str) -> None:
    with pytest.raises(UserError, match=f"(?s){said}") as error:
        machine.run("apt-get update", command, machine.MEND)
    assert f"set {machine.OFF}=1 to go without" in str(error.value)


def test_a_machine_that_is_no_x86_64_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    with pytest.raises(UserError, match=f"on x86-64 Linux only; set {machine.OFF}=1"):
        machine.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []
