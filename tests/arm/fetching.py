"""What emulated machines are made of, fetched from Debian without installing anything, and kept in `.cache`."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from device.errors import UserError
from device.files import folder_beside

ROOT = Path(__file__).resolve().parents[2]


def recipe_name(recipe: Path) -> str:
    """The name under which what `recipe` (a source file) builds is kept: another recipe or pin gives another name."""
    parts = [path.read_bytes() for path in (recipe, Path(__file__), ROOT / "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, sys.version.partition(" ")[0].encode()])).hexdigest()[:12]


def kept(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The folder `cache`/`name`, filled by `build` at the first call; a build that was killed leaves nothing there.

    One process builds at a time, and whatever else lies in `cache` (older ones, halves) is deleted then.
    """
    folder = cache / name
    with _alone(cache):
        if not folder.is_dir():
            for left in cache.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            with folder_beside(folder) as aside:
                build(aside)
                os.replace(aside, folder)
    return folder


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def apt_get(folder: Path, mend: str) -> list[str | Path]:
    """The beginning of an apt-get command with a state of its own in `folder`, its lists fetched.

    It knows the machine's own package sources, for arm64 and amd64, and takes nothing for installed. mend: what to do
    when that fails.
    """
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "status").touch()  # an empty machine: apt fetches dependencies as well
    # The machine's own package sources and proxies, but no state of its own, and none of its hooks.
    (folder / "apt.conf").write_text(
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; "amd64"; };\nAPT::Sandbox::User "root";\n'
        f'Dir::State "{folder}";\nDir::State::status "{folder}/status";\nDir::Cache "{folder}";\n'
        'Acquire::Languages "none";\n#clear APT::Update;\n#clear DPkg;\n'
    )
    command = ["apt-get", "-c", folder / "apt.conf", "-q"]
    run("apt-get update", [*command, "--error-on=any", "update"], mend)  # else no network is a mere warning
    return command


def unpack(command: list[str | Path], apt: Path, packages: Sequence[str], into: Path, mend: str) -> None:
    """Fetch packages and all that they depend on, and unpack them into a folder."""
    options = ["-y", "--no-install-recommends", "--download-only"]
    run(f"apt-get, which fetches {packages[0]}", [*command, *options, "install", *packages], mend)
    for package in sorted((apt / "archives").glob("*.deb")):
        run("dpkg-deb", ["dpkg-deb", "--extract", package, into], mend)
        package.unlink()


def download(command: list[str | Path], apt: Path, package: str, mend: str) -> list[Path]:
    """Fetch one package without what it depends on; the file, as a list of one."""
    run(f"apt-get, which fetches {package}", [*command, "download", package], mend, cwd=apt)
    return list(apt.glob(f"{package.partition(':')[0]}_*.deb"))


def run(
    who: str, command: list[str | Path], mend: str, environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> str:
    """Run a command that must succeed. Raises UserError with the last of what it said, and `mend`, the way out."""
    try:
        done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise UserError(
            f"{command[0]}: cannot be started ({error.strerror}); an emulated Arm needs Debian's apt and dpkg: {mend}."
        ) from error
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout).split())[-500:]
        raise UserError(f"{who} failed with status {done.returncode}: {mend}. It said: {said}")
    return done.stdout
